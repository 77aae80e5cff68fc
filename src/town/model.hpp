#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"

/// The shapes of the Town contract as plain values. Field names follow the wire (camelCase there, snake_case here); an
/// optional is a field that may be absent or null. No value here is secret.
namespace townkeeper::town {

struct checkpoint_mark {
  std::int64_t seq = 0;
  std::string saved_at;
  friend bool operator==(const checkpoint_mark&, const checkpoint_mark&) = default;
};

struct recovery_point {
  struct head_state {
    std::optional<std::string> ref;    ///< null: detached
    std::optional<std::string> commit; ///< null: unborn
    friend bool operator==(const head_state&, const head_state&) = default;
  };
  struct file_counts {
    std::int64_t staged = 0, modified = 0, untracked = 0, left_out = 0;
    friend bool operator==(const file_counts&, const file_counts&) = default;
  };
  std::int64_t epoch = 0;
  std::int64_t seq = 0;
  std::string ref;
  std::string commit;
  std::string git_url;
  std::string branch;
  std::optional<std::string> remote_commit; ///< the branch on the remote when the point was taken
  std::optional<std::string> branch_commit; ///< its local tip
  head_state head;
  bool clean = false;
  std::string saved_at;
  std::string kind; ///< auto, drain or manual
  file_counts files;
  friend bool operator==(const recovery_point&, const recovery_point&) = default;
};

struct bead {
  std::string bead_id, title, body, status;
  friend bool operator==(const bead&, const bead&) = default;
};

struct agent_spec {
  std::string agent_id;
  std::string name;
  std::string role;     ///< polecat, refinery, mayor or triage
  std::string identity; ///< "Name <email>", or a name
  std::string status;   ///< the town's word for it: pending, restoring, working, stalled
  std::string branch;
  std::optional<std::string> base_ref;
  std::optional<std::string> head_commit; ///< present: the branch was pushed once
  std::optional<bead> hooked_bead;
  std::int64_t priority = 0;
  std::optional<checkpoint_mark> checkpoint;
  std::optional<recovery_point> recovery;
  std::vector<recovery_point> kept;
  std::optional<double> maybe_lost_seconds;
  friend bool operator==(const agent_spec&, const agent_spec&) = default;
};

struct rig_spec {
  std::string rig_id;
  std::string name;
  std::string git_url;
  std::string default_branch;
  std::vector<agent_spec> agents;
  friend bool operator==(const rig_spec&, const rig_spec&) = default;
};

struct predecessor {
  std::int64_t epoch = 0;
  bool draining = false;
  std::string since;
  friend bool operator==(const predecessor&, const predecessor&) = default;
};

/// An entry of the desired state that could not be taken as it is: set aside with its reason, the others go on.
struct set_aside_entry {
  std::string rig_id;   ///< empty when not even the rig's id could be read
  std::string agent_id; ///< empty when the whole rig was set aside
  std::string reason;
  friend bool operator==(const set_aside_entry&, const set_aside_entry&) = default;
};

struct desired_state {
  std::int64_t version = 0;
  std::int64_t epoch = 0;
  std::optional<predecessor> old_container;
  std::vector<rig_spec> rigs;
  std::vector<set_aside_entry> set_aside;
  friend bool operator==(const desired_state&, const desired_state&) = default;
};

struct boot_request {
  std::string instance_id, version, started_at;
  bool warm_disk = false;
  std::optional<std::string> control_url;
  // The control token travels beside this struct, as a secret.
};

struct boot_answer {
  std::int64_t epoch = 0;
  desired_state desired;
};

enum class rig_outcome { restoring, ready, failed };
enum class agent_outcome { restoring, restored, recovered, diverged, branch_missing, failed };

std::string_view to_string(rig_outcome o) noexcept;
std::string_view to_string(agent_outcome o) noexcept;

/// True for the outcomes in which an agent has a verified worktree and can work.
inline bool is_restored(agent_outcome o) noexcept {
  return o == agent_outcome::restored || o == agent_outcome::recovered || o == agent_outcome::diverged;
}

struct left_out_file {
  std::string path, reason;
  friend bool operator==(const left_out_file&, const left_out_file&) = default;
};

struct rig_report {
  std::string rig_id;
  rig_outcome outcome = rig_outcome::restoring;
  std::optional<std::string> commit;
  std::int64_t fetched_bytes = 0;
  std::int64_t duration_ms = 0;
  std::int64_t attempts = 0;
  std::optional<error> failure;
  friend bool operator==(const rig_report&, const rig_report&) = default;
};

struct applied_recovery {
  std::string ref, commit;
  bool applied = false;
  friend bool operator==(const applied_recovery&, const applied_recovery&) = default;
};

struct agent_report {
  std::string agent_id;
  agent_outcome outcome = agent_outcome::restoring;
  std::optional<std::string> code; ///< a stable word when the outcome alone does not say why
  std::string branch;
  std::optional<std::string> commit;
  std::optional<std::string> worktree; ///< absolute path
  std::optional<applied_recovery> recovery;
  std::int64_t unpushed_commits = 0;
  std::int64_t applied_files = 0;
  std::vector<left_out_file> left_out;
  std::optional<double> maybe_lost_seconds;
  std::string note; ///< one paragraph the agent can act on
  std::int64_t duration_ms = 0;
  std::optional<error> failure;
  friend bool operator==(const agent_report&, const agent_report&) = default;
};

struct ready_report {
  std::optional<std::string> nonce;
  std::optional<std::int64_t> number; ///< of this instance's reports, from 1: what comes late is known by it
  std::string instance_id;
  std::int64_t desired_version = 0;
  std::string outcome; ///< partial, ready or degraded
  std::int64_t duration_ms = 0;
  std::vector<rig_report> rigs;
  std::vector<agent_report> agents;
};

struct ready_answer {
  bool cleared = false;
  std::int64_t pending = 0;
  std::int64_t desired_version = 0;
};

struct agent_heartbeat {
  std::string agent_id, status;
  std::string last_activity_at;              ///< empty: not known
  std::optional<double> unsaved_age_seconds; ///< absent: nobody watches the worktree
};

struct heartbeat_request {
  std::string instance_id;
  std::vector<agent_heartbeat> agents;
};

struct heartbeat_answer {
  std::int64_t desired_version = 0;
  std::optional<std::string> drain_nonce;
};

/// How one agent's process ended.
struct completed_request {
  std::string status; ///< completed or failed
  std::optional<std::string> reason;
  std::optional<std::string> dispatch_id;
  std::optional<int> exit_code;
  std::optional<int> signal;
};

/// What became of one agent's work when the container ended.
struct drained_agent {
  std::string agent_id;
  bool saved = false;
  std::optional<std::string> ref, commit;
  std::optional<error> failure;
};

/// The last word before exit. An agent that is not named counts as saved.
struct drained_request {
  std::string instance_id;
  std::vector<drained_agent> agents;
};

/// `POST /agents/start` of the control server.
struct start_request {
  std::string agent_id, rig_id, town_id, role, name, identity, prompt, model;
  std::optional<std::string> system_prompt;
  std::string git_url, branch, default_branch;
  std::vector<std::pair<std::string, std::string>> env_vars;
  std::optional<std::string> start_point;
  std::optional<std::string> dispatch_id;
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

} // namespace townkeeper::town
