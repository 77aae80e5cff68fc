#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/git_executor.hpp"
#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/recovery.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"

namespace townkeeper::simulation {

/// What one job comes to, and when.
template <class T>
struct git_plan {
  result<T> outcome;
  std::chrono::milliseconds after{10};
  bool never = false;              ///< it hangs until it is cancelled
  std::int64_t received_bytes = 0; ///< of a fetch
};

/// Remotes and a disk that exist only as values, and an executor that works on them on the virtual clock. As with the
/// real one, a newer job of a key cancels the older and waits for its end. Without a plan of the test's own, a fetch
/// finds each wanted branch that the remote has, a worktree gets the tip it is told, a snapshot finds what `moments`
/// says, and the remote acknowledges each push.
struct fake_git {
  struct fetch {
    git::repository_job job;
    caf::actor_clock::time_point at;
    caf::actor_addr asker;
  };
  struct restore {
    git::worktree_job job;
    bool remove = false;
    caf::actor_clock::time_point at;
    caf::actor_addr asker;
  };

  template <class Job>
  struct asked {
    Job job;
    caf::actor_clock::time_point at;
  };

  /// What the test wants of the next jobs; empty: as described above.
  std::function<git_plan<git::repository_restored>(const git::repository_job&)> on_fetch;
  std::function<git_plan<git::worktree_restored>(const git::worktree_job&)> on_worktree;
  std::function<git_plan<git::worktree_removal>(const git::worktree_job&)> on_removal;
  std::function<git_plan<git::snapshot>(const git::snapshot_job&)> on_snapshot;
  std::function<git_plan<std::vector<git::pushed_point>>(const git::push_job&)> on_push;
  std::function<git_plan<std::set<std::string>>(const git::delete_job&)> on_delete;
  /// Hears of each worktree job that takes hold of the worktree, before it ends.
  std::function<void(const git::worktree_job&)> touched;

  std::set<std::string> missing_branches; ///< no remote has them
  std::set<std::string> older_disks;      ///< agents whose unrestored worktree is of before their newest point

  std::vector<fetch> fetches;     ///< in the order they came
  std::vector<restore> worktrees; ///< restores and removals
  std::vector<asked<git::snapshot_job>> snapshots;
  std::map<std::string, caf::actor_addr> savers; ///< of each agent, who asked for its last snapshot
  std::vector<asked<git::push_job>> pushes;
  std::vector<asked<git::delete_job>> deletions;
  std::vector<prune_request> prunes;
  std::map<std::string, std::string> moments;         ///< agent → what its worktree holds; none: it is clean
  std::map<std::string, town::recovery_point> points; ///< on the remote, by ref
  std::size_t under_way = 0;                          ///< jobs that have not ended
  std::map<std::string, std::string> disk; ///< worktree path → "<repository>@<commit>", as the last job left it

  /// The commit of a branch on a remote: 40 digits that name nothing but the two.
  static std::string tip_of(const std::string& url, const std::string& branch);
  git_plan<git::repository_restored> fetched(const git::repository_job& job) const;
  git_plan<git::worktree_restored> restored(const git::worktree_job& job) const;

  git_plan<git::snapshot> taken(const git::snapshot_job& job) const;
  git_plan<std::vector<git::pushed_point>> pushed(const git::push_job& job);

  std::size_t restores_of(const std::string& agent_id) const;
};

git_executor_actor spawn_fake_executor(caf::actor_system& system, std::shared_ptr<fake_git> git);

/// A plan that fails.
template <class T>
git_plan<T> failing(error_code code, std::string message,
                    std::chrono::milliseconds after = std::chrono::milliseconds{10}) {
  return {error{code, "fake", std::move(message)}, after, false, 0};
}

template <class T>
git_plan<T> hanging() {
  return {error{error_code::cancelled, "fake", "cancelled"}, std::chrono::milliseconds{0}, true, 0};
}

} // namespace townkeeper::simulation
