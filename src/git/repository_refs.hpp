#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/fetch.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {

/// Branch → commit in hex.
using branch_tips = std::map<std::string, std::string>;

inline constexpr const char* tracking_prefix = "refs/remotes/origin/";
inline constexpr const char* local_prefix = "refs/heads/";

/// What a ref of `repo` points at, in hex; empty when it does not exist or cannot be read.
std::string target_of(git_repository* repo, const std::string& ref);

/// Names of all refs that begin with `prefix`, sorted, whatever they point at.
result<std::vector<std::string>> list_refs(git_repository* repo, const std::string& prefix);

/// True where `id` is a commit that can be read with its hash verified, and so can its tree.
bool commit_is_readable(git_repository* repo, const std::string& id);

/// The refs of a repository that nobody sees yet, in one file: each tip as its tracking ref, `default_branch` as local
/// one when it is among them.
result<void> write_first_refs(const std::filesystem::path& repository, const branch_tips& tips,
                              const std::string& default_branch);

/// Removes tracking refs the remote no longer has, so that `gt/x` gone makes room for `gt/x/y`. Returns what went.
result<std::vector<std::string>> prune_tracking_refs(git_repository* repo, const advertisement& remote);

/// Sets tracking refs to `tips` where they differ. Returns how many changed.
result<int> update_tracking_refs(git_repository* repo, const branch_tips& tips);

/// Brings `refs/heads/<branch>` and HEAD of the bare repository to where they belong: made at `tip` when the branch is
/// missing; moved to `tip` when no worktree has it checked out and it holds no commit that neither `tip` nor
/// `previous_tip` (the tracking ref before this restore; may be empty) has. Otherwise left alone. A branch in its way
/// (`main` where `main/v2` is to be) goes by the same rule. Returns whether anything changed.
result<bool> place_default_branch(git_repository* repo, const std::string& branch, const std::string& tip,
                                  const std::string& previous_tip);

/// Sets `branch.<b>.remote` and `.merge` for each branch that has neither. Returns how many were set.
result<int> configure_branches(git_repository* repo, const std::vector<std::string>& branches);

} // namespace townkeeper::git
