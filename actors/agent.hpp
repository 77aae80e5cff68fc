#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <caf/typed_response_promise.hpp>

#include "actors/started_dispatches.hpp"
#include "messages/interfaces.hpp"
#include "messages/lifecycle.hpp"
#include "messages/town.hpp"
#include "process/process_runner.hpp"

namespace townkeeper {

struct agent_config {
  std::string rig_id, agent_id;
  std::string town_id;
  std::filesystem::path state_directory;   ///< `<workspace>/.townkeeper/agents/<agentId>`: prime context, prompts, log
  std::filesystem::path socket;            ///< where the agent's own commands reach the daemon
  std::filesystem::path command_directory; ///< holds gt_checkpoint and its sisters; first in the agent's PATH
  std::filesystem::path executable;        ///< townkeeper itself, for the credential helper
  std::vector<std::string> command;        ///< argv with placeholders
  std::map<std::string, std::string> passed_environment; ///< of the daemon's own, what agents may have
  std::chrono::milliseconds stop_grace{10'000};
  std::shared_ptr<const process_runner> runner;
  town_link_actor town;
  health_actor health;
  caf::actor_addr supervisor;
  std::function<std::string()> wall_clock;
  started_dispatches started; ///< after a crash of the actor: what its predecessors were started for
};

/// One agent's process: started once per dispatch, ended as a group, its end said to the town. Told: launch_agent,
/// stop_agent, status queries, and the runner's words. Tells: health, the town (`completed`), the supervisor (idle
/// again). Fails: a start that does not succeed is answered with its reason; a crash of this actor ends the process
/// (its destructor stops the group, or the runner's callback does when it is only just being started), so that no agent
/// runs unwatched; the supervisor hears of its end from the runner.
class agent_state {
public:
  static inline const char* name = "agent";

  explicit agent_state(agent_actor::pointer self)
      : self_(self) {}
  ~agent_state();
  agent_state(const agent_state&) = delete;
  agent_state& operator=(const agent_state&) = delete;

  agent_actor::behavior_type make_behavior(agent_config config);

private:
  using start_promise = caf::typed_response_promise<start_answer>;

  /// What the runner's thread and this actor both know of one start, so that whichever comes last stops a process that
  /// nobody watches.
  struct process_slot {
    std::atomic<int> pid{0};
    std::atomic<bool> abandoned{false};
  };

  start_promise launch(launch_agent& wanted);
  bool started_before(const std::string& dispatch_id) const;
  void run(const std::string& prime);
  process_launch make_launch(const std::string& prime) const;
  std::map<std::string, std::string> make_environment() const;
  void take_start(process_started& started);
  void take_end(process_exited& ended);
  stop_answer stop(std::chrono::milliseconds grace);
  agent_status status() const;
  void answer(start_answer first, start_answer others);
  void refuse(int http_status, error why, int retry_after_seconds = 0);
  void tell_idle();
  void tell_health();

  agent_actor::pointer self_;
  agent_config config_;
  std::optional<launch_agent> launch_;
  std::vector<start_promise> promises_;   ///< of the start under way, and of those that came meanwhile
  std::shared_ptr<process_slot> process_; ///< from the word to the runner until the process has ended
  std::string status_ = "idle";
  std::uint64_t generation_ = 0;
  std::optional<int> pid_;
  std::string started_at_, last_activity_at_, exit_reason_;
  std::optional<int> exit_code_, signal_;
  bool stop_wanted_ = false;
};

agent_actor::behavior_type agent(agent_actor::stateful_pointer<agent_state> self, agent_config config);

} // namespace townkeeper
