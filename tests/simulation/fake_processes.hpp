#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "process/process_runner.hpp"

namespace townkeeper::simulation {

/// Agent processes that exist only here: they start at once and end when the test says so, or on SIGTERM.
class fake_processes : public std::enable_shared_from_this<fake_processes> {
public:
  struct process {
    process_launch launch;
    std::string dispatch_id; ///< out of its environment
    int pid = 0;             ///< 0 while it is being started
    bool alive = false;
    bool stop_wanted = false;
    std::function<void(result<int>)> started;
    std::function<void(process_end)> ended;
  };

  bool obedient = true;                                ///< ends on SIGTERM; otherwise the test ends it
  bool hold_starts = false;                            ///< the test says when `started` is told
  std::optional<error> next_start_fails;               ///< once
  bool next_start_throws = false;                      ///< once
  std::vector<process> all;                            ///< every one that was ever wanted
  std::size_t most_alive_of_one_agent = 0;             ///< ever, at the same time
  std::map<std::string, int> runs;                     ///< by dispatch id
  std::function<void(const process_launch&)> on_begin; ///< as a process comes to life

  std::shared_ptr<const process_runner> runner();

  void release_starts();
  /// Those that are held fail.
  void fail_starts(const error& why);
  /// Ends this agent's process.
  void end(const std::string& agent_id, process_end how = {0, std::nullopt, "2026-01-01T00:00:09.000Z"});
  bool is_alive(const std::string& agent_id) const { return alive_of(agent_id) > 0; }
  std::size_t alive_of(const std::string& agent_id) const;
  const process& last() const { return all.back(); }

private:
  void begin(process& p);
  void stop(int pid);
  void finish(process& p, process_end how);
  int last_pid_ = 1000;
};

} // namespace townkeeper::simulation
