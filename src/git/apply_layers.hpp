#pragma once

#include <git2.h>

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {

/// The objects of a recovery point R (docs/recovery.md), none of them read further than its name.
struct point_layers {
  git_oid point{}; ///< R
  git_oid stash{}; ///< W, R's first parent
  git_oid head_tree{}, index_tree{}, worktree_tree{};
  std::optional<git_oid> untracked_tree;
  std::array<std::optional<git_oid>, 3> stages; ///< trees of stages 1, 2 and 3
  std::optional<git_oid> raw_index;             ///< a blob
  std::optional<git_oid> operation, raw, nested;
};

/// Errors: `recovery_point_missing` when the commit is not here, `corrupt` when it is no recovery point.
result<point_layers> read_layers(object_store& objects, const git_oid& point);

/// Every file a point brings to the disk.
struct point_files {
  manifest head, index;            ///< what HEAD's commit and the index hold
  manifest worktree;               ///< the paths of the index, as they are on the disk
  manifest untracked;              ///< every other one
  std::vector<manifest_entry> all; ///< both (which hold the text of their paths), in index order, with the exact bytes
                                   ///< where a filter would give others
  std::set<std::string> unlike_blob; ///< paths written with exact bytes: no index entry says what they hold
  std::vector<std::string> refused;  ///< paths that must not reach the disk, and why
};
result<point_files> read_files(object_store& objects, const point_layers& layers, const cancel_flag& cancel);

/// How the paths of a point differ between HEAD's commit, index and worktree. Paths in index order.
struct point_changes {
  std::vector<std::string> staged, modified, deleted, untracked;
  /// Distinct paths in all of them.
  std::int64_t count() const;
};
point_changes changes_in(const point_files& files);

/// True when something is in the point that HEAD's commit lacks: a change, an unmerged path, an operation in progress.
result<bool> holds_uncommitted(object_store& objects, const point_layers& layers);

} // namespace townkeeper::git
