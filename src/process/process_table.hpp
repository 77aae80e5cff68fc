#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the kernel says of processes (proc(5)), and signals that reach the process that was meant or nobody.
namespace townkeeper {

/// One process, from `/proc/<pid>/stat`.
struct process_entry {
  int pid = 0, parent = 0, group = 0, session = 0;
  char state = '?';
  int threads = 0;
  std::uint64_t start_time = 0; ///< field 22: clock ticks since boot; with the pid it names one process of one boot

  /// False for a zombie. One whose first thread ended before the others is none.
  bool lives() const noexcept { return (state != 'Z' && state != 'X') || threads > 1; }
};

/// The text of `/proc/<pid>/stat`; nothing where it is not one.
std::optional<process_entry> parse_process_stat(std::string_view text);

/// Nothing for a pid that does not exist.
std::optional<process_entry> read_process(int pid);

/// All processes of the pid namespace. No snapshot: one that forks and ends meanwhile may be missed together with its
/// child.
std::vector<process_entry> read_processes();

/// Those of `processes` that live in the session, without its leader.
std::vector<process_entry> living_in_session(const std::vector<process_entry>& processes, int session);

/// Sends `signal` to exactly the process `to` was read from, also where that is no child of ours and its pid may have
/// been given away since. False when it is gone (or may not be signalled).
bool signal_process(const process_entry& to, int signal);

/// True where the environment the process was started with holds `entry` (`NAME=value`).
bool has_environment_entry(int pid, std::string_view entry);

/// The random id of this boot of the kernel; empty where it cannot be read.
std::string boot_id();

/// Names the pid namespace that our pids belong to; empty where it cannot be read.
std::string pid_namespace();

/// A descriptor of a process, or -1 with errno (pidfd_open(2)). The system call itself: the header of glibc 2.36 does
/// not declare it for C++.
int open_pidfd(int pid) noexcept;

} // namespace townkeeper
