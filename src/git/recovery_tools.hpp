#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "town/model.hpp"

/// What a person does with recovery points, in any clone of the repository: no daemon, no town, no configuration of
/// ours. The remote is spoken to by the user's own `git` program, with the user's own credentials, helpers and proxies;
/// the rest is done here. Each function blocks the calling thread. `initialise_library` comes first.
namespace townkeeper::git {

/// A clone (bare, or any directory of its worktree), and the remote whose points are meant.
struct clone_location {
  std::filesystem::path directory = ".";
  std::string remote = "origin"; ///< a remote's name or a URL, as `git fetch` takes it
};

/// One ref below refs/townkeeper/ on the remote.
struct listed_point {
  std::string ref, commit;
  std::string town_id, agent_id;
  bool kept = false; ///< refs/townkeeper/<town>/<agent>/kept/<epoch>-<seq>: never applied by itself
  std::int64_t epoch = 0;
  /// What the point says of itself; nothing until its objects are in the clone (`fetch` below, or `git fetch`).
  std::optional<found_recovery> details;
};

/// The points the remote advertises, by town, agent and age; of `agent_id` alone unless it is empty. `fetch`: their
/// objects are fetched too, into refs of the same names. Errors: `not_found` (no repository, no git program),
/// `unavailable` with what git said.
result<std::vector<listed_point>> list_points(const clone_location& clone, const std::string& agent_id = {},
                                              bool fetch = false);

/// A point is named by its full ref, by its commit (40 hexadecimal digits), or by an agent id: that agent's greatest
/// (epoch, seq). What is not in the clone is fetched. The errors of all three besides their own: those of
/// `list_points`, `recovery_point_missing` (neither here nor on the remote), `corrupt`, `unsupported`.
struct shown_point {
  found_recovery found;
  std::string identity;               ///< who the agent was; empty: not said
  std::vector<std::string> staged;    ///< paths in which the index differs from HEAD
  std::vector<std::string> modified;  ///< … the files from the index
  std::vector<std::string> deleted;   ///< in the index, and not in the worktree
  std::vector<std::string> untracked; ///< in the worktree alone
  std::vector<std::string> conflicted;
  std::vector<std::string> operation; ///< files of an operation in progress, as the admin directory has them
};
result<shown_point> show_point(const clone_location& clone, const std::string& point);

struct point_applied {
  found_recovery found;
  std::string head;                  ///< what HEAD is now: a branch, or a commit when detached
  std::int64_t files = 0;            ///< paths the point brought: staged, modified, deleted or untracked
  std::vector<std::string> reported; ///< what differs from how it was, one sentence each
};
/// Makes the worktree at `clone.directory` what the point says: files, index with stages and flags, HEAD, operation in
/// progress. Nothing is committed, nothing is pushed. A branch of this clone moves forward at most; where it stands
/// elsewhere HEAD is detached, and said so. Errors besides: `dirty` (anything uncommitted or untracked here, or an
/// ignored file in the way: named, nothing was touched), `conflict` (a lock, a branch in use by another worktree),
/// `invalid_argument` (a bare repository), `disk`.
result<point_applied> apply_point(const clone_location& clone, const std::string& point);

struct point_exported {
  found_recovery found;
  std::filesystem::path bundle; ///< `<directory>/point.bundle`: for `git fetch <bundle> <ref>` anywhere
  std::filesystem::path files;  ///< `<directory>/files`: every file as it was, tracked or not
  std::int64_t file_count = 0;
  std::vector<std::string> reported;
};
/// Writes the point to a new directory. Errors besides: `conflict` (the directory exists), `disk`.
result<point_exported> export_point(const clone_location& clone, const std::string& point,
                                    const std::filesystem::path& directory);

/// Deletes refs of points on the remote, each (full name → commit) only while it still names that commit: an operator's
/// act. Returns those that are gone afterwards. Errors: those of `list_points`; `invalid_argument` for a ref that is
/// not below refs/townkeeper/ (nothing was touched).
result<std::set<std::string>> drop_refs(const clone_location& clone, const std::map<std::string, std::string>& refs);

} // namespace townkeeper::git
