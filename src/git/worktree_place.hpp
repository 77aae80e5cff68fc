#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "git/descriptor.hpp"
#include "git/jobs.hpp"

namespace townkeeper::git {

/// Where one worktree and its registration lie, held open from the workspace downwards so that a link put in their way
/// later leads nowhere:
///
///     <workspace>/rigs/<rigId>/<repository>/worktrees/<agentId>   the registration (git's "admin directory")
///     <workspace>/rigs/<rigId>/worktrees/<agentId>                the files
///     <workspace>/rigs/<rigId>/worktrees/.new/                    what is being written or removed
///     <workspace>/rigs/<rigId>/worktrees/.kept/                   what was in the way and is nobody's to delete
struct worktree_place {
  std::string agent_id;
  std::filesystem::path worktree;     ///< absolute, links in the workspace's own path resolved
  std::filesystem::path repository;   ///< the same
  std::filesystem::path registration; ///< `repository / "worktrees" / agent_id`
  descriptor worktrees;               ///< the directory the worktree lies in
  descriptor repository_dir;
  descriptor registrations; ///< `repository / "worktrees"`
};

/// Opens the place, making `worktrees` directories that are missing. Errors: `invalid_argument` when an id or branch is
/// not acceptable, a path is not absolute or not of the layout above, or a directory of ours is a symbolic link;
/// `disk`.
result<worktree_place> open_place(const worktree_job& job);

/// A directory of ours below `<rig>/worktrees/.new`, gone with its object and swept at the next start when the process
/// died.
class staging_directory {
public:
  /// Also removes what dead processes left in `.new`.
  static result<staging_directory> make(const worktree_place& place);
  staging_directory(staging_directory&&) noexcept = default;
  staging_directory& operator=(staging_directory&&) = delete;
  ~staging_directory();

  int fd() const noexcept { return own_.get(); }

private:
  staging_directory(descriptor parent, std::string name, descriptor own)
      : parent_(std::move(parent))
      , name_(std::move(name))
      , own_(std::move(own)) {}

  descriptor parent_;
  std::string name_;
  descriptor own_;
};

/// Writes or replaces a file that git takes no lock for: made in a staging directory and renamed, so that it is there
/// whole or not at all.
result<void> put_file(const worktree_place& place, int directory, const char* name, std::string_view content);

/// Moves what stands at the worktree's path to `.kept/<agentId>-<n>` (first free n from 1) and returns the new path.
result<std::filesystem::path> move_aside(const worktree_place& place);

/// The same for what stands at the registration's path.
result<std::filesystem::path> move_registration_aside(const worktree_place& place);

/// Removes what dead processes left in `<rig>/worktrees/.new`. What cannot be removed stays and harms nobody.
void sweep_staging(int worktrees);

} // namespace townkeeper::git
