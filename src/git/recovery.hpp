#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "town/model.hpp"

/// Recovery points as plain values: taking them, pushing them, reading them, putting them on top of a branch. As in
/// jobs.hpp, each function blocks the calling thread and opens its own handles. What a point looks like in git is
/// described in docs/recovery.md.
namespace townkeeper::git {

/// Where points lie on the remote. Everything we push is below the namespace; what follows an agent's prefix is an
/// epoch, or `kept/<epoch>-<seq>`.
inline constexpr std::string_view point_namespace = "refs/townkeeper/";
std::string point_prefix(std::string_view town_id, std::string_view agent_id);
std::string point_ref(std::string_view town_id, std::string_view agent_id, std::int64_t epoch);
std::string kept_point_ref(std::string_view town_id, std::string_view agent_id, std::int64_t epoch, std::int64_t seq);
/// True for one that is never applied by itself.
bool is_kept_point(std::string_view ref) noexcept;

struct recovery_limits {
  std::int64_t file_bytes = std::int64_t{95} * 1024 * 1024;    ///< a larger file is left out, and listed
  std::int64_t point_bytes = std::int64_t{1024} * 1024 * 1024; ///< of new content in one point
  std::int64_t untracked_files = 20'000;
  std::vector<std::string> include; ///< patterns (gitignore(5)) of ignored files to save all the same
};

// -- taking -----------------------------------------------------------------------------------------------------------

/// What a snapshot has just done. `reading`: a file is open, and its size is known.
enum class snapshot_step { head_read, index_read, walked, reading, files_read, checked };

struct snapshot_job {
  std::string rig_id, agent_id;
  std::filesystem::path repository, worktree; ///< as in worktree_job
  std::string branch;                         ///< the agent's, as the desired state has it
  std::string identity;                       ///< author and committer: "Name <email>", or a name
  std::set<std::string> agent_branches;       ///< of all agents of the rig: the other local branches belong to the rig
  recovery_limits limits;
  bool without_untracked = false; ///< the remote refused the content: the untracked files are left out, and listed
  /// Called on the calling thread after each step, so that a test can change the worktree at exactly that moment.
  std::function<void(snapshot_step)> observe;
  cancel_flag cancel;
};

/// One moment of a worktree, as objects in the agent's private store; not on any remote yet, and not yet a point (what
/// the remote has is still unknown). Immutable.
struct snapshot {
  std::string agent_id, branch, identity;
  std::filesystem::path repository;
  std::string stash_commit;                 ///< W, in the layout of `git stash create -u`; hex
  std::optional<std::string> branch_commit; ///< tip of the local branch `branch`
  town::recovery_point::head_state head;
  town::recovery_point::file_counts files;
  bool uncommitted = false; ///< anything in index, files or operation that HEAD's commit lacks
  /// Something that was not on the remote when it was last fetched from. May be true without need.
  bool holds_work = true;
  std::string extras_tree; ///< of what a stash cannot carry, without meta.json; hex
  std::map<std::string, std::string>
      operation_ids; ///< commits named by ORIG_HEAD, MERGE_HEAD, rebase files, …: why → id
  std::map<std::string, std::string> rig_refs; ///< full name → id of local branches no agent owns, and tags
  std::vector<std::string> stash;              ///< commits of the stash list, newest first
  std::vector<town::left_out_file> left_out;
  std::string fingerprint; ///< of all of it: equal fingerprints, equal moments
};

/// Takes one, through a private in-memory index seeded from the agent's own: unchanged files cost a stat. Touches
/// neither branch, HEAD, index nor files, runs no hook or filter program, takes no lock an agent needs. Files that
/// vanish or change while they are read are read again; what cannot be read is left out with its reason. One at a time
/// per agent. Errors: `unsupported` (split or sparse index), `corrupt`, `disk`, `cancelled`, `not_found` (no worktree).
result<snapshot> take_snapshot(const snapshot_job& job);

// -- pushing ----------------------------------------------------------------------------------------------------------

/// What a point says of itself; everything else follows from the snapshot and the remote's advertisement.
struct push_item {
  snapshot taken;
  std::string ref;            ///< refs/townkeeper/<town>/<agent>/<epoch>, or …/kept/<epoch>-<seq>
  std::string kind;           ///< auto, drain or manual
  bool even_if_clean = false; ///< false: a clean moment whose ref is not on the remote makes no point
  /// Of a worktree that was not restored at this wake: where its point goes unless the disk is certainly at or after
  /// every point of the agent, `recorded` (what the town knows) among them. Empty: it goes to `ref` in any case.
  std::string kept_ref = {};
  std::optional<town::recovery_point> recorded = {};
  /// Set by any thread once a later moment of the agent is being pushed through another connection: this one is not
  /// sent any more (`conflict`), because it would be put over that. May be null.
  std::shared_ptr<const std::atomic<bool>> overtaken = {};
};

struct push_job {
  std::string rig_id;
  std::filesystem::path repository;
  std::string url;
  std::int64_t epoch = 0;
  std::shared_ptr<std::atomic<std::int64_t>> seq; ///< one counter per container; each point made takes the next
  std::string saved_at;                           ///< RFC 3339
  std::vector<push_item> items;
  /// Called on the pushing thread for each point that is about to be sent: whatever becomes of the push, the worktree
  /// is at or after this moment. May be empty.
  std::function<void(const std::string& agent_id, const town::recovery_point&)> about_to_send;
  std::optional<credentials> login;
  transfer_limits limits;
  url_policy urls;
  std::string ca_file;
  cancel_flag cancel;
};

/// Why a remote did not take one ref. `no_answer`: it had everything of the batch, and said nothing in time.
enum class refusal { none, content, other, no_answer };

struct pushed_point {
  std::string agent_id;
  /// The point as the remote acknowledged it; nothing: there was nothing to save (clean, and no ref of it there).
  result<std::optional<town::recovery_point>> point;
  refusal refused = refusal::none;
  std::int64_t sent_bytes = 0; ///< of the whole batch
};

/// One connection: reads the advertisement, seals each snapshot into a recovery point R against it, pushes all refs in
/// one batch, and gives each its own answer. A whole batch that is refused is repeated one item at a time on further
/// connections; one that is not answered in time is not. Errors (of the whole): as `fetch_session::open`. A ref counts
/// as saved only when the remote has said so.
result<std::vector<pushed_point>> push_points(const push_job& job);

struct delete_job {
  std::string rig_id;
  std::filesystem::path repository; ///< bare; any that can be opened
  std::string url;
  std::map<std::string, std::string> refs; ///< full name below refs/townkeeper/ → the commit it must still name
  std::optional<credentials> login;
  transfer_limits limits;
  url_policy urls;
  std::string ca_file;
  cancel_flag cancel;
};

/// Deletes refs of points, each only while it still names that commit. Returns those that are gone afterwards (also
/// those that were not there). Errors: as `push_points`.
result<std::set<std::string>> delete_points(const delete_job& job);

// -- what a worktree remembers ----------------------------------------------------------------------------------------

/// The last point a worktree was saved to or restored from; lies in its registration.
struct point_mark {
  std::int64_t epoch = 0, seq = 0;
  std::string commit;
};
/// Where it lies in the registration, and what it holds there.
inline constexpr const char* point_mark_file = "townkeeper-point";
inline std::string point_mark_text(const point_mark& mark) {
  return std::to_string(mark.epoch) + ' ' + std::to_string(mark.seq) + ' ' + mark.commit + '\n';
}
std::optional<point_mark> read_point_mark(const std::filesystem::path& repository, const std::string& agent_id);
result<void> write_point_mark(const std::filesystem::path& repository, const std::string& agent_id,
                              const point_mark& mark);

/// Removes from the agent's private store what neither `keep` (commits in hex) reaches: called after a push was
/// acknowledged, and cheap when little has piled up, or little since the last time (unless that is ten minutes ago). Of
/// a pack all stays or nothing.
result<void> prune_private_objects(const std::filesystem::path& repository, const std::string& agent_id,
                                   const std::vector<std::string>& keep);

/// The repository of a rig's remote `url` that a worktree (`<workspace>/rigs/<rigId>/worktrees/<agentId>`) on this disk
/// belongs to; nothing: there is no such worktree. Looks at names alone.
std::optional<std::filesystem::path> repository_of_warm_worktree(const std::filesystem::path& worktree,
                                                                 const std::string& url);

// -- finding ----------------------------------------------------------------------------------------------------------

/// Reads R's meta.json. `repository` holds R with all it reaches. Errors: `recovery_point_missing` (no such commit),
/// `corrupt` (not one of ours), `unsupported` (a later format).
result<found_recovery> read_point(const std::filesystem::path& repository, const std::string& commit,
                                  const std::string& ref);

} // namespace townkeeper::git
