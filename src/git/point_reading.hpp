#pragma once

#include <git2.h>

#include <map>
#include <optional>
#include <string>

#include "core/error.hpp"
#include "git/handle.hpp"
#include "git/point_meta.hpp"

namespace townkeeper::git {

/// A recovery point's commit R, taken apart. Every object named here was there when it was read.
struct point_parts {
  point_meta meta; ///< with `point.commit` set
  point_refs refs; ///< empty where R has no refs.json
  git_oid tree{};  ///< R's

  git_oid stash{};                  ///< W: R's first parent
  git_oid stash_tree{};             ///< the worktree's files at the paths of the index
  git_oid head{};                   ///< W's first parent; where HEAD is unborn, an empty commit of ours
  git_oid index_tree{};             ///< of W's second parent
  std::optional<git_oid> untracked; ///< tree of W's third parent

  struct entry {
    git_oid id{};
    git_object_t kind = GIT_OBJECT_INVALID;
  };
  /// R's own tree: `stages`, `raw-index`, `operation`, `raw`, `nested`, … as far as they are there.
  std::map<std::string, entry> entries;

  /// The directory of that name, or null.
  const git_oid* directory(const std::string& name) const;
  /// The file of that name, or null.
  const git_oid* file(const std::string& name) const;
};

/// Errors: `recovery_point_missing` (no such commit), `corrupt` (not one of ours, or a part of it is gone),
/// `unsupported` (a later format); the object is the commit.
result<point_parts> read_point_parts(git_repository* repository, const std::string& commit);

} // namespace townkeeper::git
