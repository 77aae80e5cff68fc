#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "process/process_runner.hpp"

namespace townkeeper {

struct agent_processes_options {
  std::filesystem::path records_directory; ///< absolute; one file per running group, for `end_leftovers`; made 0700
  std::uint64_t log_max_bytes = 10 * 1024 * 1024; ///< of one log file; at least 1
  std::uint32_t log_files = 5; ///< kept per process, the current one included: `log`, `log.1` … `log.4`; at least 1
};

class process_reaper;

/// All agent processes of the daemon, and the one thread that forks them and waits for them.
///
/// Nobody else in the process may call wait, waitpid or waitid, or set SIGCHLD: this thread reaps every child, also the
/// orphans that come to us because townkeeper is PID 1 or (always) a child subreaper. At most one object at a time.
///
/// A process is the leader of a session, and thereby of a process group, of its own: no terminal's signal reaches it,
/// and what its shell put into groups of their own (job control) is still known by the session. Where "group" stands
/// below, all processes of that session are meant. It gets exactly the environment, arguments, directory and files of
/// its `process_launch`; descriptors 0 (/dev/null), 1 and 2 (its log) and no other; default signal dispositions, none
/// blocked. It is killed when the daemon dies (`PR_SET_PDEATHSIG`).
///
/// Its program is looked up in the PATH of its own environment. `started` has the pid once the program runs, or:
/// `invalid_config` (no such program, not executable, no interpreter), `invalid_argument` (empty argv, a NUL, a
/// relative path), `not_found` (no worktree), `too_large` (arguments and environment beyond what the kernel takes: a
/// long prompt belongs in its file), `disk`, `unavailable` (out of processes, memory or descriptors), `cancelled`
/// (after the destructor began).
///
/// When the leader ends, by itself or not, what is left of its group gets SIGTERM at once and SIGKILL after a grace:
/// that of `stop` where it was called, else `left_behind_grace`. `ended` is told when nothing of the group lives and
/// all it wrote is in the log, so that at most one group of an agent exists if the next is started then.
class agent_processes {
public:
  /// For what a leader that ended by itself left behind.
  static constexpr std::chrono::milliseconds left_behind_grace{5'000};

  /// Starts the thread. `internal` where another object exists, `unsupported` without /proc or on Linux before 5.9,
  /// `disk` where the records directory cannot be made. Makes the process a child subreaper and sets SIGCHLD to its
  /// default (where it is ignored, nothing can be waited for).
  static result<std::unique_ptr<agent_processes>> create(agent_processes_options options);

  /// SIGKILL to every group, waits for them (at most 5 s: a process the kernel itself holds is left to its
  /// PR_SET_PDEATHSIG and its record), tells each `ended`, joins.
  ~agent_processes();
  agent_processes(const agent_processes&) = delete;
  agent_processes& operator=(const agent_processes&) = delete;

  /// What actors use; from any thread, also after the destructor: `start` then says `cancelled`, on the caller's
  /// thread. Callbacks otherwise come from the one thread and must not block it.
  ///
  /// `stop(pid, grace)`: SIGTERM to the group, SIGKILL after `grace`; a second call can only shorten it. Does nothing
  /// for a pid whose `ended` was told. `last_activity_at(pid)`: RFC 3339 in UTC with milliseconds, of the last output,
  /// or of the start as long as there was none; empty for a pid it does not know.
  process_runner runner();

private:
  explicit agent_processes(std::shared_ptr<process_reaper> reaper);
  std::shared_ptr<process_reaper> reaper_;
};

/// A group that a dead predecessor left running, and that was ended.
struct ended_leftover {
  std::string agent_id, rig_id;
  int pid = 0;         ///< of its leader, which may have been dead already
  bool killed = false; ///< it took SIGKILL
};

/// Ends what a predecessor that died (SIGKILL, out of memory) left running, and removes its records; to be called once
/// at start, before `create`. Blocks up to `grace` and 5 s. SIGTERM to every group first, SIGKILL after `grace`.
///
/// A pid alone is never believed. A record counts only on the same boot and in the same pid namespace, and if its
/// leader has the recorded start time. Where the leader itself is dead (PR_SET_PDEATHSIG took it), processes of its
/// session count that are not older than it was and whose environment has the agent's own `GASTOWN_AGENT_ID`: the
/// kernel does not give the number of a session to a new process while one of its processes lives.
///
/// `disk` where the directory cannot be read; a directory that does not exist holds no records. A record that cannot be
/// read is removed with a warning. The record of a group that survived SIGKILL (the kernel holds it) stays.
result<std::vector<ended_leftover>> end_leftovers(const std::filesystem::path& records_directory,
                                                  std::chrono::milliseconds grace);

} // namespace townkeeper
