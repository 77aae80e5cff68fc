#include "git/include_patterns.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

namespace townkeeper::git {
namespace {

/// The part up to the next slash, taken off `path`.
std::string take_component(std::string_view& path) {
  const auto slash = path.find('/');
  std::string out(path.substr(0, slash));
  path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  return out;
}

} // namespace

bool wildcard_match(std::string_view pattern, std::string_view path) {
  // What follows the last "**", and where in the path it is tried next. Earlier ones need no other try: a later one
  // takes whatever they could have left to it. So the time is bounded by the product of the lengths in components.
  std::optional<std::pair<std::string_view, std::string_view>> again;
  while (!pattern.empty() || !path.empty()) {
    bool fits = !pattern.empty() && !path.empty();
    if (fits) {
      auto rest = pattern;
      const auto wanted = take_component(rest);
      if (wanted == "**") {
        if (rest.empty()) return true;
        pattern = rest;
        again.emplace(rest, path);
        continue;
      }
      auto below = path;
      const auto name = take_component(below);
      fits = ::fnmatch(wanted.c_str(), name.c_str(), 0) == 0;
      if (fits) {
        pattern = rest;
        path = below;
      }
    }
    if (fits) continue;
    if (!again) return false;
    take_component(again->second);
    if (again->second.empty()) return false;
    std::tie(pattern, path) = *again;
  }
  return true;
}

include_patterns::include_patterns(const std::vector<std::string>& patterns) {
  for (std::string_view text : patterns) {
    pattern p;
    if (text.starts_with('!')) {
      p.negative = true;
      text.remove_prefix(1);
    }
    if (text.ends_with('/')) {
      p.directories_only = true;
      text.remove_suffix(1);
    }
    p.anchored = text.find('/') != std::string_view::npos;
    if (text.starts_with('/')) text.remove_prefix(1);
    if (text.empty() || text.starts_with('#')) continue;
    p.text = text;
    patterns_.push_back(std::move(p));
  }
}

bool include_patterns::matches(const pattern& p, std::string_view path, bool is_directory) {
  if (p.directories_only && !is_directory) return false;
  if (p.anchored) return wildcard_match(p.text, path);
  const auto slash = path.rfind('/');
  return wildcard_match(p.text, slash == std::string_view::npos ? path : path.substr(slash + 1));
}

bool include_patterns::matches(std::string_view path, bool is_directory) const {
  // From the whole path up: what is said of a directory holds below it, unless something nearer is said.
  while (!path.empty()) {
    const auto decisive = std::find_if(patterns_.rbegin(), patterns_.rend(),
                                       [&](const pattern& p) { return matches(p, path, is_directory); });
    if (decisive != patterns_.rend()) return !decisive->negative;
    const auto slash = path.rfind('/');
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
    is_directory = true;
  }
  return false;
}

bool include_patterns::may_match_below(std::string_view directory) const {
  if (matches(directory, true)) return true;
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const pattern& p) {
    if (p.negative || !p.anchored) return false;
    auto wanted = std::string_view(p.text);
    auto path = directory;
    while (!wanted.empty() && !path.empty()) {
      const auto component = take_component(wanted);
      if (component == "**") return true;
      if (::fnmatch(component.c_str(), take_component(path).c_str(), 0) != 0) return false;
    }
    return path.empty() && !wanted.empty();
  });
}

} // namespace townkeeper::git
