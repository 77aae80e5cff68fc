#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// What git keeps about a linked worktree below `<repository>/worktrees/<id>` (gitrepository-layout(5)).
struct registration {
  std::optional<std::string> head; ///< content of HEAD, trimmed; nothing: absent or unreadable
  std::filesystem::path worktree;  ///< the directory `gitdir` names; empty: absent or unreadable
  bool has_commondir = false;
  bool is_locked = false;
  std::vector<std::string> rebased_branches; ///< full ref names a rebase in progress will write back to

  /// The branch HEAD is attached to, without `refs/heads/`.
  std::optional<std::string> head_branch() const;
  /// HEAD is on the branch, or a rebase of it is in progress.
  bool is_on(std::string_view branch) const;
};

/// Reads `<registrations>/<id>`; nothing when there is no such directory.
std::optional<registration> read_registration(int registrations, const std::string& id);

/// The same, but nothing also where it is not on `branch`: of those, only HEAD is read.
std::optional<registration> read_registration_on(int registrations, const std::string& id, std::string_view branch);

/// The directory a worktree's `.git` file names; nothing when there is no such file or it holds something else.
std::optional<std::filesystem::path> read_dot_git(int worktree);

/// Content of the files of a registration, as git itself writes them.
std::string head_content(const std::string& branch);
std::string gitdir_content(const worktree_place& place);
std::string dot_git_content(const worktree_place& place);
std::string lock_reason(const worktree_place& place);
inline constexpr std::string_view commondir_content = "../..\n";

/// One line of a reflog. `from` and `to` are 40 hexadecimal digits; the time is now.
std::string reflog_line(const std::string& from, const std::string& to, std::string_view message);
inline constexpr const char* null_oid_hex = "0000000000000000000000000000000000000000";

/// Makes a registration in the empty directory `staging`, HEAD on `branch`. `commit` empty: the branch is unborn, and
/// no reflog is written. `index` nothing: the caller builds it from the files that are there.
result<void> write_registration(int staging, const worktree_place& place, const std::string& branch,
                                const std::string& commit, const std::optional<std::string>& index);

/// Adds a line to the reflog `log` (`logs/HEAD`, `logs/refs/heads/<branch>`) below a registration or a repository, as
/// git does: by appending. It is a note for people: that it cannot be written fails nothing.
void note_in_reflog(int directory, const std::string& log, const std::string& line);

} // namespace townkeeper::git
