#pragma once

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "actors/published_health.hpp"
#include "cli/actor_gateway.hpp"
#include "cli/daemon_facts.hpp"
#include "cli/town_transport.hpp"
#include "messages/interfaces.hpp"
#include "metrics/daemon_metrics.hpp"
#include "process/process_runner.hpp"
#include "watch/watcher.hpp"

namespace townkeeper::cli {

/// What the actors reach outside of themselves. Everything here outlives them.
struct actor_surroundings {
  std::shared_ptr<published_health> published;
  std::shared_ptr<metrics::daemon_metrics> metrics;
  std::shared_ptr<const process_runner> runner;
  http_town* town = nullptr;
  std::function<void(const std::string& rig_id, const std::string& agent_id, bool present)> agent_known;
};

/// The actor system with the daemon's actors in it. The supervisor boots as soon as it is made.
class actor_threads {
public:
  actor_threads(const daemon_facts& facts, const actor_surroundings& around, actor_gateway& gateway);

  /// `end` must have come to its end, and threads that used the gateway must have: ~actor_system waits for every actor,
  /// and for every thread that ever spawned one.
  ~actor_threads();
  actor_threads(const actor_threads&) = delete;
  actor_threads& operator=(const actor_threads&) = delete;

  /// Becomes readable when the supervisor has ended, by itself or not.
  int ended_descriptor() const noexcept { return ended_; }

  /// Tells the supervisor to end; a second time shortens its waiting.
  void shut_down(const std::string& reason);

  /// Ends every actor. False where some were still there at the limit (a git job that hangs): then the process can only
  /// be left by force.
  bool end(std::chrono::milliseconds limit);

  /// What the supervisor ended with: 0, 75 when fenced, 70 after a crash.
  int exit_code() const;

private:
  struct shared_end {
    std::atomic<int> code{0};
    std::atomic<bool> crashed{false}; ///< the supervisor itself
  };

  watch::watch_factory watch_factory(const std::vector<std::string>& include);

  actor_gateway& gateway_;
  int ended_ = -1;
  std::shared_ptr<shared_end> end_;
  std::shared_ptr<std::atomic<int>> exit_code_;
  caf::actor_system_config config_;
  std::unique_ptr<watch::watch_hub> hub_; ///< outlives the keepers, which ask it for watches
  std::unique_ptr<caf::actor_system> system_;
  health_actor health_;
  town_link_actor town_;
  git_executor_actor executor_;
  supervisor_actor supervisor_;
};

} // namespace townkeeper::cli
