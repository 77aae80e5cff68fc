#pragma once

#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "actors/agent.hpp"
#include "actors/keeper.hpp"
#include "actors/retry_policy.hpp"
#include "actors/rig.hpp"
#include "actors/saver.hpp"
#include "actors/started_dispatches.hpp"
#include "actors/worktree.hpp"
#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/lifecycle.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"
#include "messages/town.hpp"

namespace townkeeper {

/// One-for-one: a crashed child is started again after a pause; too many crashes within the window, and it is failed
/// and started only by the slow retry, until it has lived for a window.
struct supervision_policy {
  std::uint32_t intensity = 5; ///< this many crashes within the window are too many
  std::chrono::milliseconds window{60'000};
  std::chrono::milliseconds first{250};
  std::chrono::milliseconds max{30'000};
  std::chrono::milliseconds after_failure{60'000};
};

struct supervisor_config {
  std::filesystem::path rigs_directory; ///< `<workspace>/rigs`
  supervision_policy supervision;
  bool protect = true;                                 ///< work is saved
  std::chrono::milliseconds save_deadline{10'000};     ///< for one worktree's save in a drain
  std::chrono::milliseconds drain_limit{840'000};      ///< for all agents to end, after SIGTERM
  std::chrono::milliseconds predecessor_limit{15'000}; ///< for an older container to finish its drain, at boot
  rig_config rig;                                      ///< the part that is the same for every rig
  worktree_config worktree;
  agent_config agent;
  saver_config saver;
  keeper_config keeper;
  /// Called when an agent comes and goes, so that its socket exists exactly as long as it does. Must not block.
  std::function<void(const std::string& rig_id, const std::string& agent_id, bool present)> agent_known;
  std::function<void(std::string_view kind)> restarted; ///< counts
  health_actor health;
  town_link_actor town;
  git_executor_actor executor;
  std::shared_ptr<std::atomic<int>> exit_code; ///< what the process will end with
  std::uint64_t seed = 0;                      ///< of every jitter
};

/// The root. Owns the desired state and the set of rig, worktree and agent actors, and holds every strong handle. Told:
/// the desired state, what worktrees came to, starts, stops and saves from the control server, fenced, shutdown. Tells:
/// health what is expected, before anything of it is spawned. Fails: children are restarted by policy; a crash of
/// health, town link or executor ends the daemon with 70. However it ends, its children end with it.
class supervisor_state {
public:
  static inline const char* name = "supervisor";

  explicit supervisor_state(supervisor_actor::pointer self)
      : self_(self) {}
  ~supervisor_state();
  supervisor_state(const supervisor_state&) = delete;
  supervisor_state& operator=(const supervisor_state&) = delete;

  supervisor_actor::behavior_type make_behavior(supervisor_config config);

private:
  using start_promise = caf::typed_response_promise<start_answer>;
  using stop_promise = caf::typed_response_promise<stop_answer>;
  using status_promise = caf::typed_response_promise<agent_status_answer>;
  using credentials_promise = caf::typed_response_promise<git_credentials_answer>;
  using keep_promise = caf::typed_response_promise<keep_disk_answer>;
  using snapshot_promise = caf::typed_response_promise<snapshot_answer>;

  enum class drain_step { first_save, agents, last_save, telling };

  /// What of a child outlives its crashes.
  struct child_record {
    std::deque<caf::actor_clock::time_point> crashes; ///< within the window
    std::uint64_t generation = 0;                     ///< of the restart timer
    bool failed = false;                              ///< crashed too often; only the slow retry starts it
    caf::actor_clock::time_point started{};           ///< the last time
  };
  struct rig_child {
    town::rig_spec spec;
    rig_actor handle;
    child_record record;
    saver_actor saver;
    child_record saver_record;
    std::filesystem::path repository; ///< the bare one; empty until a worktree was restored from it
  };
  struct agent_child {
    std::string rig_id;
    town::agent_spec spec; ///< what the worktree actor was told
    std::string git_url;   ///< of its rig, as the worktree actor was told
    bool held = false;     ///< the town wants another branch or remote, applied when the process has ended
    worktree_actor worktree;
    child_record worktree_record;
    agent_actor process;              ///< spawned at the first start
    std::size_t launches = 0;         ///< orders to `process` that are not answered yet
    bool lives = false;               ///< a process of it may run
    bool gone = false;                ///< the runner says that it does not, and `process` has not said so yet
    std::optional<std::string> crash; ///< why `process` does not watch the one that may run any more
    std::string dispatch_id;          ///< of the one that may run
    bool retiring = false;
    std::optional<town::agent_report> report; ///< the last outcome
    keeper_actor keeper;                      ///< spawned when the worktree is restored
    child_record keeper_record;
    std::optional<protect> protection;      ///< what the keeper was told; nothing once it saves for the last time
    std::optional<protect> last_protection; ///< that, while it does
    bool awaits_saver = false;              ///< nobody can save it just now, and it leaves
    std::optional<save_answer> last_save;   ///< in a drain

    /// True while nothing may touch its worktree.
    bool busy() const { return launches > 0 || lives; }
  };

  // the desired state
  void take_desired(desired_state_changed& changed);
  void converge();
  void wait_for_predecessor();
  void ask_after_predecessor();
  void apply();
  void apply_rig(const town::rig_spec& spec);
  void apply_agent(const town::rig_spec& rig, const town::agent_spec& spec);
  bool waits_for_point(const town::rig_spec& old, const town::rig_spec& wanted) const;
  std::set<std::string> restored_agents(const std::string& rig_id) const;
  void retire(const std::string& agent_id);
  void retire_worktree_of(const std::string& agent_id, agent_child& child);
  void finish_retirement(const worktree_retired& done);
  void drop_empty_rigs();

  // children
  void spawn_rig(const std::string& rig_id, rig_child& child);
  void spawn_worktree(const std::string& agent_id, agent_child& child);
  void spawn_process(const std::string& agent_id, agent_child& child);
  void spawn_saver(const std::string& rig_id, rig_child& child);
  void spawn_keeper(const std::string& agent_id, agent_child& child);
  void child_down(const caf::down_msg& down);
  void worktree_down(const std::string& agent_id, agent_child& child, const caf::error& reason);
  void process_down(const std::string& agent_id, agent_child& child, const caf::error& reason);
  void give_up_daemon(const caf::error& reason, bool can_save);
  void crashed(const std::string& kind, const std::string& id, child_record& record, const caf::error& reason);
  void restart(const child_restart_due& due);
  void settle_crashed(const std::string& kind, const std::string& id, const error& why);

  // agent processes
  start_promise start(start_agent& wanted);
  void launch(start_agent& wanted, agent_child& child, start_promise promise);
  void take_launched(const std::string& agent_id, const start_answer& answer);
  stop_promise stop(const stop_agent& wanted);
  status_promise show(const agent_status_query& query);
  credentials_promise answer_credentials(const git_credentials_query& query);
  void take_settled(const worktree_settled& settled);
  void take_idle(const agent_idle& idle);
  void take_gone(const process_gone& gone);
  void bury(const std::string& agent_id, agent_child& child);
  void after_process(const std::string& agent_id, agent_child& child);
  void tell_process(const std::string& agent_id, const agent_child& child, const char* status);
  agent_child* find(const std::string& agent_id);

  // protection
  void protect_worktree(const std::string& agent_id, agent_child& child);
  void tell_saver(const rig_child& child);
  keep_promise keep(keep_disk& wanted);
  snapshot_promise save_for(const snapshot_query& query);
  void ask_keepers(const std::vector<std::string>& agent_ids, const char* kind,
                   const std::function<void(save_answer)>& each, std::function<void()> next);
  void save_all(std::function<void()> next);
  void take_saved(save_answer answer);

  // the end
  void fence();
  void shut_down(const shutdown& why);
  void hurry();
  std::optional<std::chrono::milliseconds> drain_grace() const;
  void end_agents();
  void save_difference();
  void tell_drained();
  void finish_shutdown();
  void stop_all_processes(std::optional<std::chrono::milliseconds> grace);
  bool all_idle() const;

  supervisor_actor::pointer self_;
  supervisor_config config_;
  town::desired_state desired_;
  bool draining_ = false;
  drain_step step_ = drain_step::first_save;
  int hurried_ = 0; ///< signals after the first
  bool fenced_ = false;
  bool booted_ = false;                                              ///< the first desired state has come
  std::optional<caf::actor_clock::time_point> predecessor_deadline_; ///< while one that drains is waited for
  std::map<std::string, rig_child> rigs_;
  std::map<std::string, agent_child> agents_;
  std::map<std::string, started_dispatches> dispatched_; ///< by agent; outlives its actors
  std::mt19937_64 random_;
};

supervisor_actor::behavior_type supervisor(supervisor_actor::stateful_pointer<supervisor_state> self,
                                           supervisor_config config);

} // namespace townkeeper
