#pragma once

#include <git2.h>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {

/// The two directories of a worktree that is being made, where nobody looks.
struct staged_worktree {
  static constexpr const char* files_name = "files";
  static constexpr const char* registration_name = "registration";
  staging_directory staging;
  descriptor files, registration;
};
result<staged_worktree> stage_worktree(const worktree_place& place);

/// Puts both in their places. The rename of the registration is the moment from which the worktree exists.
result<void> publish(const worktree_place& place, const staged_worktree& staged);

/// Writes a worktree that is not there yet: files, index and registration in a directory nobody looks into, then the
/// branch, then two renames, the registration's last. Until then git knows nothing of it, and what a dead attempt
/// leaves is swept at the next start. A recovery point of the job is remembered as one that needs no look again.
/// Neither the worktree's path nor its registration may exist. Errors: as `restore_worktree`; on any, nothing is left
/// behind.
result<worktree_restored> create_worktree(const worktree_place& place, git_repository* repository,
                                          const worktree_job& job, const worktree_target& target,
                                          const worktree_observer& observe);

/// Remembers the job's recovery point, if it has one, in a registration that is being made.
result<void> note_point(int registration, const worktree_job& job);

/// Reads what git would open the worktree by and compares: it and its registration name each other, HEAD on `branch`
/// (empty: detached) at `commit` (nothing: unborn), the index readable with `entries` entries. `corrupt` when they
/// disagree.
result<void> verify_worktree(const worktree_place& place, git_repository* repository, const std::string& branch,
                             const std::optional<git_oid>& commit, std::size_t entries);

} // namespace townkeeper::git
