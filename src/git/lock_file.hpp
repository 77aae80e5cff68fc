#pragma once

#include <filesystem>

#include "core/error.hpp"

namespace townkeeper::git {

/// Whose lock it is: a worktree's, which one agent works in and one job of ours at a time, or the repository's, which
/// all agents of a rig share, and jobs of ours for several worktrees.
enum class lock_scope { worktree, repository };

/// Removes a git `.lock` file whose owner is dead. A lock names no owner, so every living process that could be it is
/// asked after (proc(5)): one that has the file open, or whose working directory lies in `directory` (git changes into
/// the worktree it works on); for a repository's lock only a git of those, because agents live there all the time, but
/// this process too where it has the file open. Returns false when there is no lock. Errors: `conflict` naming the
/// process that may own it, `disk`.
result<bool> remove_dead_lock(const std::filesystem::path& lock, const std::filesystem::path& directory,
                              lock_scope scope = lock_scope::worktree);

} // namespace townkeeper::git
