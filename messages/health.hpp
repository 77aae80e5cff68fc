#pragma once

#include "messages/interfaces.hpp"

#include "town/health_document.hpp"
#include "town/model.hpp"

/// What every actor tells the health actor, and what it is asked.
namespace townkeeper {

/// What is to be restored from now on. Answered before anything of it is spawned, so that no picture is ever complete
/// too early.
struct expect {
  town::desired_state desired;
};

/// Where a rig stands. `failure` is the last attempt's while retrying.
struct rig_progress {
  std::string rig_id;
  town::rig_phase phase = town::rig_phase::waiting;
  std::int64_t attempts = 0;
  std::optional<error> failure;
};

/// Bytes and objects of the fetch under way, straight from the worker, at most ten a second.
struct rig_transfer {
  std::string rig_id;
  std::int64_t received_bytes = 0;
  std::int64_t received_objects = 0;
  std::int64_t total_objects = 0;
};

/// A rig is ready, or failed for a stated reason.
struct rig_settled {
  town::rig_report report;
  std::string git_url; ///< an outcome of a remote that is not wanted any more counts for nothing
};

/// Where a worktree stands.
struct worktree_progress {
  std::string rig_id, agent_id;
  town::agent_phase phase = town::agent_phase::waiting;
  std::int64_t files_done = 0;
  std::int64_t files_total = 0;
  std::optional<error> failure;
};

/// A worktree has an outcome. One of another branch or remote than is expected counts for nothing, unless it is `held`:
/// the agent works in it, and the change is applied when its process has ended.
struct agent_settled {
  std::string rig_id;
  town::agent_report report;
  std::string git_url;
  bool held = false;
};

/// An agent process started, ended or went away.
struct process_changed {
  town::agent_process_health process;
  std::string last_activity_at;
  bool gone = false;
};

/// The daemon as a whole moved on, or is held up.
struct phase_changed {
  town::town_phase phase = town::town_phase::booting;
  std::int64_t epoch = 0;
};
struct trouble {
  std::optional<error> reason; ///< nothing: it is over
};

/// The health actor's own clock.
struct publish_due {};

/// What the town hears in a heartbeat.
struct heartbeat_query {};
struct heartbeat_facts {
  std::vector<town::agent_heartbeat> agents;
};

} // namespace townkeeper
