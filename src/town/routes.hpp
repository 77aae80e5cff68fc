#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/secret.hpp"
#include "town/model.hpp"

namespace townkeeper::town {

/// One call to the town, but for what the transport adds: base URL, town id, token and epoch.
struct call {
  std::string route;           ///< a stable word for logs, metrics and errors: "container-boot"
  std::string method;          ///< GET, POST or DELETE
  std::string path;            ///< below `/api/towns/{townId}`, begins with `/`; segments are percent-encoded
  std::string body;            ///< JSON; empty for GET and DELETE
  std::string idempotency_key; ///< value of `Idempotency-Key`; empty where the call sets a state
};

/// The calls of CONTRACT.md, "Container to town", and two of an operator. Ids are encoded whatever they hold, so that
/// none can leave its segment.
namespace calls {

/// The body holds the control token, in the clear as the contract has it.
call boot(const boot_request& request, const secret& control_token);
call desired_state();
call restore_progress(std::string health_document);
call ready(const ready_report& report);
call heartbeat(const heartbeat_request& request);
call completed(std::string_view rig_id, std::string_view agent_id, const completed_request& request);
call eviction(std::string_view instance_id, std::string_view reason);
call drained(const drained_request& request);
call refresh_container_token();
call refresh_git_token(std::string_view rig_id);

/// A point that the remote has acknowledged. From a container that is fenced the town refuses it with 409 and lists it
/// in `kept` all the same.
call recovery_point(std::string_view rig_id, std::string_view agent_id, const town::recovery_point& point);
/// A point for a person or the agent to look at, never applied by itself.
call kept(std::string_view rig_id, std::string_view agent_id, const town::recovery_point& point);
/// A kept point is no longer wanted. `commit`: in hexadecimal, as the point names it.
call drop_kept(std::string_view rig_id, std::string_view agent_id, std::string_view commit);
/// Everything the town holds, secrets redacted. Needs a token of scope admin, as the next.
call state();
/// An operator's act: the agent's recovery point is given up.
call accept_loss(std::string_view rig_id, std::string_view agent_id);

/// What an agent says or asks by itself: `what` is "checkpoint", "done", "status" or "mail-ack" (POST), "prime" or
/// "checkpoints", also with `?limit=<1..3 digits>` (GET). A checkpoint gets an idempotency key of its own, so that one
/// call that is repeated is one checkpoint. Nothing for any other call.
std::optional<call> of_agent(std::string_view rig_id, std::string_view agent_id, std::string_view method,
                             std::string_view what, std::string body);

} // namespace calls
} // namespace townkeeper::town
