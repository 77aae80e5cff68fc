#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace townkeeper::metrics {

/// Every number the daemon exports on `/metrics`. All members are thread-safe; names follow the Prometheus conventions
/// (base units, `_total` for counters).
class daemon_metrics {
public:
  explicit daemon_metrics(std::string_view version);
  ~daemon_metrics();
  daemon_metrics(const daemon_metrics&) = delete;
  daemon_metrics& operator=(const daemon_metrics&) = delete;

  /// How long a phase of the first restore took: "boot" (until the town answered), "repositories", "worktrees",
  /// "total".
  void restore_took(std::string_view phase, double seconds);
  /// How many rigs (agents) are in a phase or outcome now. Say every known state, also with 0: a series begins with its
  /// first word and stays.
  void set_rigs(std::string_view state, std::int64_t count);
  void set_agents(std::string_view state, std::int64_t count);
  void add_fetched_bytes(std::int64_t bytes);
  /// A child actor ("rig", "worktree", "agent", "keeper", "saver") crashed and was started again.
  void actor_restarted(std::string_view kind);
  /// A request to the town ended: "ok", the stable word of an error code, or "fenced".
  void town_request(std::string_view result);
  void set_ready(bool ready);
  /// Age of the oldest change that is not off the machine; 0: all is saved.
  void set_unsaved_age(double seconds);
  /// A remote acknowledged a point: sets the timestamp of the last one to now.
  void point_saved();
  /// One agent's save ended: "saved", "unchanged", "clean" (there was nothing to save), or the stable word of an error
  /// code.
  void save_ended(std::string_view result);
  void snapshot_took(double seconds);
  void push_took(double seconds);
  void add_pushed_bytes(std::int64_t bytes);

  /// The Prometheus text exposition format, version 0.0.4.
  std::string text() const;

private:
  struct families;
  std::unique_ptr<families> families_;
};

} // namespace townkeeper::metrics
