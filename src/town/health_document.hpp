#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "town/model.hpp"

/// The health document of CONTRACT.md as values; `encode` makes the JSON that `/health` answers and `/restore-progress`
/// carries.
namespace townkeeper::town {

enum class town_phase { booting, reading_state, restoring, ready, degraded, draining, drained, fenced };
enum class rig_phase { waiting, checking, fetching, ready, retrying, failed };
enum class agent_phase { waiting, branch, files, recovery, verifying, done, retrying };

std::string_view to_string(town_phase p) noexcept;
std::string_view to_string(rig_phase p) noexcept;
std::string_view to_string(agent_phase p) noexcept;

struct agent_health {
  std::string agent_id;
  std::string branch;
  agent_phase phase = agent_phase::waiting;
  std::optional<std::string> commit;
  std::int64_t files_done = 0;
  std::int64_t files_total = 0;
  std::optional<agent_outcome> outcome; ///< absent until settled, then the last settled one even while retrying
  std::optional<std::string> code;
  std::optional<error> failure;
};

struct rig_health {
  std::string rig_id;
  rig_phase phase = rig_phase::waiting;
  std::int64_t received_bytes = 0;
  std::int64_t received_objects = 0;
  std::int64_t total_objects = 0;
  std::int64_t attempts = 0;
  std::int64_t elapsed_ms = 0;
  std::optional<error> failure;
  std::vector<agent_health> agents;
};

/// One agent process, as the part of the document that Gastown's clients read.
struct agent_process_health {
  std::string agent_id, rig_id;
  std::string status; ///< starting, running, exited or failed
  std::optional<int> pid;
  std::string started_at;
};

/// How far one agent's work is off the machine.
struct agent_protection_health {
  std::string agent_id;
  std::string last_saved_at;    ///< empty: nothing was saved yet
  std::int64_t dirty_files = 0; ///< in the last moment that was looked at
  std::optional<error> failure; ///< why it is not saved, or what of it is not
};

struct health_document {
  town_phase phase = town_phase::booting;
  std::int64_t epoch = 0;
  std::string instance_id;
  std::string started_at;
  std::optional<std::string> ready_at;
  double progress = 0; ///< 0..1, never falls within one boot
  std::vector<rig_health> rigs;
  std::vector<set_aside_entry> set_aside;
  std::vector<agent_process_health> processes;
  std::optional<error> trouble;   ///< what keeps the daemon from going on (town unreachable, token refused)
  double unsaved_age_seconds = 0; ///< of the oldest change of any agent that is not on a remote
  std::vector<agent_protection_health> protection;
  double uptime_seconds = 0;
  bool draining = false;
};

/// The document as JSON, with G's `status, agents, servers, uptime, draining` and our `recovery` part.
std::string encode(const health_document& doc);

} // namespace townkeeper::town
