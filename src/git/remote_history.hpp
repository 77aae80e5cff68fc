#pragma once

#include <git2.h>

#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/fetch.hpp"

namespace townkeeper::git {

/// The commits, in hex, that are reachable from `tips` and from no ref the remote advertises, as far as the repository
/// has what those refs name. What is not there is passed over. Errors: `corrupt` (the history of a tip has a hole).
result<std::set<std::string>> commits_the_remote_lacks(git_repository* repository, const advertisement& remote,
                                                       const std::vector<git_oid>& tips);

} // namespace townkeeper::git
