#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "process/agent_group.hpp"
#include "process/agent_processes.hpp"

namespace townkeeper {

/// The one thread behind `agent_processes`, and what is said to it.
class process_reaper {
public:
  static result<std::shared_ptr<process_reaper>> create(agent_processes_options options);
  process_reaper(const process_reaper&) = delete;
  process_reaper& operator=(const process_reaper&) = delete;

  /// What `process_runner` promises; from any thread, without waiting.
  void start(process_launch launch, const std::function<void(result<int>)>& started,
             std::function<void(process_end)> ended);
  void stop(int pid, std::chrono::milliseconds grace);
  std::string last_activity_at(int pid);

  /// Once.
  void run_thread();
  /// Once, after it; kills, waits, joins.
  void shut_down();

private:
  using clock = agent_group::clock;
  enum class source : std::uint32_t { wake, leader, output, control };

  explicit process_reaper(agent_processes_options options);

  bool post(std::function<void()> command);
  void loop();
  void wait_for_events(clock::time_point now);
  void take_event(source from, int pid);
  void run_commands();
  void launch_group(const process_launch& launch, std::function<void(result<int>)> started,
                    std::function<void(process_end)> ended);
  result<agent_group> make_group(const process_launch& launch);
  void look_for_start(agent_group& group);
  void tend_groups(clock::time_point now);
  void finish(std::map<int, agent_group>::iterator at);
  void reap_orphans();
  void give_up_rest();
  void watch(int fd, source from, int pid);
  clock::time_point next_look() const;

  const agent_processes_options options_;
  git::descriptor epoll_, wake_;
  std::thread thread_;

  std::mutex mutex_; ///< of what both sides touch
  std::vector<std::function<void()>> commands_;
  bool closed_ = false;
  std::map<int, std::chrono::system_clock::time_point> last_activity_;

  // Of the thread alone.
  std::map<int, agent_group> groups_; ///< by pid of the leader
  bool attention_ = false;            ///< something changed that `tend_groups` must look at now
  clock::time_point looked_at_{}, orphans_at_{};
  std::optional<clock::time_point> give_up_at_; ///< set by `shut_down`
};

} // namespace townkeeper
