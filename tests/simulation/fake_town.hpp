#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"
#include "messages/town.hpp"

namespace townkeeper::simulation {

/// What was said to the town, and what it answers.
struct fake_town {
  /// Nothing: the question is never answered.
  std::function<std::optional<git_credentials_answer>(const git_credentials_query&)> on_credentials;
  std::function<std::optional<desired_state_answer>()> on_reread;
  std::function<std::optional<agent_call_answer>(const agent_call&)> on_call;

  std::function<std::optional<point_reported>(const report_point&)> on_point;
  std::function<std::optional<drained_reported>(const report_drained&)> on_drained;

  struct timed_report {
    caf::actor_clock::time_point at;
    town::ready_report report;
  };
  std::vector<timed_report> ready; ///< every ready report, in order
  std::function<void(const town::ready_report&)> on_ready;
  std::vector<std::string> progress;
  std::vector<report_completed> completed;
  std::vector<std::string> evictions;
  std::vector<report_point> points;           ///< in order
  std::vector<town::drained_request> drained; ///< the last words
  std::vector<git_credentials_query> credentials_queries;
  std::vector<agent_call> calls;
  std::size_t rereads = 0;
  bool booted = false;
  caf::actor_addr supervisor; ///< as the boot message said

  const town::ready_report& last_ready() const { return ready.back().report; }
  /// What the last report says of an agent or rig; a failure of the test when it names none.
  const town::agent_report& last_of(const std::string& agent_id) const;
  const town::rig_report& last_of_rig(const std::string& rig_id) const;
};

/// By default: no credentials needed, an empty context for each agent, no desired state to read.
town_link_actor spawn_fake_town(caf::actor_system& system, std::shared_ptr<fake_town> town);

} // namespace townkeeper::simulation
