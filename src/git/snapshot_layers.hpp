#pragma once

#include <git2.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/snapshot_contents.hpp"
#include "git/snapshot_index.hpp"
#include "git/snapshot_walk.hpp"
#include "git/tree_builder.hpp"

namespace townkeeper::git {

/// What the files of a worktree are beyond its index.
struct worktree_layers {
  std::vector<tree_change> worktree;  ///< the index commit's tree with these made is W's
  std::vector<tree_change> untracked; ///< all of the untracked commit's tree
  std::vector<tree_change> extras;    ///< `raw/…` and `nested/…`
  std::int64_t modified = 0;          ///< as `git status` counts them, unmerged paths included
  bool has_untracked = false;         ///< also where all of it was left out
  bool has_other_sizes = false;       ///< some path is modified by what its index entry remembers alone
  std::vector<town::left_out_file> left_out;
};

/// Reads what the walk found, tracked paths first, so that a limit leaves out untracked ones. `worktree` is the path of
/// the root, for submodules. Errors: `disk`, `cancelled`.
result<worktree_layers> read_worktree_layers(const walk_result& walk, const index_image& index,
                                             content_reader& contents, const snapshot_job& job, int root);

} // namespace townkeeper::git
