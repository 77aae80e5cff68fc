#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "temp_dir.hpp"

/// Agents that are shell scripts, run by the daemon as any agent is (`agents.command`). What they write down lies in a
/// directory that outlives their container, so it can be compared with what came back. Both end with code 0 after
/// `finish`, and by SIGTERM. The objects must outlive the containers; use them from one thread.
namespace townkeeper::test {

/// `worker.sh`: each step is a file, a commit, a push and a checkpoint; a new process goes on from the step in its
/// checkpoint. It works only while it is let, and keeps a journal: one `start <dispatchId> <step it resumes from>` per
/// process, one `step <n> <commit>` after each step, one `failed <n> <git or gt_checkpoint>` after each that failed.
class worker {
public:
  struct entry {
    std::string word; ///< start, step or failed
    std::string id;   ///< dispatch id or step number
    std::string what; ///< step it resumed from, commit, or what failed
  };

  /// JSON array for `agents.command`.
  std::string command() const;
  std::vector<entry> journal(const std::string& agent_id) const;
  std::vector<entry> all(const std::string& agent_id, const std::string& word) const;
  void let_work(bool allowed);
  /// True when the worker has seen that it shall not work: nothing of it is under way.
  bool is_idle(const std::string& agent_id) const;
  void finish();

private:
  temp_dir dir_{"witness"};
};

/// `editor.pl`: never stands still. Each step writes the next number into `edit-<agent>.txt` (by a rename), every
/// seventh stages everything, every twentieth commits; nothing is pushed. It goes on from the number it finds, works
/// only while it is let, and writes down each number with the time it was done.
class editor {
public:
  struct edit {
    std::int64_t number = 0, at_ns = 0; ///< nanoseconds since the epoch, when it was done
  };

  /// JSON array for `agents.command`; the pause after each edit in seconds.
  std::string command(const std::string& pause) const;
  std::vector<edit> edits(const std::string& agent_id) const;
  /// What came after `number` is not on record any more.
  void forget_after(const std::string& agent_id, std::int64_t number);
  void let_work(bool allowed);
  void finish();

private:
  temp_dir dir_{"editing"};
};

} // namespace townkeeper::test
