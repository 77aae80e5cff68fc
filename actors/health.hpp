#pragma once

#include <caf/actor_clock.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "actors/published_health.hpp"
#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "metrics/daemon_metrics.hpp"

namespace townkeeper {

struct health_config {
  std::string instance_id;
  std::string version;
  std::shared_ptr<published_health> published;
  std::shared_ptr<metrics::daemon_metrics> metrics;
  town_link_actor town;
  std::function<std::string()> wall_clock;              ///< RFC 3339, UTC; for timestamps people read, never for order
  std::function<std::string(int pid)> last_activity_at; ///< the process runner's; empty: as the agent actor said last
  std::chrono::milliseconds publish_interval{50};       ///< after a change
  std::chrono::milliseconds idle_interval{1'000};       ///< without one
  std::chrono::milliseconds report_interval{250};       ///< between ready reports, but for the one that says converged
  std::chrono::milliseconds progress_interval{1'000};   ///< between progress reports to the town
};

/// The one picture of the town: phases, progress, outcomes, convergence. Told everything by everybody; publishes an
/// immutable document for HTTP; tells the town rig by rig what is ready, when all has converged, and again when a late
/// one heals. Decides nothing about restoring. Converged: every expected rig and agent has settled, each for the branch
/// and remote that are expected of it now. It stays so when something is added later.
class health_state {
public:
  static inline const char* name = "health";

  explicit health_state(health_actor::pointer self)
      : self_(self) {}

  health_actor::behavior_type make_behavior(health_config config);

private:
  struct agent_entry {
    town::agent_health shown;
    std::optional<town::agent_report> report; ///< the last settled one
  };
  struct rig_entry {
    std::string git_url; ///< outcomes of another remote count for nothing
    town::rig_health shown;
    std::optional<town::rig_report> report;
    caf::actor_clock::time_point begun{};
    std::int64_t counted_bytes = 0; ///< of the transfer under way, already in the metric
    std::map<std::string, agent_entry> agents;
  };
  struct process_entry {
    town::agent_process_health shown;
    std::string last_activity_at;
  };

  struct protection_entry {
    caf::actor_addr teller; ///< who spoke last: its keeper, or the supervisor where there is none
    std::optional<caf::actor_clock::time_point> unsaved_since;
    std::optional<caf::actor_clock::time_point> successor_began; ///< what the teller says until it has saved once
    town::agent_protection_health shown;
  };

  bool take_over(expect& wanted);
  void take(rig_progress& p);
  void take(const rig_transfer& t);
  void take(rig_settled& s);
  void take(const worktree_progress& p);
  void take(agent_settled& s);
  void take(process_changed& p);
  void take(const phase_changed& p);
  void take(protection_changed& p);
  void changed();
  void settled();
  void converge();
  void tick();
  void publish();
  void say_ready();
  void count_states() const;
  double unsaved_age(const protection_entry& p) const;
  double oldest_unsaved_age() const;
  town::health_document picture() const;
  bool all_settled() const;
  bool all_restored() const;
  double progress() const;
  double seconds_since_start() const;
  void schedule(std::chrono::milliseconds pause);
  agent_entry* find(const std::string& rig_id, const std::string& agent_id);
  heartbeat_facts heartbeat() const;

  health_actor::pointer self_;
  health_config config_;
  town::town_phase phase_ = town::town_phase::booting;
  std::int64_t epoch_ = 0;
  std::int64_t desired_version_ = 0;
  bool expecting_ = false;
  bool converged_ = false;
  bool report_due_ = false;
  bool dirty_ = true;
  std::optional<error> trouble_;
  std::string started_at_, ready_at_;
  caf::actor_clock::time_point started_{}, expected_at_{}, repositories_at_{}, last_published_{}, last_report_{},
      last_progress_{};
  std::optional<caf::actor_clock::time_point> next_tick_;
  mutable double best_progress_ = 0;
  std::map<std::string, rig_entry> rigs_;
  std::vector<town::set_aside_entry> set_aside_;
  std::map<std::string, process_entry> processes_;
  std::map<std::string, protection_entry> protection_; ///< by agent
};

health_actor::behavior_type health(health_actor::stateful_pointer<health_state> self, health_config config);

} // namespace townkeeper
