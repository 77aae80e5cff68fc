#include "cli/terminator.hpp"

#include <cstdlib>
#include <string>

#include "core/log.hpp"

namespace townkeeper::cli {

terminator::terminator(std::chrono::milliseconds limit, int code)
    : thread_([this, limit, code] {
      std::unique_lock lock(mutex_);
      if (over_.wait_for(lock, limit, [this] { return done_; })) return;
      log::failure("leaving by force: something hangs", {{"exit_code", std::to_string(code)}});
      std::_Exit(code);
    }) {}

terminator::~terminator() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  over_.notify_one();
  thread_.join();
}

} // namespace townkeeper::cli
