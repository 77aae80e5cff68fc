#pragma once

#include <git2.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// Where a worktree stands, and what of it exists nowhere but on this disk.
struct worktree_work {
  std::optional<git_oid> head; ///< nothing: unborn
  std::string branch;          ///< HEAD's, without `refs/heads/`; empty: detached
  std::size_t entries = 0;     ///< paths in the index
  std::string operation;       ///< in progress: "a merge", "a rebase"; empty: none
  std::size_t conflicts = 0, staged = 0, modified = 0, untracked = 0; ///< paths, as `git status` counts them
  bool sparse = false;                        ///< some paths are left out of the worktree on purpose
  std::vector<std::string> submodules_in_use; ///< paths of submodules that are checked out

  /// True when `git status` would not call it clean, or an operation is in progress.
  bool is_uncommitted() const noexcept;
  /// "a rebase in progress, 2 modified files and 1 untracked path"; empty when nothing is uncommitted.
  std::string described() const;
};

/// Looks at HEAD, index and files; writes nothing, not even the index's stamps. What libgit2 takes for modified because
/// it lacks a conversion git has is compared byte by byte. The place must be one git can open (`mend_worktree`).
/// Errors: `unsupported`, `corrupt`, `disk`.
result<worktree_work> inspect_work(const worktree_place& place);

} // namespace townkeeper::git
