#pragma once

#include <git2.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {

/// Who writes the reflog lines of a restore.
inline constexpr const char* reflog_name = "townkeeper";
inline constexpr const char* reflog_email = "townkeeper@townkeeper.invalid";

/// Holds a branch of a repository for one job of this process, so that two jobs cannot put two worktrees on it at once.
class branch_claim {
public:
  /// Errors: `conflict` when another job holds it.
  static result<branch_claim> take(const worktree_place& place, const std::string& branch);
  branch_claim(branch_claim&& other) noexcept
      : key_(std::move(other.key_)) {
    other.key_.clear();
  }
  branch_claim& operator=(branch_claim&&) = delete;
  ~branch_claim();

private:
  explicit branch_claim(std::string key)
      : key_(std::move(key)) {}
  std::string key_;
};

/// The agent whose worktree of this repository is on `branch` (or rebases it), other than the place's own; nothing when
/// it is free. A registration whose directory is gone occupies nothing.
std::optional<std::string> occupant_of(const worktree_place& place, const std::string& branch);

struct branch_state {
  std::optional<git_oid> tip;      ///< the local branch's commit
  std::optional<std::string> note; ///< the local branch was there and unreadable: what was wrong with it
};

/// The local branch; a ref that cannot be read or names a commit that is gone counts as absent, with a note.
result<branch_state> read_branch(git_repository* repository, const std::string& branch);

/// Makes refs/heads/<branch> name `to`, with a reflog line, if it still names `from` (nothing: if it does not exist, or
/// is unreadable). A `.lock` of a dead owner is removed first, and so is a local branch whose name cannot be beside it
/// (`a` and `a/b`) when nobody is on it and the remote has its commits. Errors: `conflict` when the branch moved
/// meanwhile, a living process holds its lock or another branch must stay in its way.
result<void> set_branch(const worktree_place& place, git_repository* repository, const std::string& branch,
                        const git_oid& to, const std::optional<git_oid>& from, const std::string& message);

/// Commits reachable from `tip` and from none of `known`; at most `max_counted_commits`.
result<std::int64_t> count_commits(git_repository* repository, const git_oid& tip, const std::vector<git_oid>& known);
inline constexpr std::int64_t max_counted_commits = 100'000;

/// True when `ancestor` is `tip` or reachable from it.
result<bool> is_reachable(git_repository* repository, const git_oid& ancestor, const git_oid& tip);

/// The tips of all refs/remotes/origin/*.
result<std::vector<git_oid>> remote_tips(git_repository* repository);

/// True when some branch of the remote, as last seen, holds the commit.
result<bool> is_on_remote(git_repository* repository, const git_oid& commit);

} // namespace townkeeper::git
