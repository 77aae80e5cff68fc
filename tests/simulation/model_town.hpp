#pragma once

#include <caf/actor_clock.hpp>

#include <rapidjson/document.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/town_link.hpp"
#include "town/model.hpp"

namespace townkeeper::simulation {

class model_world;

/// What a daemon sees of the Durable Object (CONTRACT.md), in memory: epochs and fencing, the desired state, ready,
/// heartbeats, recovery points, dispatch by alarm. Loses nothing that it acknowledged; a restart of it only forgets the
/// calls that are under way. After town/src/*.js.
class model_town {
public:
  using time_point = caf::actor_clock::time_point;

  explicit model_town(model_world& world)
      : world_(world) {}

  struct reply {
    int status = 200;
    std::string body;
    std::optional<std::chrono::milliseconds> retry_after{};
  };
  reply handle(const town_request& request);

  // an operator's acts
  void add_agent(const std::string& rig_id, const std::string& agent_id);
  void finish_agent(const std::string& agent_id); ///< done: it leaves the desired state
  void restart();                                 ///< the calls that are under way have no answer any more
  void rotate_token() { ++token_; }

  std::int64_t epoch() const { return containers_.empty() ? 0 : containers_.rbegin()->first; }
  std::int64_t version() const { return version_; }
  /// Agents of the desired state of this version.
  const std::set<std::string>& agents_of(std::int64_t version) const { return listed_.at(version); }
  bool lists(const std::string& agent_id) const { return listed_.at(version_).contains(agent_id); }
  /// The newest container's newest report says so.
  bool has_heard_ready() const;
  /// When the container of this epoch was heard to have drained; nothing: it was not.
  std::optional<time_point> drained_at(std::int64_t epoch) const;
  bool all_at_work() const;
  const std::optional<town::recovery_point>& recovery_of(const std::string& agent_id) const;
  std::string token() const;

private:
  struct container_row {
    std::string instance_id;
    time_point heard_at{};
    bool evicted = false;
    std::string nonce, outcome;
    std::int64_t last_report = 0; ///< the number of the last ready report that was taken
    std::optional<time_point> drained_at;
    std::set<std::string> drained_unsaved; ///< agents, as its last word has it
    bool live_at_succession = false;
  };
  struct agent_row {
    std::string rig_id, status = "restoring", dispatch_id, report_outcome;
    std::int64_t report_epoch = 0;
    std::optional<town::recovery_point> recovery;
    std::map<std::string, town::recovery_point> kept; ///< by commit
    std::optional<double> maybe_lost_seconds;
    int attempts = 0, refusals = 0, restarts = 0;
    std::optional<time_point> due_at;
    bool calling = false;
  };

  std::string desired_state() const;
  void write_agent(std::string& out, const std::string& agent_id, const agent_row& row) const;
  reply boot(const std::string& body);
  reply ready(const std::string& body);
  reply heartbeat();
  void note_losses(const container_row& before);
  reply drained(container_row& row, const std::string& body);
  reply drained_late(container_row& row, const std::string& body);
  reply record_point(const std::string& agent_id, const std::string& body, bool late, bool kept);
  reply completed(const std::string& agent_id, const std::string& body);
  reply evict();
  void apply_report(const std::string& agent_id, const std::string& outcome, bool settled);
  void changed_agents();
  void arm();
  void run_alarm();
  void dispatch(const std::string& agent_id, agent_row& row);
  void apply_start(const std::string& agent_id, std::int64_t epoch, const std::string& dispatch_id, int status);
  bool callable() const;
  bool is_live(const container_row& row) const;
  container_row& current() { return containers_.rbegin()->second; }

  model_world& world_;
  std::map<std::int64_t, container_row> containers_;
  std::map<std::string, agent_row> agents_;
  std::map<std::int64_t, std::set<std::string>> listed_{{1, {}}};
  std::int64_t version_ = 1;
  std::map<std::string, bool> dispatches_; ///< id → completed
  std::optional<time_point> alarm_;
  int incarnation_ = 0, token_ = 1, last_dispatch_ = 0, last_nonce_ = 0;
};

/// The string at `key` of an object; empty where there is none.
std::string text_of(const rapidjson::Value& value, const char* key);

} // namespace townkeeper::simulation
