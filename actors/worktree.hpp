#pragma once

#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>
#include <string>

#include "actors/retry_policy.hpp"
#include "git/recovery.hpp"
#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"

namespace townkeeper {

struct worktree_config {
  std::string rig_id, agent_id;
  std::filesystem::path directory; ///< `<workspace>/rigs/<rigId>/worktrees/<agentId>`
  retry_policy retry;
  git_executor_actor executor;
  health_actor health;
  std::chrono::milliseconds keep_limit{120'000}; ///< for what an older disk holds to reach the remote
  caf::actor_addr supervisor;
  std::uint64_t seed = 0; ///< of the jitter
  /// The repository of a worktree that an earlier container left on the disk.
  std::function<std::optional<std::filesystem::path>(const std::filesystem::path& worktree, const std::string& url)>
      warm_repository = git::repository_of_warm_worktree;
  /// After a crash of the actor: what its predecessor had come to. A restored worktree may have an agent at work in it,
  /// so it is not touched again.
  std::optional<town::agent_report> settled;
};

/// Owns one agent's worktree: its branch, HEAD, index and files. Spawned while its rig still fetches; starts when it
/// hears that the repository is ready, and is restored once. Told: restore_worktree, repository_ready/failed, retire.
/// Tells: health every step, the supervisor each outcome. Fails: with its rig (the rig's reason), at once for a missing
/// branch, else after five attempts; then it asks its rig every minute to look again. A crash loses nothing: the next
/// one checks the disk. After save_now, in a drain, it begins nothing any more, and what the disk holds unrestored is
/// saved.
class worktree_state {
public:
  static inline const char* name = "worktree";

  explicit worktree_state(worktree_actor::pointer self)
      : self_(self) {}
  ~worktree_state();
  worktree_state(const worktree_state&) = delete;
  worktree_state& operator=(const worktree_state&) = delete;

  worktree_actor::behavior_type make_behavior(worktree_config config);

private:
  using save_promise = caf::typed_response_promise<save_answer>;

  /// Somebody waits, in a drain, for what this worktree holds to be saved.
  struct owed_save {
    save_promise promise;
    save_now wanted;
    bool under_way = false;
  };

  void restore(restore_worktree& wanted);
  void begin(repository_ready& ready);
  void take_rig_failure(const repository_failed& failed);
  bool can_begin() const;
  bool is_restored() const { return settled_ && town::is_restored(settled_->outcome); }
  void submit();
  git::worktree_job make_job();
  void finish(worktree_result& done);
  void succeed(const git::worktree_restored& restored);
  void keep_older_work();
  git::snapshot_job make_snapshot_job(const std::filesystem::path& repository) const;
  save_promise save(const save_now& wanted);
  void save_unrestored();
  void answer_owed(const result<std::optional<town::recovery_point>>& point);
  const result<git::found_recovery>* found_point() const;
  void fail(const error& why);
  void settle(town::agent_report report, std::optional<town::recovery_point> applied = std::nullopt);
  void settle_failed(const error& why);
  void retry(std::uint64_t generation);
  void retire();
  void finish_removal(const removal_result& done);
  void tell(town::agent_phase phase, std::optional<error> why = std::nullopt);
  town::agent_report new_report(town::agent_outcome outcome) const;

  worktree_actor::pointer self_;
  worktree_config config_;
  std::optional<town::agent_spec> spec_;
  std::string git_url_; ///< the remote the spec is of
  std::optional<repository_ready> repository_;
  bool repository_is_current_ = false; ///< not older than the spec
  caf::actor_addr rig_;                ///< who said so: asked to look again
  std::optional<town::agent_report> settled_;
  git::cancel_flag cancel_;
  bool job_under_way_ = false;
  bool job_is_stale_ = false; ///< the spec moved on since it was submitted
  bool disk_is_kept_ = false; ///< what an older disk held is on the remote as a kept point
  bool retiring_ = false;
  bool ending_ = false; ///< the container ends: nothing new is begun
  std::optional<owed_save> owed_;
  std::optional<town::recovery_point> saved_unrestored_;
  std::uint32_t attempts_ = 0;
  caf::actor_clock::time_point begun_{};
  std::uint64_t retry_generation_ = 0;
  std::mt19937_64 random_;
};

worktree_actor::behavior_type worktree(worktree_actor::stateful_pointer<worktree_state> self, worktree_config config);

} // namespace townkeeper
