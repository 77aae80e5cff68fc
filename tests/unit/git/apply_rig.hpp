#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "git/jobs.hpp"
#include "worktree_rig.hpp"

namespace townkeeper::test {

struct point_options {
  std::int64_t epoch = 1, seq = 1;
  std::optional<std::string> remote_commit; ///< the branch on the remote, as the point says
  std::string agent = "a1", branch = "work";
  std::map<std::string, std::string> raw; ///< path → exact bytes
};

/// Makes a recovery point of a worktree with git's plumbing commands alone, as docs/recovery.md says: a witness of the
/// format that shares no line with the code under test. Its objects are in the worktree's repository.
git::found_recovery make_point(const std::filesystem::path& worktree, const std::filesystem::path& registration,
                               const point_options& options);

/// Everything that has to be the same after a wake, as text: status, index with stages and flags, HEAD, branches, every
/// file's bytes and mode, the operation in progress.
std::string picture_of(const std::filesystem::path& worktree, const std::filesystem::path& registration);

/// One agent, `a1` on `work`, that is saved, loses its disk and wakes.
class apply_rig : public worktree_rig {
public:
  /// The branch on the remote has these files, and the agent's worktree is there.
  explicit apply_rig(const tree_paths& paths);

  /// Without the branch on the remote; the worktree starts at `main`.
  apply_rig();

  /// In the agent's worktree, with git's command line.
  std::string git(const std::vector<std::string>& arguments) const;
  command_outcome try_to(const std::vector<std::string>& arguments) const;
  void put(const std::string& path, const std::string& content) const;
  std::string picture() const { return picture_of(worktree(), registration()); }

  /// Makes a point of the worktree and puts it on the remote: by hand as `make_point` does, or, where `with_our_own` is
  /// set, with the functions the daemon saves with.
  void save(std::int64_t epoch = 1, std::int64_t seq = 1, std::map<std::string, std::string> raw = {});

  /// The disk is gone: the repository is restored from the remote, the point's objects with it.
  void lose_disk();
  /// The warm disk hears of the remote's branches and of the point.
  void look_again();

  /// The job with the point.
  git::worktree_job wake_job() const;
  git::worktree_restored wake() const;

  git::found_recovery point;
  bool with_our_own = false;

private:
  void save_with_our_own(std::int64_t epoch, std::int64_t seq);

  std::string tip_ = {};
};

} // namespace townkeeper::test
