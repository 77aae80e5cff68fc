#pragma once

#include <set>
#include <variant>

#include "messages/interfaces.hpp"
#include "messages/protection.hpp"

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "town/model.hpp"

/// The conversation of restoring: supervisor → rig and worktree → git executor, and back.
namespace townkeeper {

/// Restore this repository, or converge it to a spec that moved on: the branches of all its agents are wanted.
struct restore_rig {
  town::rig_spec spec;
  std::set<std::string> restored = {}; ///< agents whose worktrees are: their recovery points are not looked for again
};

/// This agent's worktree is restored: its recovery points are its keeper's from now on.
struct forget_point {
  std::string agent_id;
};

/// Tell this worktree actor, from now on, when the repository is ready or has failed.
struct attach_worktree {
  std::string agent_id;
  worktree_actor worktree;
};

/// This worktree is no longer of interest.
struct detach_worktree {
  std::string agent_id;
};

/// A worktree could not be restored from what the repository holds: check the disk and list the remote once more.
struct look_again {
  std::string agent_id;
};

/// Bring this agent's worktree to what the spec says, as soon as the repository is ready.
struct restore_worktree {
  town::agent_spec spec;
  std::string git_url; ///< the remote its rig is to be fetched from
};

/// The repository holds what the remote has; `restored.tips` says which branches those are.
struct repository_ready {
  git::repository_restored restored;
  std::set<std::string> asked_for; ///< only of these branches does `tips` say that they are missing
  std::string git_url;             ///< the remote it was fetched from
};

/// The repository cannot be had. `settled` once the first set of attempts is over; before that another attempt follows.
struct repository_failed {
  error reason;
  bool settled = false;
};

/// The agent has left the desired state: remove its worktree if nothing in it is unsaved, then end.
struct retire_worktree {};

/// To the supervisor: where a worktree stands after each time it settled.
struct worktree_settled {
  std::string agent_id;
  std::string git_url; ///< the remote it was restored from
  town::agent_report report;
  std::filesystem::path repository;            ///< the bare one; empty where it failed
  std::optional<town::recovery_point> applied; ///< what it was built upon, and a new point may take the place of
};

/// To the supervisor: a retired worktree was removed, or kept for a stated reason.
struct worktree_retired {
  std::string agent_id;
  git::worktree_removal removal;
};

/// A git job and who gets its result. One job runs per key; a newer one cancels the older.
struct repository_request {
  git::repository_job job;
  rig_actor asker;
};
struct worktree_request {
  std::string rig_id; ///< jobs of different rigs take turns
  git::worktree_job job;
  bool remove = false;
  worktree_actor asker;
};

/// Results, each sent once per request, also after a deadline or a cancellation.
struct repository_result {
  std::string rig_id;
  result<git::repository_restored> outcome;
  std::int64_t received_bytes = 0; ///< also of an attempt that failed
};
struct worktree_result {
  std::string agent_id;
  result<git::worktree_restored> outcome;
};
struct removal_result {
  std::string agent_id;
  result<git::worktree_removal> outcome;
};

/// Who may have this rig's git credentials; `refresh` after the remote refused the cached ones.
struct git_credentials_query {
  std::string rig_id;
  bool refresh = false;
};
struct git_credentials_answer {
  result<std::optional<git::credentials>> login; ///< nothing: the rig needs none
  std::optional<std::int64_t> expires_in_ms;     ///< until the town's `expiresAt`, when it said one
  std::string git_url{}; ///< of the rig, where its actor answers: the one remote this login may be told for
};

/// From a worker to its executor: job `id` has ended; the result goes to the asker.
struct job_finished {
  std::uint64_t id = 0;
  std::variant<repository_result, worktree_result, removal_result, snapshot_result, push_result, delete_result,
               prune_result>
      outcome;
};

/// The executor's own clock: job `id` should have ended by now.
struct job_overdue {
  std::uint64_t id = 0;
};

/// The executor's own clock: if no job was begun since `last_id`, it is at rest.
struct rest_due {
  std::uint64_t last_id = 0;
};

/// The supervisor's own clock: the backoff of a crashed child is over.
struct child_restart_due {
  std::string key; ///< "rig/<rigId>", "worktree/<agentId>" or "agent/<agentId>"
  std::uint64_t generation = 0;
};

/// A timer of the receiver's own; one that a later event made stale carries an old generation and is ignored.
struct retry_due {
  std::uint64_t generation = 0;
};

} // namespace townkeeper
