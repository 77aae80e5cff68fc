#include "process/agent_processes.hpp"

#include "process/reaper.hpp"

namespace townkeeper {

result<std::unique_ptr<agent_processes>> agent_processes::create(agent_processes_options options) {
  auto reaper = process_reaper::create(std::move(options));
  if (!reaper) return reaper.error();
  (*reaper)->run_thread();
  return std::unique_ptr<agent_processes>(new agent_processes(std::move(*reaper)));
}

agent_processes::agent_processes(std::shared_ptr<process_reaper> reaper)
    : reaper_(std::move(reaper)) {}

agent_processes::~agent_processes() {
  reaper_->shut_down();
}

process_runner agent_processes::runner() {
  // The functions share the reaper: an actor may hold them longer than this object lives.
  return {[reaper = reaper_](process_launch launch, const std::function<void(result<int>)>& started,
                             std::function<void(process_end)> ended) {
            reaper->start(std::move(launch), started, std::move(ended));
          },
          [reaper = reaper_](int pid, std::chrono::milliseconds grace) { reaper->stop(pid, grace); },
          [reaper = reaper_](int pid) { return reaper->last_activity_at(pid); }};
}

} // namespace townkeeper
