#pragma once

#include <git2.h>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {

/// Writes a worktree that is not there yet: files, index and registration in a directory nobody looks into, then the
/// branch, then two renames, the registration's last. Until then git knows nothing of it, and what a dead attempt
/// leaves is swept at the next start. Neither the worktree's path nor its registration may exist. Errors: as
/// `restore_worktree`; on any, nothing is left behind.
result<worktree_restored> create_worktree(const worktree_place& place, git_repository* repository,
                                          const worktree_job& job, const worktree_target& target,
                                          const worktree_observer& observe);

/// Opens the worktree as git would and compares: HEAD on `branch` at `commit` (nothing: unborn), the index readable
/// with `entries` entries. `corrupt` when they disagree.
result<void> verify_worktree(const worktree_place& place, const std::string& branch,
                             const std::optional<git_oid>& commit, std::size_t entries);

} // namespace townkeeper::git
