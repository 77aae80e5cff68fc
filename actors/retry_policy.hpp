#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace townkeeper {

/// How often and how fast something is tried: a first set of attempts, then settled as failed, then again for ever.
struct retry_policy {
  std::uint32_t attempts = 5;                       ///< in the first set
  std::chrono::milliseconds first{250};             ///< upper bound of the first pause
  std::chrono::milliseconds max{30'000};            ///< upper bound of every pause
  std::chrono::milliseconds after_failure{60'000};  ///< between attempts once settled as failed
  std::chrono::milliseconds without_a_byte{60'000}; ///< in all; settles a fetch early
};

/// Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"): uniform in [0,
/// min(max, first·2ⁿ)], never below 1 ms. `failures`: how many attempts have failed so far, at least 1.
inline std::chrono::milliseconds full_jitter(std::chrono::milliseconds first, std::chrono::milliseconds max,
                                             std::uint32_t failures, std::mt19937_64& random) {
  constexpr std::uint32_t max_doublings = 20;
  const auto doublings = failures > 0 ? std::min(failures - 1, max_doublings) : 0U;
  const auto bound = std::min<std::int64_t>(first.count() << doublings, max.count());
  return std::chrono::milliseconds{
      std::max<std::int64_t>(1, std::uniform_int_distribution<std::int64_t>(0, bound)(random))};
}

} // namespace townkeeper
