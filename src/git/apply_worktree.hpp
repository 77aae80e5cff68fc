#pragma once

#include <git2.h>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// `restore_worktree` for a job with a recovery point, once the place is open and the branch is claimed. What decides:
///   no worktree there: the point as `plan_point` says, or the branch;
///   one that remembers this point or a later one: the disk wins, as without a point (`disk_newer`);
///   an older one with nothing unsaved: replaced by the point, as far as it is not there already;
///   an older one with unsaved work: left alone (`disk_older`) until `job.disk_is_kept`, then moved to `.kept` and
///   replaced.
result<worktree_restored> restore_with_point(const worktree_place& place, git_repository* repository,
                                             const worktree_job& job, const worktree_observer& observe);

} // namespace townkeeper::git
