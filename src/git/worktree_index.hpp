#pragma once

#include <git2.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "git/handle.hpp"
#include "git/index_writer.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// The index of the place's registration, as it stands on the disk. Errors: `not_found` (no such file), `unsupported`
/// naming the feature (split index, sparse index), `corrupt`, `disk`.
result<index_handle> open_index(const worktree_place& place);

/// Path → stamp of the stage-0 entries that need not be read again: the stamp is complete, and the file did not change
/// in the clock tick in which the index was written (the racy-timestamp rule: such an entry says nothing).
using stamped_paths = std::map<std::string, file_stamp, std::less<>>;
result<stamped_paths> trustworthy_stamps(const worktree_place& place, git_index* index);

/// Writes an index that holds exactly the tree of `commit`: an entry whose file is what a checkout gives is stamped,
/// any other is left for git to look at, so that what the agent did shows as a modification. No file is touched. What
/// was in the place of the index is kept as `index.broken` beside it. Errors: `corrupt`, `disk`, `cancelled`,
/// `invalid_argument`.
result<void> rebuild_index(const worktree_place& place, int worktree, int registration, object_store& objects,
                           const git_oid& commit, const cancel_flag& cancel);

} // namespace townkeeper::git
