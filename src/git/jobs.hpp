#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/secret.hpp"
#include "town/model.hpp"

/// What the git layer can be asked to do, as plain values: no libgit2 type is seen above src/git. Each function here
/// runs on the calling thread, may block for as long as its limits say, opens its own handles, and may run beside any
/// other (one at a time per repository for `restore_repository`; one at a time per worktree for the others; worktrees
/// of one repository side by side).
namespace townkeeper::git {

/// Set by whoever no longer wants the job; looked at between files, packets and phases (within 100 ms while data
/// flows).
using cancel_flag = std::shared_ptr<std::atomic<bool>>;

struct credentials {
  std::string username; ///< "x-access-token" or what the town says
  secret token;
};

struct transfer_limits {
  std::chrono::milliseconds connect{10'000};
  std::chrono::milliseconds stall{15'000};  ///< no byte for this long ends the attempt
  std::chrono::milliseconds total{300'000}; ///< one attempt
};

/// What a remote's URL may be; checked before any file or socket is touched.
struct url_policy {
  bool allow_file = false;                   ///< `file://` and absolute paths (tests, demo)
  std::vector<std::string> allow_http_hosts; ///< plain http is for loopback, and for these hosts
};

/// Refuses everything but https, http to loopback or an allowed host, and (by policy) file: no `ext::`, no leading `-`,
/// no control characters, no userinfo, no link-local or unspecified address.
result<void> check_url(const std::string& url, const url_policy& policy);

struct transfer_progress {
  std::int64_t received_bytes = 0;
  std::int64_t received_objects = 0;
  std::int64_t total_objects = 0;
  bool fetching = false; ///< false while the disk is still being checked
};
using transfer_observer = std::function<void(const transfer_progress&)>;

/// The recovery points of one agent that are to be looked for.
struct wanted_point {
  std::string agent_id;
  std::string prefix;                           ///< refs/townkeeper/<town>/<agent>/: what follows is the epoch
  std::optional<town::recovery_point> recorded; ///< what the town knows; fetched from its own `git_url`
};

struct repository_job {
  std::string rig_id;
  std::filesystem::path directory; ///< `<workspace>/rigs/<rigId>`; the bare repository is `repo.git` below it
  std::string url;
  std::string default_branch;
  std::vector<std::string> branches; ///< what the agents want: branches and base refs, without `refs/heads/`
  std::vector<wanted_point> points;
  std::set<std::string> agent_branches; ///< the other local branches belong to the rig
  std::optional<credentials> login;
  transfer_limits limits;
  url_policy urls;
  std::string ca_file; ///< empty: the system's bundle
  cancel_flag cancel;
};

/// The greatest (epoch, seq) of an agent, among the town's record and what the remote advertises.
struct found_recovery {
  town::recovery_point point;
  std::vector<town::left_out_file> left_out;
};

struct repository_restored {
  std::filesystem::path repository; ///< absolute path of the bare repository
  std::map<std::string, std::string>
      tips;                  ///< branch → commit, for each wanted branch (and the default) that the remote has
  bool remote_empty = false; ///< the remote advertises no ref at all: defined, nothing to restore from
  std::optional<std::string>
      default_branch_gone; ///< set when the configured default branch is not on the remote: its name
  std::int64_t fetched_bytes = 0;
  std::int64_t fetched_objects = 0;
  std::vector<std::string> healed; ///< what was broken on the warm disk and mended, for the log
  /// By agent, where there is a point; an error (`recovery_point_missing`, `corrupt`, `unsupported`) where the greatest
  /// one cannot be read: nothing older is used in its place.
  std::map<std::string, result<found_recovery>> points;
  std::int64_t rig_refs_set = 0; ///< local branches, tags and stash entries brought back from the rig's greatest point
};

/// Makes `repo.git` hold the default branch and every wanted branch at the remote's tip, with full history: one fetch
/// of exact refspecs, or none when the disk already has all of it (one round trip). Heals or re-clones what is broken;
/// never removes a worktree; never writes to the remote. A wanted branch the remote lacks is absent from `tips` and
/// fails nobody else.
result<repository_restored> restore_repository(const repository_job& job, const transfer_observer& observe);

enum class worktree_step { branch, files, recovery, verifying };
struct worktree_progress {
  worktree_step step = worktree_step::branch;
  std::int64_t files_done = 0;
  std::int64_t files_total = 0;
};
using worktree_observer = std::function<void(const worktree_progress&)>;

struct worktree_job {
  std::string rig_id, agent_id;
  std::filesystem::path repository; ///< the bare repository
  std::filesystem::path worktree;   ///< `<workspace>/rigs/<rigId>/worktrees/<agentId>`, absolute
  std::string branch;
  std::optional<std::string> remote_tip; ///< the branch's commit on the remote; none: it is not there
  std::optional<std::string> base_tip;   ///< commit of baseRef (or default branch) on the remote
  std::optional<std::string> base_ref;
  bool ever_pushed =
      false; ///< headCommit or recovery is on record, or baseRef is absent: then a missing branch is `branch_missing`
  std::optional<found_recovery> point; ///< to be put on top; its objects are in the repository
  bool disk_is_kept = false; ///< what an older disk held was saved as a kept point: it may be replaced by the point
  cancel_flag cancel;
};

/// What became of the recovery point. (DESIGN: "On top of the branch".)
enum class point_outcome {
  none,    ///< there is no point
  applied, ///< everything is as it was → recovered (a clean point: restored)
  held,    ///< the branch moved on and holds everything that was in the point → restored
  kept,    ///< the branch moved otherwise: the worktree is at the branch, the point stays under its ref → diverged
  unpublished, ///< the branch is gone from the remote; everything is as it was, without upstream → diverged
  disk_newer,  ///< the disk is at or after the point, and was left alone
  disk_older,  ///< the disk holds older work that is saved nowhere: nothing was touched; save it as a kept point, then
               ///< ask again with `disk_is_kept`
};

struct worktree_restored {
  std::string commit; ///< HEAD
  std::string branch; ///< the branch HEAD is on; empty when detached
  std::int64_t files_total = 0;
  std::int64_t files_written = 0;    ///< 0: the disk had it all
  std::int64_t unpushed_commits = 0; ///< commits of HEAD that the remote's branch lacks
  bool left_dirty = false;           ///< a warm worktree with uncommitted or unpushed work: left exactly as it was
  bool created_from_base = false;    ///< the branch was never pushed and starts at base_tip
  std::vector<std::string> healed;   ///< what was mended ("index rebuilt", "registration restored")
  std::vector<std::string> reported; ///< what the agent should know ("3 paths keep LFS pointers", …)
  point_outcome recovery = point_outcome::none;
  std::int64_t applied_files = 0; ///< paths that the point brought: staged, modified, deleted or untracked
};

/// Puts one worktree of `repository` at `worktree`, on `branch`, at the remote's tip; verified: HEAD, index and files
/// agree and `git status` is clean, unless a warm worktree held work, which is left as it is. With a point: as
/// `recovery` says. Errors: `branch_missing`, `recovery_point_missing`, `corrupt`, `disk`, `dirty`, `unsupported`,
/// `cancelled`.
result<worktree_restored> restore_worktree(const worktree_job& job, const worktree_observer& observe);

struct worktree_removal {
  bool removed = false;
  std::string kept_because; ///< when not removed: what it holds ("2 modified files", "3 commits that origin lacks")
};

/// Removes a worktree and its registration when nothing in it is unsaved (clean, nothing untracked but ignored, HEAD on
/// the remote); keeps it otherwise and says why.
result<worktree_removal> remove_worktree(const worktree_job& job);

/// Once per process before any other call here, and again when the configuration changes: CA bundle, sockets, cache
/// size, ownership checks. Not thread-safe. Deadlines are each job's own (`transfer_limits`). Errors: `tls_failed` for
/// a CA file that cannot be read.
struct library_options {
  std::string ca_file; ///< of jobs that name none; empty: the system's bundle
};
result<void> initialise_library(const library_options& options);

} // namespace townkeeper::git
