#pragma once

#include <chrono>

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
  std::optional<std::chrono::milliseconds> grace{}; ///< until SIGKILL; nothing: the configured one. Only ever shortened
};
struct stop_answer {
  bool known = false;
};

struct agent_status_query {
  std::string agent_id;
};

/// One agent's process as `/agents/{a}/status` shows it.
using town::agent_status;
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
  std::optional<agent_status> agent; ///< with 200 and 201; with 500 when a process of it may live all the same
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

/// To the supervisor: an agent's process ended, or a start came to nothing; a held-back change of its worktree may be
/// applied now.
struct agent_idle {
  std::string agent_id;
};

/// From the process runner to the supervisor, before the agent actor hears that the process ended or did not start: for
/// an actor that is gone by then.
struct process_gone {
  std::string agent_id;
};

/// To the supervisor: save now what this agent, or every one, has not saved; not to be put off until the next push.
struct snapshot_query {
  std::optional<std::string> agent_id;
};
struct snapshot_answer {
  std::vector<town::recovery_point> points; ///< the newest of each agent that has one; all of it is on the remote
  std::vector<error> failures;              ///< what is unsaved, and why; each names its agent
  bool unknown_agent = false;               ///< the one that was asked for is none of this container's
};

/// SIGTERM or SIGINT: stop the agents, then everything. A second one shortens the waiting.
struct shutdown {
  std::string reason;
};
struct shutdown_due {};

/// The supervisor's own clock: time to ask again whether an older container still drains.
struct predecessor_due {};

} // namespace townkeeper
