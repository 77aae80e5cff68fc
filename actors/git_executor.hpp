#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "actors/git_worker.hpp"
#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"

namespace townkeeper {

/// Whatever a worker can be given.
using git_request =
    std::variant<repository_request, worktree_request, snapshot_request, push_request, delete_request, prune_request>;

/// Bounds of the worker threads and of what waits for them.
struct git_executor_config {
  std::size_t network_workers = 32;
  std::size_t disk_workers = 2;
  std::size_t push_workers = 32;
  std::size_t snapshot_workers = 2; ///< the machine's cores, at least two
  std::size_t jobs_per_turn = 4;    ///< of one rig in a row, so that its worktrees share inflated blobs
  std::size_t spare_workers = 4;    ///< of each lane, kept for its next jobs; more of them end
  std::size_t max_given_up = 8;     ///< hanging threads that may be replaced by new ones
  std::chrono::milliseconds network_deadline{330'000}; ///< the transfer's own total limit and a margin
  std::chrono::milliseconds disk_deadline{600'000};
  std::chrono::milliseconds push_deadline{330'000}; ///< as for the network
  std::chrono::milliseconds snapshot_deadline{120'000};
  std::chrono::milliseconds lull{1000}; ///< without a job: then `at_rest` is called
  /// Empty: memory goes back to the system, in a thread of its own.
  std::function<void(git_executor_actor::pointer)> at_rest;
  caf::actor_addr health; ///< progress goes straight there
  /// Makes a worker that is linked to the executor. Empty: a thread that runs the git layer.
  std::function<git_worker_actor(git_executor_actor::pointer)> spawn_worker;
};

/// Owns the worker threads. Four lanes (network: one fetch per rig; disk: worktrees; push; snapshot); within a lane the
/// rigs take turns of a few jobs, so a rig with many jobs delays nobody else's. One job runs per key. A newer fetch of
/// a repository, or job of a worktree, sets the older's cancel flag and waits for the worker's word that it has ended;
/// a second snapshot of an agent waits for the first; pushes run side by side. A worker past its job's deadline is
/// given up: its asker hears `timed_out`, a new thread takes its place (for at most `max_given_up` at a time), and jobs
/// of that key are refused until the thread comes back. Told: requests (results go to the asker). Fails: never by a
/// job; a worker that dies takes the daemon.
class git_executor_state {
public:
  static inline const char* name = "git_executor";

  explicit git_executor_state(git_executor_actor::pointer self)
      : self_(self) {}

  git_executor_actor::behavior_type make_behavior(git_executor_config config);

private:
  struct job {
    std::uint64_t id = 0;
    std::string key;
    std::string rig_id;
    git_request request;
  };
  struct running_job {
    job what;
    std::size_t lane = 0;
    git_worker_actor worker;
    bool given_up = false; ///< its asker was answered
    bool replaced = false; ///< and another thread has its place
  };
  struct lane {
    std::size_t max_workers = 0;
    std::size_t workers = 0; ///< alive and not replaced
    std::chrono::milliseconds deadline{0};
    std::vector<git_worker_actor> idle;
    std::map<std::string, std::deque<job>> waiting; ///< by rig
    std::string serving;                            ///< the rig whose turn it is
    std::size_t served = 0;                         ///< jobs in this turn
  };

  void submit_newest(std::size_t lane_index, std::string key, std::string rig_id, git_request request);
  void submit(std::size_t lane_index, std::string key, std::string rig_id, git_request request);
  void pump(std::size_t lane_index);
  std::optional<job> next(lane& from);
  void run(std::size_t lane_index, job&& what);
  void finish(job_finished& done);
  void give_up(std::uint64_t id);
  void replace_given_up();
  void end_spare_workers(lane& of);
  void end_worker(git_worker_actor& worker);
  void rest(std::uint64_t last_id) const;
  void refuse(const job& what, const error& why);
  template <class Outcome>
  void answer(const git_request& request, Outcome&& outcome);
  void cancel_older(const std::string& key);
  void refuse_waiting(lane& from, const std::string& rig_id, const std::string& key, const error& why);
  bool is_given_up(const std::string& key) const;
  bool is_running(const std::string& key) const;

  git_executor_actor::pointer self_;
  git_executor_config config_;
  std::array<lane, 4> lanes_;
  std::map<std::uint64_t, running_job> running_;
  std::uint64_t last_id_ = 0;
  std::size_t replaced_ = 0;
};

git_executor_actor::behavior_type git_executor(git_executor_actor::stateful_pointer<git_executor_state> self,
                                               git_executor_config config);

} // namespace townkeeper
