#pragma once

#include "messages/interfaces.hpp"

#include "core/secret.hpp"
#include "town/model.hpp"

/// Everything that is to be said to the town goes through the town link.
namespace townkeeper {

/// Say boot to the town, and keep at it until it answers.
struct boot_town {
  caf::actor_addr supervisor; ///< hears the desired state, and when this container is fenced
  caf::actor_addr health;     ///< hears phases and trouble, says what a heartbeat holds
};

/// To the supervisor: what the town wants this container to hold, at boot and whenever its version moved.
struct desired_state_changed {
  town::desired_state desired;
};

/// To the supervisor: a newer container has this town. Nothing we write counts any more.
struct fenced {};

/// Report readiness; a newer report replaces one that is still waiting to be said.
struct report_ready {
  town::ready_report report;
};

/// A picture for dashboards; loss is harmless.
struct report_progress {
  std::string document; ///< the health document as JSON
};

/// An agent's process ended.
struct report_completed {
  std::string rig_id, agent_id;
  town::completed_request body;
};

/// SIGTERM: the town shall stop dispatching. Said once, not waited for.
struct report_eviction {
  std::string reason;
};

/// Read the desired state again; the answer says whether the town could be asked.
struct reread_desired_state {};
struct desired_state_answer {
  result<town::desired_state> desired;
};

/// A call an agent makes through its socket; token and epoch are added here. Answered with the town's own status and
/// body.
struct agent_call {
  std::string rig_id, agent_id;
  std::string method; ///< GET or POST
  std::string route;  ///< below the agent's path: "checkpoint", "prime", "done", "status", "checkpoints", "mail-ack"
  std::string body;
};
struct agent_call_answer {
  int status = 0; ///< HTTP status; 503 when the town could not be reached
  std::string body;
};

/// A new container token, from the control server; what waits is tried again at once.
struct container_token {
  secret token;
};

/// The transport's answer to call `id`.
struct town_answered {
  std::uint64_t id = 0;
  int status = 0; ///< 0: no answer, `failure` says why
  std::string body;
  std::optional<std::chrono::milliseconds> retry_after;
  std::optional<error> failure;
};

/// The town link's own clocks.
struct town_retry_due {
  std::uint64_t id = 0;
};
struct heartbeat_due {};

} // namespace townkeeper
