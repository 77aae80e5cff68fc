#pragma once

#include "messages/interfaces.hpp"

#include "town/model.hpp"

/// Agent processes: started and stopped by the town or an operator, watched by one agent actor each.
namespace townkeeper {

/// Start this agent's process.
struct start_agent {
  town::start_request request;
};

struct stop_agent {
  std::string agent_id;
};
struct stop_answer {
  bool known = false;
};

struct agent_status_query {
  std::string agent_id;
};

/// One agent's process as `/agents/{a}/status` shows it.
struct agent_status {
  std::string agent_id, rig_id;
  std::string status; ///< idle, starting, running, stopping, exited or failed
  std::optional<int> pid;
  std::string started_at, last_activity_at;
  std::string exit_reason;
  std::optional<int> exit_code, signal;
  std::string dispatch_id;
};
struct agent_status_answer {
  std::optional<agent_status> status; ///< nothing: no such agent here
};

/// To the agent actor: start in this worktree.
struct launch_agent {
  town::start_request request;
  town::agent_spec spec;
  std::string worktree;
};

/// How a start went, as the control server answers it.
struct start_answer {
  int status = 0; ///< HTTP: 201 started, 200 ran already, 503 not yet, 404 unknown, 500 could not be started
  std::optional<agent_status> agent; ///< with 200 and 201
  std::optional<error> failure;      ///< otherwise
  int retry_after_seconds = 0;       ///< with 503
};

/// From the process runner.
struct process_started {
  std::uint64_t generation = 0;
  result<int> pid;
};
struct process_exited {
  std::uint64_t generation = 0;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string last_activity_at;
};

/// To the supervisor: an agent's process ended; a held-back change of its worktree may be applied now.
struct agent_idle {
  std::string agent_id;
};

/// SIGTERM or SIGINT: stop the agents, then everything. A second one shortens the waiting.
struct shutdown {
  std::string reason;
};
struct shutdown_due {};

} // namespace townkeeper
