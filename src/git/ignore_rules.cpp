#include "git/ignore_rules.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "git/gitignore.hpp"
#include "git/handle.hpp"
#include "git/loose_reader.hpp"

namespace townkeeper::git {
namespace {

/// The part up to the next slash, taken off `path`.
std::string take_component(std::string_view& path) {
  const auto slash = path.find('/');
  std::string out(path.substr(0, slash));
  path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  return out;
}

/// Whether something in `directory`, at any depth, can match the pattern. Never wrongly false.
bool may_match_below(std::string_view pattern, std::string_view directory) {
  if (pattern.empty() || pattern.front() == '!' || pattern.front() == '#') return false;
  if (pattern.back() == '/') pattern.remove_suffix(1);
  // Without a slash inside it matches at any depth.
  if (pattern.find('/') == std::string_view::npos) return true;
  if (pattern.front() == '/') pattern.remove_prefix(1);
  while (!pattern.empty() && !directory.empty()) {
    const auto wanted = take_component(pattern), name = take_component(directory);
    if (wanted == "**") return true;
    if (::fnmatch(wanted.c_str(), name.c_str(), 0) != 0) return false;
  }
  return true;
}

bool has_dot_git(std::string_view path) {
  while (!path.empty())
    if (take_component(path) == ".git") return true;
  return false;
}

} // namespace

struct ignore_rules::state {
  std::mutex mutex;
  repository_handle repository;   ///< nothing: opened by the next question
  std::optional<gitignore> exact; ///< of the repository
  index_handle index;             ///< nothing: read when the rules alone say "ignored"
};

ignore_rules::ignore_rules(std::filesystem::path worktree, std::vector<std::string> include)
    : worktree_(std::move(worktree))
    , include_(std::move(include))
    , state_(std::make_unique<state>()) {}

ignore_rules::~ignore_rules() = default;

bool ignore_rules::is_ignored(const std::string& directory) {
  if (std::any_of(include_.begin(), include_.end(),
                  [&](const std::string& pattern) { return may_match_below(pattern, directory); }))
    return false;
  if (has_dot_git(directory)) return false; // libgit2 takes these for ignored; a nested one is part of the work
  const std::lock_guard lock(state_->mutex);
  auto& [mutex, repository, exact, index] = *state_;
  if (!repository && open_worktree_repository(out(repository), worktree_.c_str()) != 0) return false;
  const auto prefix = directory + '/';
  int ignored = 0;
  if (git_ignore_path_is_ignored(&ignored, repository.get(), prefix.c_str()) != 0 || ignored == 0) return false;
  if (!exact) exact.emplace(repository.get());
  if (!exact->is_ignored(prefix)) return false; // libgit2 overlooks negated patterns
  // An index that cannot be read is no reason to look: nothing of this worktree can be saved then.
  if (!index && git_repository_index(out(index), repository.get()) != 0) return true;
  std::size_t at = 0;
  const bool tracked = git_index_find_prefix(&at, index.get(), prefix.c_str()) == 0 ||
                       git_index_find(&at, index.get(), directory.c_str()) == 0; // a submodule
  return !tracked;
}

void ignore_rules::reload() {
  const std::lock_guard lock(state_->mutex);
  state_->index.reset();
  state_->exact.reset();
  state_->repository.reset();
}

} // namespace townkeeper::git
