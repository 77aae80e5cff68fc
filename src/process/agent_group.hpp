#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "process/child_start.hpp"
#include "process/process_table.hpp"
#include "process/rotated_log.hpp"

namespace townkeeper {

/// One process of an agent and all it started, from fork to the last of them. Owned by the reaper; on its thread only.
///
/// The leader stays a zombie until nothing of the group lives: as long as it does, the kernel gives neither its pid nor
/// its group's number away, and every signal sent to them reaches this group or nobody.
class agent_group {
public:
  using clock = std::chrono::steady_clock;

  /// Starts the child and writes its record down before it goes on to its program. On an error nothing is left.
  static result<agent_group> start(const process_launch& launch, child_program program,
                                   const std::filesystem::path& records_directory, rotated_log log);

  int pid() const noexcept { return child_.pid; }
  int leader_fd() const noexcept { return leader_.get(); }         ///< readable once the leader ended
  int output_fd() const noexcept { return output_.get(); }         ///< -1 after its end
  int control_fd() const noexcept { return child_.control.get(); } ///< -1 once it is known whether the program runs

  // -- its start --------------------------------------------------------------

  /// Reads the control socket. True once it is known whether the program runs.
  bool take_start();
  bool is_starting() const noexcept { return static_cast<bool>(child_.control); }
  /// Why it does not run; the child then ends by itself.
  const std::optional<error>& start_failure() const noexcept { return start_failure_; }

  // -- its output -------------------------------------------------------------

  /// Moves what is there, at most one chunk, to the log. True where there was output.
  bool take_output();

  // -- its end ----------------------------------------------------------------

  /// Takes note of the leader's end, if it ended; the leader is not reaped.
  void look_at_leader();
  bool leader_ended() const noexcept { return leader_end_.has_value(); }

  /// SIGTERM soon, SIGKILL after `grace` from `now`, or when it was due before.
  void stop(clock::time_point now, std::chrono::milliseconds grace);
  /// SIGKILL soon, no SIGTERM.
  void kill(clock::time_point now);
  bool is_ending() const noexcept { return leader_ended() || kill_at_; }
  /// When `press` has something to do again after it looked at `looked_at`: while only the leader is waited for, not
  /// before SIGKILL is due; then every `interval`.
  clock::time_point next_look(clock::time_point looked_at, clock::duration interval) const noexcept;

  /// For one that `is_ending`: sends the signals that are due. True when the leader ended and nothing else of the group
  /// lives in `processes`, which must have been read after `look_at_leader`.
  bool press(const std::vector<process_entry>& processes, clock::time_point now,
             std::chrono::milliseconds default_grace);

  /// The last of it, after `press` said true: its remaining output (at most what a pipe holds), its leader reaped, its
  /// record removed.
  process_end finish();

  std::function<void(result<int>)> started;
  std::function<void(process_end)> ended;
  std::chrono::system_clock::time_point last_activity;

private:
  struct leader_end {
    std::optional<int> exit_code, signal;
  };

  void signal_all(const std::vector<process_entry>& members, int signal) const;

  process_launch launch_; ///< what an error needs to name; argv and environment only until the start is known
  child_program program_;
  std::optional<error> start_failure_;
  forked_child child_;
  git::descriptor leader_, output_;
  rotated_log log_;
  bool log_failed_ = false; ///< said once
  std::filesystem::path record_;
  std::optional<leader_end> leader_end_;
  std::optional<clock::time_point> kill_at_;
  bool terminated_ = false; ///< SIGTERM was sent, or is not wanted
  bool overdue_ = false;    ///< that SIGKILL does not help was said
};

} // namespace townkeeper
