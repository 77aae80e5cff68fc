#include "config/nearest.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>

namespace townkeeper::config {
namespace {

/// Levenshtein's distance, one row of the matrix at a time.
std::size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

} // namespace

std::string did_you_mean(std::string_view misspelt, const std::vector<std::string>& known) {
  constexpr std::size_t most_edits = 3;
  constexpr std::size_t longest = 128; // what is longer is no slip of the finger
  if (misspelt.size() > longest) return {};
  const std::string* best = nullptr;
  auto fewest = std::min(most_edits, misspelt.size() / 2) + 1;
  for (const auto& name : known) {
    if (const auto edits = edits_between(misspelt, name); edits < fewest) {
      fewest = edits;
      best = &name;
    }
  }
  return best == nullptr ? std::string{} : fmt::format("; did you mean {}?", *best);
}

} // namespace townkeeper::config
