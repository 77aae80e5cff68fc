#pragma once

#include <git2.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {

/// Where HEAD stands at one moment.
struct head_moment {
  town::recovery_point::head_state state;
  std::optional<git_oid> commit, tree; ///< nothing: unborn
  std::string branch;                  ///< without `refs/heads/`; empty: detached
  std::string subject;                 ///< first line of the commit's message
};

/// Reads HEAD of a registration (an open directory) and what it names. Errors: `corrupt`, `disk`, `not_found`.
result<head_moment> read_head_moment(git_repository* repository, int registration, const std::string& path);

/// The local branches no agent owns, and the tags: full name → id.
result<std::map<std::string, std::string>> read_rig_refs(git_repository* repository,
                                                         const std::set<std::string>& agent_branches);

/// The stash list, newest first.
result<std::vector<std::string>> read_stash_list(git_repository* repository);

/// The local tip of a branch; nothing when there is none, or none that can be read.
std::optional<std::string> read_branch_commit(git_repository* repository, const std::string& branch);

/// True where the remote's branch, as it was fetched last, has the commit.
bool is_published(git_repository* repository, const std::string& branch, const std::optional<git_oid>& commit);

} // namespace townkeeper::git
