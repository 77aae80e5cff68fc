#pragma once

#include <git2.h>

#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/apply_layers.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// What is to become of a recovery point, beside the branch as the remote has it now.
struct point_plan {
  point_outcome outcome = point_outcome::applied; ///< applied, unpublished, held or kept
  point_layers layers;
  std::optional<git_oid> head;   ///< HEAD's commit; nothing: unborn
  std::optional<git_oid> branch; ///< tip of the agent's local branch; nothing: it was not there
  std::string head_branch;       ///< the branch HEAD was on, without refs/heads/; empty: detached
  bool uncommitted = false;      ///< it holds something that HEAD's commit lacks
};

/// Decides on `job.point`: the branch is where it was (or still absent) → `applied`; gone → `unpublished`; moved, and
/// everything in the point is reachable from where it is now → `held`; moved otherwise → `kept`. Errors: `corrupt`,
/// `recovery_point_missing` when the point's objects are not here, `invalid_argument` for a HEAD no worktree can have.
result<point_plan> plan_point(object_store& objects, const worktree_job& job);

/// The commit and the branch of a point's HEAD, and the tip of its branch, as they are in the repository.
result<void> read_point_head(git_repository* repository, const town::recovery_point& point, point_plan& plan);

/// Where HEAD goes, and what else had to be done about refs.
struct point_head {
  std::string content; ///< of the file HEAD
  std::string branch;  ///< empty: detached
  std::vector<std::string> reported;
};

/// Sets the branches of a point: the agent's, and the one HEAD was on. A commit that would become unreachable, is
/// neither on the remote nor in the point and was not saved (`job.disk_is_kept`) stays under a local branch of its own,
/// which is reported. HEAD is detached when its branch is in use by another worktree. Errors: as `set_branch`.
result<point_head> set_point_branches(const worktree_place& place, git_repository* repository, const worktree_job& job,
                                      const point_plan& plan);

/// Makes git forget which branch of the remote `branch` follows.
result<void> unset_upstream(git_repository* repository, const std::string& branch);

} // namespace townkeeper::git
