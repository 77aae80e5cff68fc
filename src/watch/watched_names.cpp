#include "watch/watched_names.hpp"

#include <algorithm>
#include <array>

namespace townkeeper::watch {
namespace {

constexpr std::string_view branch_prefix = "refs/heads/";

std::string_view leaf(std::string_view path) noexcept {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

} // namespace

bool admin_descends(std::string_view directory) noexcept {
  // `objects`: of a submodule below `modules/`; its refs say what is new.
  return !directory.starts_with("townkeeper") && leaf(directory) != "objects";
}

bool admin_counts(std::string_view path) noexcept {
  return !path.ends_with(".lock") && !path.starts_with("townkeeper") && leaf(path) != "FETCH_HEAD";
}

bool repository_descends(std::string_view directory) noexcept {
  constexpr std::array roots{std::string_view("refs"), std::string_view("logs"), std::string_view("logs/refs"),
                             std::string_view("info")};
  if (std::find(roots.begin(), roots.end(), directory) != roots.end()) return true;
  if (!directory.starts_with("refs/")) return false;
  const auto below = directory.substr(5);
  const auto name = below.substr(0, below.find('/'));
  return name != "remotes" && !name.starts_with("townkeeper");
}

repository_change change_of(std::string_view path) noexcept {
  if (path.ends_with(".lock")) return repository_change::none;
  if (path == "packed-refs" || path == "logs/refs/stash") return repository_change::refs;
  if (path == "info/exclude") return repository_change::exclude;
  if (path.starts_with(branch_prefix)) return repository_change::branch;
  return path.starts_with("refs/") ? repository_change::refs : repository_change::none;
}

std::string_view branch_of(std::string_view path) noexcept {
  return path.substr(branch_prefix.size());
}

} // namespace townkeeper::watch
