#pragma once

#include <filesystem>

#include "core/error.hpp"

namespace townkeeper::git {

/// Removes a git `.lock` file whose owner is dead. A lock names no owner, so every living process that could be it is
/// asked after (proc(5)): one that has the file open, or whose working directory lies in `worktree` (git changes into
/// the worktree it works on). Returns false when there is no lock. Errors: `conflict` naming the process that may own
/// it, `disk`.
result<bool> remove_dead_lock(const std::filesystem::path& lock, const std::filesystem::path& worktree);

} // namespace townkeeper::git
