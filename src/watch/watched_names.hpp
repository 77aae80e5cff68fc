#pragma once

#include <string_view>

/// Which names below an admin directory and a repository mean a change of an agent's work, and which are traffic: ours,
/// a fetch's, a lock. Paths are relative, in bytes.
namespace townkeeper::watch {

/// Of `<repository>/worktrees/<agent>`.
bool admin_descends(std::string_view directory) noexcept;
bool admin_counts(std::string_view path) noexcept;

/// Of `<repository>`: refs without remote-tracking ones and ours, and of the logs what leads to the stash.
bool repository_descends(std::string_view directory) noexcept;

enum class repository_change {
  none,
  branch,  ///< a local branch: whose it is, its name says
  refs,    ///< a tag, a stash, packed-refs, or any other ref of the rig
  exclude, ///< info/exclude: what is ignored in every worktree
};
repository_change change_of(std::string_view path) noexcept;

/// The part after `refs/heads/`.
std::string_view branch_of(std::string_view path) noexcept;

} // namespace townkeeper::watch
