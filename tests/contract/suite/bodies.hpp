#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Valid bodies of the contract, complete and as small as they can be; `with` and `without` (json.hpp) change them.
namespace townkeeper::contract {

inline const std::string commit_a(40, 'a');
inline const std::string commit_b(40, 'b');
inline const std::string commit_c(40, 'c');

inline const std::string control_token = "control-token-0123456789";

std::string rig_body(const std::string& git_url = "https://git.example/rig.git");

/// A pending polecat on branch `gt/<agent>`, priority 0.
std::string agent_body(const std::string& agent);
std::string agent_body(const std::string& agent, const std::string& status);
std::string agent_body(const std::string& agent, int priority);

/// `control_url` empty: without one.
std::string boot_body(const std::string& instance, const std::string& control_url = "");

/// An AgentReport on branch `gt/<agent>`.
std::string report(const std::string& agent, const std::string& outcome);

std::string ready_body(const std::string& instance, const std::string& outcome,
                       const std::vector<std::string>& reports = {});

/// A RecoveryPoint of branch `gt/<agent>` under the ref of its epoch.
std::string point(const std::string& town, const std::string& agent, std::int64_t epoch, std::int64_t seq,
                  const std::string& commit = commit_a);

/// An entry of a container-heartbeat.
std::string heartbeat_body(const std::string& instance, const std::string& agent, double unsaved_age_seconds);

/// One entry, `saved` or not.
std::string drained_body(const std::string& instance, const std::string& agent, bool saved);

} // namespace townkeeper::contract
