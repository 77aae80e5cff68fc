#pragma once

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/sec.hpp>

#include <functional>
#include <utility>

#include "actors/failure_text.hpp"
#include "core/error.hpp"

namespace townkeeper::cli {

/// Asks an actor from a thread that may not wait: a short-lived actor makes the request, and `done` is called once, on
/// a thread of the actor system, at the latest after `limit`. Errors: `timed_out`; `unavailable` where the actor has
/// ended; `internal` where it refused the message.
template <class Answer, class Handle, class Message>
void ask(caf::actor_system& system, Handle to, caf::timespan limit, Message message,
         std::function<void(result<Answer>)> done) {
  const auto question = [](caf::event_based_actor* self, const Handle& receiver, caf::timespan deadline,
                           const Message& asked, const std::function<void(result<Answer>)>& tell) {
    keep_exception_text(self);
    self->request(receiver, deadline, asked)
        .then([tell](Answer& answer) { tell(std::move(answer)); },
              [self, tell](const caf::error& why) {
                const auto code = why == caf::sec::request_timeout         ? error_code::timed_out
                                  : why == caf::sec::request_receiver_down ? error_code::unavailable
                                                                           : error_code::internal;
                tell(result<Answer>(
                    boost::system::in_place_error,
                    error{code, "townkeeper", "the daemon did not answer: " + self->system().render(why)}));
              });
  };
  system.spawn(question, std::move(to), limit, std::move(message), std::move(done));
}

} // namespace townkeeper::cli
