#pragma once

#include <caf/typed_response_promise.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/protection.hpp"

namespace townkeeper::simulation {

/// Everything that was said to health, and by whom.
struct health_log {
  std::vector<expect> expected;
  std::vector<rig_progress> rigs;
  std::vector<rig_settled> rigs_settled;
  std::vector<worktree_progress> worktrees;
  std::vector<agent_settled> settled;
  std::vector<process_changed> processes;
  std::vector<phase_changed> phases;
  std::vector<protection_changed> protection;
  /// The newest actor that spoke for "rig/<rigId>", "worktree/<agentId>" or "agent/<agentId>".
  std::map<std::string, caf::actor_addr> speakers;

  bool hold_expect = false; ///< answer no `expect` while this is set; a `publish_due` then answers those that came
  std::vector<caf::typed_response_promise<bool>> held;

  /// Hears each outcome of an agent as it is said.
  std::function<void(const agent_settled&)> on_settled;

  town::agent_outcome outcome_of(const std::string& agent_id) const;
  town::rig_outcome outcome_of_rig(const std::string& rig_id) const;
  std::vector<town::rig_phase> phases_of_rig(const std::string& rig_id) const;
  std::string process_of(const std::string& agent_id) const; ///< the last status; "gone", "" when it was never named
};

/// Stands in for health. With `real`, everything is passed on to it as well.
health_actor spawn_health_recorder(caf::actor_system& system, std::shared_ptr<health_log> log, health_actor real = {});

} // namespace townkeeper::simulation
