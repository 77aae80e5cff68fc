#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "watch/watcher.hpp"

namespace townkeeper::watch {

/// One `watch`: what was seen for it and not said yet. All but `close` and `closed` belongs to the hub's thread.
class subscription {
public:
  using clock = std::chrono::steady_clock;

  subscription(watch_request r, watch_callback callback)
      : request(std::move(r))
      , callback_(std::move(callback)) {}

  const watch_request request;

  void note(bool refs) {
    pending_ = true;
    refs_ = refs_ || refs;
  }
  /// Once for each subscription; later ones change nothing.
  void note_started() {
    if (!std::exchange(started_, true)) pending_ = start_pending_ = true;
  }
  void note_lost(const error& reason) {
    if (std::exchange(lost_, true)) return;
    pending_ = true;
    reason_ = reason;
  }
  bool started() const noexcept { return started_; }
  bool pending() const noexcept { return pending_; }

  /// When what is pending may be said.
  clock::time_point due(std::chrono::milliseconds interval) const {
    return said_at_ ? *said_at_ + interval : clock::time_point::min();
  }

  /// Says what is pending, unless closed.
  void say(clock::time_point now) {
    watch_event event{std::exchange(refs_, false), std::exchange(start_pending_, false),
                      std::exchange(reason_, std::nullopt)};
    pending_ = false;
    said_at_ = now;
    const std::lock_guard lock(mutex_);
    if (!closed_) callback_(event);
  }

  /// No callback runs when this has returned, but the one that calls it. From any thread.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool closed() {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

private:
  watch_callback callback_;
  bool pending_ = false, refs_ = false, start_pending_ = false, started_ = false, lost_ = false;
  std::optional<error> reason_;
  std::optional<clock::time_point> said_at_;

  std::recursive_mutex mutex_; ///< held while the callback runs, which may close its own subscription
  bool closed_ = false;
};

} // namespace townkeeper::watch
