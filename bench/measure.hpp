#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace townkeeper::bench {

/// Seconds that `what` takes.
template <class F>
double seconds_of(F&& what) {
  const auto begun = std::chrono::steady_clock::now();
  what();
  return std::chrono::duration<double>{std::chrono::steady_clock::now() - begun}.count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// a₁/b₁, a₂/b₂, …: each pair was measured one after the other, so that the machine's drift cancels out.
inline std::vector<double> ratios(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out;
  for (std::size_t i = 0; i < a.size(); ++i)
    out.push_back(a[i] / b[i]);
  return out;
}

} // namespace townkeeper::bench
