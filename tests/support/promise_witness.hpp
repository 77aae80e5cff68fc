#pragma once

#include <rapidjson/document.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "container.hpp"
#include "remote.hpp"

namespace townkeeper::test {

/// Writes down what a town, its containers and its remotes have promised while a test runs, and says at the end which
/// promises were broken:
///
/// - a save the town has on record can be read from the remote, with all it holds;
/// - the town calls a container ready only when every agent of that epoch is restored in `/health`;
/// - a dispatch id is answered with 201 at most once and starts one process at most;
/// - an agent is dispatched with success once per epoch, unless its process had ended (`ended_by_itself`).
///
/// It looks when it is told to, so it sees what lies between two looks only by its traces. Use from one thread.
class promise_witness {
public:
  /// `rig id` → the repository's path on the machine of its remote.
  promise_witness(const town_admin& admin, std::map<std::string, std::filesystem::path> repositories);

  /// Looks at the town (when it answers) and at this container.
  void look(const container& box);
  /// A process ran for this dispatch (a worker's own word).
  void saw_start(const std::string& agent_id, const std::string& dispatch_id);
  /// From now on a second dispatch of this agent in its epoch is no wonder.
  void ended_by_itself(const std::string& agent_id) { ended_.insert(agent_id); }

  /// Looks until `reached` says so of the health document; false at the deadline.
  bool watch(const container& box, const std::function<bool(const rapidjson::Value&)>& reached,
             std::chrono::milliseconds deadline = std::chrono::seconds{60});

  /// Reads every save that was acknowledged from its remote, and the feed of dispatches. One line for each promise that
  /// was broken, nothing when all were kept.
  std::vector<std::string> broken_promises();

  std::size_t saves() const { return saves_.size(); }
  std::size_t readies() const { return readies_; }
  std::size_t dispatches() const { return dispatched_; }

private:
  struct save {
    std::string rig, agent, ref, commit;
    auto operator<=>(const save&) const = default;
  };
  void note_saves(const rapidjson::Value& state);
  void note_ready(const rapidjson::Value& state, const container& box);
  void check_saves(std::vector<std::string>& broken) const;
  std::string commits_of(const std::string& rig) const;
  void check_dispatches(std::vector<std::string>& broken);

  const town_admin& admin_;
  std::map<std::string, std::filesystem::path> repositories_;
  std::set<save> saves_;
  std::map<std::string, save> last_; ///< by agent
  std::set<std::int64_t> ready_epochs_;
  std::size_t readies_ = 0, dispatched_ = 0;
  std::set<std::string> ended_;
  std::map<std::string, int> starts_; ///< by dispatch id
  std::vector<std::string> broken_;
};

} // namespace townkeeper::test
