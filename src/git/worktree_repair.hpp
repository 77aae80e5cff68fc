#pragma once

#include <git2.h>

#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {

struct worktree_repair {
  bool is_there = false;             ///< false: neither directory nor registration is left, a new worktree may be made
  bool branch_set = false;           ///< refs/heads/<branch> was set again: the target must be chosen anew
  std::vector<std::string> healed;   ///< what was broken and mended
  std::vector<std::string> reported; ///< what was moved aside, and where to
};

/// Brings the directory and the registration at a place back together, so that git can open the worktree; nothing the
/// agent wrote is changed or removed:
///   locks of dead processes go; `.git`, `gitdir`, `commondir`, `locked` and a senseless HEAD are written again;
///   a missing registration is made again with HEAD on the branch, a lost branch is set to where HEAD last was;
///   a missing or unreadable index is built again from the files;
///   a registration without directory goes, or is moved to `.kept` when it alone knows of staged changes, of an
///   operation in progress or of commits;
///   what is no worktree of this repository is moved to `.kept`.
/// `target` is where HEAD goes when nothing on the disk says where it was. Errors: `conflict` (a living process holds a
/// lock), `unsupported` (an index that cannot be read here), `corrupt`, `disk`, `cancelled`.
result<worktree_repair> mend_worktree(const worktree_place& place, git_repository* repository, const worktree_job& job,
                                      const worktree_target& target);

/// True when the registration, whose directory is gone, alone knows of something the agent did.
result<bool> registration_holds_work(const worktree_place& place, git_repository* repository,
                                     const cancel_flag& cancel);

} // namespace townkeeper::git
