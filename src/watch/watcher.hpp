#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/error.hpp"

/// Says when anything of a worktree may have changed, by inotify: its files (without ignored directories), its admin
/// directory (index, HEAD, an operation in progress) and the refs of its repository. Knows no libgit2: what is ignored
/// is asked of the caller (`git::ignore_rules` has git's answer).
namespace townkeeper::watch {

/// What may have changed since the event before. At most one per `watch_hub_options::interval` and worktree, the first
/// at once; none when nothing happens.
struct watch_event {
  bool refs = false;    ///< a local branch no agent owns, a tag or a stash: a change of every agent of the rig
  bool started = false; ///< the watches stand now (once): what happened before was not seen, so look once
  /// The watches do not see everything any more (no room in the kernel, no descriptors, the directory itself is gone),
  /// and why: poll from now on. Said once; a new `watch` tries again.
  std::optional<error> lost;
};

/// Runs on the hub's thread and must not block. May come before `watch` has returned.
using watch_callback = std::function<void(const watch_event&)>;

/// Which directories of a worktree are not looked into. Both are called on the hub's thread only; empty: none.
struct ignored_directories {
  /// `directory` is relative to the worktree, in bytes, without a slash at its end. Asked only where no directory above
  /// it is ignored. False as well where something below it is tracked.
  std::function<bool(const std::string& directory)> is_ignored;
  /// A .gitignore, the repository's info/exclude or the index is not what it was: the next question is asked afresh.
  std::function<void()> reload;
};

struct watch_request {
  std::filesystem::path worktree, repository; ///< absolute; `repository` is the bare one
  std::string agent_id;                       ///< names the admin directory `<repository>/worktrees/<agent_id>`
  /// The agent's own branch: a change of it is this worktree's alone (`refs` stays false).
  std::string branch;
  /// Of all agents of the rig: changes of the others' branches are not this worktree's.
  std::set<std::string> agent_branches;
  ignored_directories ignored;
};

/// Keeps one worktree watched. When its destructor has returned no callback runs any more (it waits for one that runs,
/// unless called from there, so hold no lock that the callback takes). May outlive the hub.
class watch_handle {
public:
  watch_handle() = default;
  /// `stop` runs once, when the handle goes. A fake of a test gives its own.
  explicit watch_handle(std::function<void()> stop)
      : stop_(std::move(stop)) {}
  watch_handle(watch_handle&& other) noexcept
      : stop_(std::exchange(other.stop_, nullptr)) {}
  watch_handle& operator=(watch_handle&& other) noexcept {
    if (this != &other) {
      reset();
      stop_ = std::exchange(other.stop_, nullptr);
    }
    return *this;
  }
  ~watch_handle() { reset(); }

  explicit operator bool() const noexcept { return static_cast<bool>(stop_); }
  void reset() noexcept {
    if (auto stop = std::exchange(stop_, nullptr)) stop();
  }

private:
  std::function<void()> stop_;
};

/// What a keeper is given: `watch_hub::watch`, or the fake of a test.
using watch_factory = std::function<result<watch_handle>(watch_request, watch_callback)>;

struct watch_hub_options {
  std::chrono::milliseconds interval{200}; ///< between two events of one worktree
  /// Of directories in all, below the kernel's own limit (fs.inotify.max_user_watches).
  std::size_t max_watches = std::numeric_limits<std::size_t>::max();
  /// Asked on the hub's thread; a test gives its own.
  std::function<std::chrono::steady_clock::time_point()> now = &std::chrono::steady_clock::now;
};

struct watch_statistics {
  std::size_t watches = 0;      ///< directories watched now
  std::uint64_t events = 0;     ///< read from the kernel so far
  std::uint64_t overflows = 0;  ///< of the kernel's queue: everything was walked again
  std::uint64_t unreadable = 0; ///< directories skipped for want of permission (each time they were met)
};

/// One inotify instance and one thread for any number of worktrees. Thread-safe.
class watch_hub {
public:
  /// Errors: `unavailable` when there are no descriptors for the thread. A kernel without room for an inotify instance
  /// is none: each `watch` is then told `lost`.
  static result<std::unique_ptr<watch_hub>> create(watch_hub_options options = {});
  watch_hub(const watch_hub&) = delete;
  watch_hub& operator=(const watch_hub&) = delete;
  /// Stops and joins. Not to be called on the hub's thread.
  ~watch_hub();

  /// Begins to watch, without waiting; `started` says when the watches stand. The same worktree may be watched twice;
  /// the later `ignored` then counts for both. Errors: `invalid_argument` (a path that is not absolute, no agent id).
  result<watch_handle> watch(watch_request request, watch_callback callback);

  watch_statistics statistics() const;

private:
  class core;
  explicit watch_hub(std::shared_ptr<core> c);
  std::shared_ptr<core> core_;
};

} // namespace townkeeper::watch
