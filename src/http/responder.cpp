#include "http/responder.hpp"

#include <atomic>

#include "core/log.hpp"

namespace townkeeper::http {

struct responder::state {
  std::function<void(response)> sink;
  std::atomic<bool> answered{false};

  explicit state(std::function<void(response)> s)
      : sink(std::move(s)) {}
  state(const state&) = delete;
  state& operator=(const state&) = delete;

  ~state() {
    if (answered) return;
    log::failure("a request was dropped without an answer");
    sink(failure(500, "internal", "the daemon dropped this request: a bug; its log has the circumstances"));
  }
};

responder::responder(std::function<void(response)> sink)
    : state_(std::make_shared<state>(std::move(sink))) {}

void responder::operator()(response answer) const {
  if (!state_->answered.exchange(true)) state_->sink(std::move(answer));
}

} // namespace townkeeper::http
