#pragma once

#include <caf/error.hpp>
#include <caf/exit_reason.hpp>
#include <caf/local_actor.hpp>
#include <caf/sec.hpp>

#include <exception>

namespace townkeeper {

/// CAF's default handler drops `what()` of an exception that escapes a handler; this one keeps it in the down reason,
/// so that the supervisor can log and show it. Every actor of ours calls this first.
template <class Self>
void keep_exception_text(Self* self) {
  self->set_exception_handler([](std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      return caf::make_error(caf::sec::runtime_error, e.what());
    } catch (...) {
      return caf::exit_reason::unhandled_exception;
    }
  });
}

} // namespace townkeeper
