#include "fake_processes.hpp"

#include <algorithm>
#include <csignal>
#include <stdexcept>
#include <utility>

namespace townkeeper::simulation {

std::shared_ptr<const process_runner> fake_processes::runner() {
  auto made = std::make_shared<process_runner>();
  made->start = [self = shared_from_this()](process_launch launch, auto started, auto ended) {
    if (std::exchange(self->next_start_throws, false)) throw std::runtime_error("injected fault");
    process p;
    if (const auto it = launch.environment.find("GASTOWN_DISPATCH_ID"); it != launch.environment.end())
      p.dispatch_id = it->second;
    p.launch = std::move(launch);
    p.started = std::move(started);
    p.ended = std::move(ended);
    if (auto why = std::exchange(self->next_start_fails, std::nullopt)) {
      p.started(std::move(*why));
      return;
    }
    self->all.push_back(std::move(p));
    if (!self->hold_starts) self->begin(self->all.back());
  };
  made->stop = [self = shared_from_this()](int pid, std::chrono::milliseconds) { self->stop(pid); };
  made->last_activity_at = [](int) { return std::string{"2026-01-01T00:00:05.000Z"}; };
  return made;
}

void fake_processes::begin(process& p) {
  p.pid = ++last_pid_;
  p.alive = true;
  if (!p.dispatch_id.empty()) ++runs[p.dispatch_id];
  if (on_begin) on_begin(p.launch);
  most_alive_of_one_agent = std::max(most_alive_of_one_agent, alive_of(p.launch.agent_id));
  // The callbacks are dropped once they were told: they hold the runner, and with it this object.
  std::exchange(p.started, nullptr)(p.pid);
}

void fake_processes::release_starts() {
  hold_starts = false;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].pid == 0) begin(all[i]);
}

void fake_processes::fail_starts(const error& why) {
  hold_starts = false;
  std::erase_if(all, [&](auto& p) {
    if (p.pid != 0) return false;
    p.started(why);
    return true;
  });
}

std::size_t fake_processes::alive_of(const std::string& agent_id) const {
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const auto& p) { return p.alive && p.launch.agent_id == agent_id; }));
}

void fake_processes::end(const std::string& agent_id, process_end how) {
  for (auto& p : all)
    if (p.alive && p.launch.agent_id == agent_id) return finish(p, std::move(how));
}

void fake_processes::stop(int pid) {
  for (auto& p : all) {
    if (!p.alive || p.pid != pid) continue;
    p.stop_wanted = true;
    if (obedient) finish(p, {std::nullopt, SIGTERM, "2026-01-01T00:00:09.000Z"});
    return;
  }
}

void fake_processes::finish(process& p, process_end how) {
  p.alive = false;
  std::exchange(p.ended, nullptr)(std::move(how));
}

} // namespace townkeeper::simulation
