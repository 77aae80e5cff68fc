#pragma once

#include <git2.h>

#include "core/error.hpp"
#include "git/apply_plan.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// Makes a worktree that is not there yet what it was when the job's point was taken: files, index, operation in
/// progress, HEAD and branches. Nothing is checked out first and changed later: everything is written where nobody
/// looks and published as `create_worktree` does. Neither the worktree's path nor its registration may exist. Errors:
/// as `restore_worktree`.
result<worktree_restored> create_from_point(const worktree_place& place, object_store& objects, const worktree_job& job,
                                            const point_plan& plan, const worktree_observer& observe);

/// Removes what `create_from_point` left when it died between its two renames: a registration whose files are not there
/// yet. To be called before anything takes it for one whose files were lost.
result<void> clear_unpublished(const worktree_place& place);

} // namespace townkeeper::git
