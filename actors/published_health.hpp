#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "town/health_document.hpp"

namespace townkeeper {

/// One picture of the town, never changed after it was published.
struct health_snapshot {
  std::shared_ptr<const std::string> document; ///< the JSON of `/health`
  town::town_phase phase = town::town_phase::booting;
  bool converged = false; ///< everything expected has settled at least once
  bool all_restored = false;
  std::int64_t epoch = 0;
};

/// Where the health actor puts its picture and HTTP finds it, without asking anybody. Thread-safe.
class published_health {
public:
  std::shared_ptr<const health_snapshot> read() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }
  void publish(std::shared_ptr<const health_snapshot> next) {
    const std::lock_guard lock(mutex_);
    current_.swap(next); // the one before ends outside of the lock
  }

private:
  // No std::atomic<std::shared_ptr>: libstdc++ 12 lets go of its lock in `load` in a relaxed order, so that the next
  // `store` may be seen before the read is over.
  mutable std::mutex mutex_;
  std::shared_ptr<const health_snapshot> current_ = std::make_shared<const health_snapshot>();
};

} // namespace townkeeper
