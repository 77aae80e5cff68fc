#pragma once

#include <git2.h>

#include <optional>
#include <string>

#include "core/error.hpp"
#include "git/private_objects.hpp"
#include "git/snapshot_refs.hpp"

namespace townkeeper::git {

/// The trees of one moment of a worktree.
struct stash_trees {
  git_oid worktree{}, index{};
  std::optional<git_oid> untracked;
};

/// Writes the commit that stands in for HEAD's where HEAD is unborn: empty, and the same each time.
result<git_oid> write_stand_in(private_store& store);

/// Writes W and its parents as `git stash create -u` does: "index on", "untracked files on" and "WIP on" the branch.
/// `identity` is "Name <email>" or a name; the time is now. Returns W.
result<git_oid> write_stash(private_store& store, const stash_trees& trees, const head_moment& head,
                            const git_oid& base, const std::string& identity, const std::string& agent_id);

} // namespace townkeeper::git
