#pragma once

#include <git2.h>

#include <map>
#include <string>

#include "core/error.hpp"

namespace townkeeper::git {

/// The operation in progress, as the worktree's admin directory has it.
struct operation_moment {
  std::map<std::string, std::string> files; ///< path below the admin directory → bytes
  std::map<std::string, std::string> ids;   ///< why → commit, of every commit that these files name
  std::string merged_tree;                  ///< what AUTO_MERGE names; empty: nothing
  bool in_progress = false;                 ///< not when only ORIG_HEAD and the like are left of it
};

/// Reads it below the open directory `registration`; files that come and go meanwhile are there or not. A name that is
/// no commit of `repository` is in no `ids`. Errors: `disk`.
result<operation_moment> read_operation(git_repository* repository, int registration);

} // namespace townkeeper::git
