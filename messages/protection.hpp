#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "messages/interfaces.hpp"

#include "core/error.hpp"
#include "git/recovery.hpp"
#include "town/model.hpp"

/// Saving what the agents do: keeper (one worktree) → saver (one rig) → git executor → remote → town link, and back.
namespace townkeeper {

/// To a keeper: from now on this worktree is yours to watch and to save. Again when the spec moved on.
struct protect {
  town::agent_spec spec;
  std::string git_url;
  std::filesystem::path repository, worktree;
  std::set<std::string> agent_branches{}; ///< of all agents of the rig: the others' are not this worktree's to watch
  /// The point that was put on top at this wake: saved at once under our own epoch, changed or not; afterwards the old
  /// ref goes, when the town knows the new one.
  std::optional<town::recovery_point> applied;
  /// There is a point that was not put on top: ours is to be the greatest from now on, so save at once, changed or not.
  bool supersede = false;
  /// An older container may still push a point of this agent: ours is to be the greatest, so the first save makes one,
  /// changed or not.
  bool claim = false;
};

/// To a keeper: the process of this agent ended or goes; nothing is watched any more when what is there is saved.
struct stop_protecting {};

/// From the watcher: something in tree, admin directory or refs is not what it was. At most a few a second.
struct worktree_changed {
  bool refs = false;         ///< a branch, tag or stash of the rig: a change of every agent of it
  bool watches_lost = false; ///< the kernel has no room: look by polling from now on
};

/// To a keeper: save what there is, now. Answered when the remote has acknowledged it, or why not.
struct save_now {
  std::string kind;                           ///< drain or manual
  std::chrono::milliseconds deadline{10'000}; ///< answered by then whatever happens
};
struct save_answer {
  std::string agent_id;
  /// The newest point on the remote; nothing: there was never anything to save. An error: something is unsaved, and
  /// why.
  result<std::optional<town::recovery_point>> point;
};

/// To a saver: this agent has something unsaved (or had, and is clean again). `urgent`: do not wait for the interval.
struct save_wanted {
  std::string agent_id;
  git::snapshot_job job; ///< how its snapshot is to be taken
  std::string kind;      ///< auto, drain or manual
  bool urgent = false;
  /// Something is unsaved, but not for long enough to begin a round for it: it goes along with one that begins.
  bool offered = false;
  bool even_if_clean = false;
  bool claim = false;       ///< likewise; a remote that refuses a point without work leaves nothing unsaved
  std::uint64_t ticket = 0; ///< the keeper's own, growing; comes back with save_begun
  /// Refs that the new point replaces → the commits they must still name: deleted when the town has recorded the point.
  std::map<std::string, std::string> replaces;
  keeper_actor keeper; ///< hears save_begun when its snapshot is being taken, and save_done
};

/// To a keeper: changes from now on are not in the snapshot that is being taken.
struct save_begun {
  std::uint64_t round = 0;  ///< grows from one to the next
  std::uint64_t ticket = 0; ///< of the newest save_wanted that this answers
};
struct save_done {
  std::uint64_t round = 0;
  result<std::optional<town::recovery_point>> point; ///< nothing: clean, and no ref of it on the remote
  bool unchanged = false;                            ///< the moment equals the one that was saved last
  std::vector<town::left_out_file> left_out;
  std::optional<town::recovery_point::file_counts> files; ///< of the snapshot, where one could be taken
};

/// To a saver: save what this worktree, which is not restored, holds. As a kept point, never to be applied by itself
/// (the town is told before the answer comes): asked by a worktree actor that finds older work on a warm disk. Or, in a
/// drain, as the agent's own point where that replaces nothing newer.
struct keep_disk {
  git::snapshot_job job;
  bool only_work = false;                         ///< no point is made where it holds nothing that is nowhere else
  bool may_be_newest = false;                     ///< the agent's own point, where the disk is not older than any
  std::optional<town::recovery_point> recorded{}; ///< the agent's point as the town knows it
};
struct keep_disk_answer {
  result<std::optional<town::recovery_point>> point; ///< nothing (with `only_work` alone): it holds no work
};

/// To a saver: these old refs may go, as far as they still name these commits. Not waited for.
struct delete_refs {
  std::map<std::string, std::string> refs;
};

/// To a saver: the rig's remote, and which branches its agents own.
struct protect_rig {
  town::rig_spec spec;
  std::filesystem::path repository;
};

/// To the town link: a point has reached the remote. Answered when the town has recorded it (or listed it in `kept`,
/// when this container is fenced), or has refused it for good.
struct report_point {
  std::string rig_id, agent_id;
  town::recovery_point point;
  bool kept = false; ///< a point for a person to look at: POST …/kept
};
struct point_reported {
  result<void> recorded;
  bool kept = false; ///< it is only listed as kept, and is not what the agent's next container begins with
};

/// To the town link: what became of every agent's work; the last word. Tried for `limit` in all.
struct report_drained {
  town::drained_request body; ///< the instance is added by the town link
  std::chrono::milliseconds limit{5'000};
};
struct drained_reported {
  result<void> recorded;
};

/// To health: where the protection of one worktree stands.
struct protection_changed {
  std::string agent_id;
  /// Since when something is not off the machine, on the actor clock; nothing: all is saved.
  std::optional<std::chrono::steady_clock::time_point> unsaved_since;
  std::string last_saved_at;
  std::int64_t dirty_files = 0;
  std::optional<error> failure;
  bool gone = false;
};

/// Executor jobs on the lanes `snapshot` and `push`. `round` is the asker's own and comes back with the result.
struct snapshot_request {
  std::string rig_id;
  git::snapshot_job job;
  std::uint64_t round = 0;
  saver_actor asker;
};
struct snapshot_result {
  std::string agent_id;
  std::uint64_t round = 0;
  result<git::snapshot> outcome;
  std::chrono::milliseconds took{0};
};
struct push_request {
  git::push_job job;
  std::uint64_t round = 0;
  saver_actor asker;
};
struct push_result {
  std::string rig_id;
  std::uint64_t round = 0;
  result<std::vector<git::pushed_point>> outcome;
  std::chrono::milliseconds took{0};
};
struct delete_request {
  git::delete_job job;
  saver_actor asker;
};
struct delete_result {
  std::string rig_id;
  result<std::set<std::string>> outcome;
};

/// Tidies an agent's private object store (never beside a snapshot of that agent); nobody is answered.
struct prune_request {
  std::string rig_id, agent_id;
  std::filesystem::path repository;
  std::vector<std::string> keep; ///< commits
};
struct prune_result {
  std::string agent_id;
  result<void> outcome;
};

/// A timer of the receiver's own.
struct save_due {
  std::uint64_t generation = 0;
};

} // namespace townkeeper
