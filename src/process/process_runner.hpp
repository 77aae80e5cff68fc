#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace townkeeper {

/// One agent process, complete: nothing is inherited but what stands here.
struct process_launch {
  std::string agent_id, rig_id;
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  std::filesystem::path directory;                                  ///< where it runs: the worktree
  std::vector<std::pair<std::filesystem::path, std::string>> files; ///< written before it starts, mode 0600
  std::filesystem::path log;                                        ///< its output, rotated
};

struct process_end {
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string last_activity_at; ///< RFC 3339, of its last output
};

/// How an agent actor starts and stops processes without ever blocking: each function returns at once, and the
/// callbacks come from a thread of the runner's own. `started` is called once; `ended` once after a start that
/// succeeded.
struct process_runner {
  std::function<void(process_launch, std::function<void(result<int>)> started, std::function<void(process_end)> ended)>
      start;
  std::function<void(int pid, std::chrono::milliseconds grace)> stop;
  std::function<std::string(int pid)> last_activity_at;
};

} // namespace townkeeper
