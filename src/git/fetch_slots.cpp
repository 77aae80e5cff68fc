#include "git/fetch_slots.hpp"

#include <chrono>

namespace townkeeper::git {
namespace {

constexpr int resolving_at_once = 2;
constexpr std::chrono::milliseconds look_up_every{20};

} // namespace

bool fetch_slots::take(const std::function<bool()>& give_up) {
  std::unique_lock lock(mutex_);
  while (free_ == 0) {
    freed_.wait_for(lock, look_up_every);
    if (free_ > 0) break;
    lock.unlock();
    if (give_up()) return false;
    lock.lock();
  }
  --free_;
  return true;
}

void fetch_slots::put_back() {
  {
    const std::lock_guard lock(mutex_);
    ++free_;
  }
  freed_.notify_one();
}

fetch_slots& fetch_slots::resolving() {
  static fetch_slots slots(resolving_at_once);
  return slots;
}

} // namespace townkeeper::git
