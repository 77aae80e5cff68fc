#pragma once

#include <git2.h>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {

/// Brings a worktree that is there (`mend_worktree`) to the target: left untouched when it is there already; moved when
/// it is clean and all its commits are on the remote; else left exactly as it is, with `left_dirty` and why. A move
/// that a dead process began is completed first. Errors: as `restore_worktree`.
result<worktree_restored> update_worktree(const worktree_place& place, git_repository* repository,
                                          const worktree_job& job, const worktree_target& target,
                                          const worktree_observer& observe);

/// Commits of `head` that neither a branch of the remote nor `remote_tip` holds.
result<std::int64_t> count_unsaved(git_repository* repository, const git_oid& head,
                                   const std::optional<std::string>& remote_tip);

} // namespace townkeeper::git
