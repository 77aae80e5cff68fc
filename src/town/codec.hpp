#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"
#include "core/secret.hpp"
#include "town/health_document.hpp"
#include "town/model.hpp"

/// Our values as the JSON of CONTRACT.md: camelCase, an absent optional is left out. Every result is valid JSON and
/// valid UTF-8 whatever the strings hold; texts are cut to the lengths the town takes, and what was built from foreign
/// text is redacted.
namespace townkeeper::town {

std::string encode(const boot_request& request, const secret& control_token);

/// An agent whose branch could not be read has no AgentReport in the contract, and one that the town cannot take would
/// cost the whole report: it is left out here, and named in the health document.
std::string encode(const ready_report& report);

std::string encode(const heartbeat_request& request);
std::string encode(const completed_request& request);
std::string encode(const drained_request& request);

/// A recovery point as the town takes it: `remoteCommit`, `branchCommit`, `head.ref` and `head.commit` are null where
/// there is nothing; an empty `commit` is left out (a point that is not sealed yet has none).
std::string encode(const recovery_point& point);

std::string encode_eviction(std::string_view instance_id, std::string_view reason);

/// An agent's process as `/agents/{a}/status` and the answer of `/agents/start` show it.
std::string encode(const agent_status& status);

/// `{"success":false,"error":…,"code":…}`: what a caller gets whom the town did not answer.
std::string refusal_body(const error& why);

/// The text of `data` in the body of a successful answer, byte for byte as the town wrote it; empty where the body is
/// no success envelope.
std::string envelope_data(std::string_view body);

} // namespace townkeeper::town
