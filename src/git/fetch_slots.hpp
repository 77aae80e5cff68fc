#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

namespace townkeeper::git {

/// A few places for work that is dear in memory and processor. Thread-safe.
class fetch_slots {
public:
  explicit fetch_slots(int places)
      : free_(places) {}

  /// Takes a place, asking `give_up` at least every 20 ms while there is none. False: gave up, nothing taken.
  bool take(const std::function<bool()>& give_up);
  void put_back();

  /// Those of the process for resolving deltas: two (DESIGN.md, Jobs).
  static fetch_slots& resolving();

private:
  std::mutex mutex_;
  std::condition_variable freed_;
  int free_;
};

} // namespace townkeeper::git
