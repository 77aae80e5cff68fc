#pragma once

#include <git2.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"

namespace townkeeper::git {

/// The commit an agent's worktree should be at, and why.
struct worktree_target {
  std::optional<git_oid> commit;    ///< nothing: an empty repository, the branch is unborn
  std::optional<git_oid> local_tip; ///< what refs/heads/<branch> names now, if it can be read
  bool created_from_base = false;
  std::int64_t unpushed_commits = 0;
  std::vector<std::string> healed;
  std::vector<std::string> reported;
};

/// Chooses between the remote's tip, the local branch and the base:
///   the branch is on the remote: its tip; but a local branch with commits the remote lacks is kept as it is;
///   it is not, and was pushed once: `branch_missing`, never another branch;
///   it never was: the local branch if there is one, else the base's tip; nothing at all in an empty repository.
/// Errors besides: `corrupt` when a commit is not on the disk.
result<worktree_target> choose_target(git_repository* repository, const worktree_job& job);

/// The tree of a commit; `corrupt` when the commit cannot be read.
result<git_oid> tree_of(git_repository* repository, const git_oid& commit);

} // namespace townkeeper::git
