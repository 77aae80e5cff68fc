#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "git/ignore_rules.hpp"
#include "git/jobs.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/temp_dir.hpp"
#include "watch/watcher.hpp"

namespace townkeeper::test {

/// Takes the events of one watch.
class event_log {
public:
  using clock = std::chrono::steady_clock;

  watch::watch_callback callback();

  std::size_t count() const;
  /// All since event `from`, as one.
  watch::watch_event since(std::size_t from) const;
  clock::time_point last_at() const;
  std::vector<clock::time_point> times() const;
  /// False when it did not happen within 20 s.
  bool wait_until(const std::function<bool(const std::vector<watch::watch_event>&)>& happened) const;
  bool wait_for_count(std::size_t count) const;

private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<watch::watch_event> events_;
  std::vector<clock::time_point> times_;
};

/// A bare repository with worktrees, made by git's command line, and a hub that watches.
///
/// Nothing here waits for time to pass: the kernel's events come in the order of what caused them, in one queue, so
/// what a watch has to say is said when a change made later in another watched directory has been told.
class watched_rig {
public:
  explicit watched_rig(watch::watch_hub_options options = {std::chrono::milliseconds(0)});

  std::filesystem::path repository() const { return dir_.path() / "repo.git"; }
  std::filesystem::path worktree(const std::string& agent = "a1") const { return dir_.path() / "worktrees" / agent; }
  std::filesystem::path admin(const std::string& agent = "a1") const { return repository() / "worktrees" / agent; }
  std::filesystem::path scratch() const { return dir_.path() / "scratch"; }
  watch::watch_hub& hub() { return *hub_; }
  void end_hub() { hub_.reset(); }

  /// Adds a worktree on a new branch `agent/<name>`.
  void add_worktree(const std::string& agent);
  watch::watch_request request(const std::string& agent = "a1", std::vector<std::string> include = {}) const;
  /// Watches, and waits until the watches stand.
  watch::watch_handle watch(event_log& log, const std::string& agent = "a1");

  /// Returns when all that was caused before has been said.
  void flush();
  /// What `log` was told of `action`; nothing: no event.
  std::optional<watch::watch_event> told(event_log& log, const std::function<void()>& action);

  std::string git(const std::vector<std::string>& arguments, const std::string& agent = "a1") const {
    return run_git(worktree(agent), arguments);
  }
  void write(const std::filesystem::path& path, std::string_view content, const std::string& agent = "a1") const;

private:
  temp_dir dir_{"watch"};
  std::unique_ptr<watch::watch_hub> hub_;
  event_log sentinel_;
  watch::watch_handle sentinel_handle_;
  int flushes_ = 0;
};

/// Writes the whole file.
void write_file(const std::filesystem::path& path, std::string_view content);

} // namespace townkeeper::test
