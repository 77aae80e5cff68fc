#pragma once

#include <git2.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// A clean worktree goes from one commit to another.
struct worktree_move {
  std::optional<git_oid> from; ///< nothing: HEAD was unborn
  git_oid to{};
  std::string branch; ///< which HEAD is on afterwards; set to `to`
};

struct worktree_moved {
  std::int64_t files_written = 0;
  std::vector<std::string> reported; ///< as `checkout_conversion::reports`
};

/// Changes exactly the paths in which the two commits differ, then index, branch and HEAD. Each file is replaced by a
/// rename, and what is under way is noted in the registration first, so that whatever interrupts it,
/// `finish_interrupted_move` completes it. Before anything is touched, everything in its way is looked at: `dirty`
/// names a path that holds something neither commit put there. Errors besides: `cancelled`, `disk`, `corrupt`,
/// `conflict`, `invalid_argument`.
result<worktree_moved> move_worktree(const worktree_place& place, git_repository* repository, const worktree_move& move,
                                     const cancel_flag& cancel, const worktree_observer& observe);

/// Completes a move that was interrupted; nothing when none was. Errors: as
/// `move_worktree`; after `dirty` the note is gone and the worktree stays as it is.
result<std::optional<worktree_moved>> finish_interrupted_move(const worktree_place& place, git_repository* repository,
                                                              const cancel_flag& cancel,
                                                              const worktree_observer& observe);

} // namespace townkeeper::git
