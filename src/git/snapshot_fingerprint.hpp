#pragma once

#include <git2.h>

#include <string>

#include "git/index_reader.hpp"
#include "git/recovery.hpp"
#include "git/snapshot_commits.hpp"

namespace townkeeper::git {

/// 64 hexadecimal digits of all that goes into a point, and of nothing that changes by itself: no time, no stat data,
/// no commit of ours. `extras` is the tree of the extras without the raw index, in place of which its flags stand.
std::string fingerprint_of(const snapshot& s, const stash_trees& trees, const git_oid& extras,
                           const index_image& index);

} // namespace townkeeper::git
