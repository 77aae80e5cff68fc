#include "core/heap.hpp"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace townkeeper {
namespace {

constexpr std::chrono::minutes a_wake{1}; ///< is not slowed down
constexpr std::chrono::seconds between{10};

/// glibc raises both thresholds to the largest block that was ever freed, up to 32 and 64 MiB, and malloc_trim leaves
/// the top of every arena but the main one: after a wake each thread would keep its largest burst for good.
void keep_the_tops_small() {
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

} // namespace

void bound_the_heap() {
  const auto processors = static_cast<int>(std::thread::hardware_concurrency());
  ::mallopt(M_ARENA_MAX, std::max(4, 2 * processors));
}

void give_back_free_memory(memory_is use) {
  using clock = std::chrono::steady_clock;
  const auto now = clock::now().time_since_epoch();
  static const auto first = now + a_wake;
  static std::atomic<clock::rep> next{first.count()};
  if (now < first) return;
  auto due = next.load();
  if (use == memory_is::in_use && now.count() < due) return;
  if (!next.compare_exchange_strong(due, (now + between).count())) return; // another thread does
  if (due == first.count()) keep_the_tops_small();
  ::malloc_trim(0);
}

} // namespace townkeeper
