#pragma once

#include <functional>
#include <string>

#include "core/error.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {

/// True where every commit in the history of the refs that begin with `prefix` is there, and all of the tree each ref
/// names. Asks whether objects exist, and reads those it has to pass through; some microseconds per commit and tree.
/// False also for a ref that cannot be resolved. Errors: `cancelled`.
result<bool> has_whole_history(git_repository* repo, const std::string& prefix, const std::function<bool()>& cancelled);

} // namespace townkeeper::git
