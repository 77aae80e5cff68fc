#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "git/recovery.hpp"
#include "model_town.hpp"
#include "town/model.hpp"

/// A town, its remotes and its containers as values, on the virtual clock. Every actor of a container is the real one;
/// what lies beyond them (HTTP, git, processes, watches) is this model. A seed decides everything that happens.
namespace townkeeper::simulation {

struct model_container;

using time_point = caf::actor_clock::time_point;
using std::chrono::milliseconds;
using point_order = std::pair<std::int64_t, std::int64_t>; ///< (epoch, seq)

class dice {
public:
  explicit dice(std::uint64_t seed)
      : random_(seed) {}
  std::int64_t pick(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random_);
  }
  bool chance(int percent) { return pick(1, 100) <= percent; }
  milliseconds between(std::int64_t least, std::int64_t most) { return milliseconds{pick(least, most)}; }
  template <class Container>
  auto& one_of(Container& all) {
    return all[static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(all.size()) - 1))];
  }

private:
  std::mt19937_64 random_;
};

/// How the way to a remote or to the town is.
enum class sky {
  clear, ///< short delays, no faults
  rough, ///< long delays, losses of either direction, refusals, repeated deliveries
  cut    ///< nothing comes through
};

/// One moment of one agent's work, sealed: what a commit of a recovery point holds.
struct model_point {
  std::string agent_id;
  int version = 0;
  bool partial = false; ///< without its untracked files: the remote refused them
  bool kept = false;
  bool on_remote = false;                 ///< some ref named it, ever
  std::optional<time_point> acknowledged; ///< when a container heard so
  town::recovery_point point;
  point_order order() const { return {point.epoch, point.seq}; }
};

struct model_remote {
  std::string rig_id, url;
  sky weather = sky::clear;
  time_point clear_since{};
  std::map<std::string, std::string> refs; ///< of points → commit
};

/// A container's disk: may outlive the container.
struct model_disk {
  struct worktree {
    int version = 0; ///< 0: clean, at the branch
    std::optional<point_order> mark;
    std::vector<std::pair<int, time_point>> unsaved; ///< edits that no remote has, oldest first
  };
  std::map<std::string, worktree> worktrees; ///< by agent
};

/// How a container left a worktree whose drain ended with 0.
struct drained {
  std::int64_t epoch = 0;
  int version = 0;
};

class model_world {
public:
  explicit model_world(std::uint64_t seed);
  ~model_world();

  // -- time -----------------------------------------------------------------------------------------------------------
  time_point now() { return sim.now(); }
  void later(milliseconds after, std::function<void()> what);
  /// Lets time pass; every instant is checked. Ends early when an invariant is broken.
  void advance(milliseconds d);
  bool advance_until(const std::function<bool()>& done, milliseconds limit);

  // -- what happened --------------------------------------------------------------------------------------------------
  void note(std::string what);
  void happens(const std::string& what); ///< an event of the schedule: noted, and shown in full
  void violated(std::string what);
  bool is_broken() const { return !violations.empty(); }
  std::string story() const; ///< the schedule, what came of it last, and the last health documents

  // -- containers -----------------------------------------------------------------------------------------------------
  model_container& start_container(std::shared_ptr<model_disk> disk);
  void kill(model_container& c);
  /// What an earlier drain left need not come back once this container has worked on.
  void worked_on(const model_container& c);
  void drain(model_container& c);
  std::vector<model_container*> alive();
  model_container* newest();

  // -- the edges of a container ---------------------------------------------------------------------------------------
  void say_to_town(model_container& c, town_request request, std::function<void(town_answered)> answered);
  void call_start(std::int64_t epoch, const std::string& rig_id, const std::string& agent_id,
                  const std::string& dispatch_id, std::function<void(int status)> answered);
  bool is_clean(int version) const { return version == 0 || clean_versions.contains(version); }
  int next_version(bool clean);

  dice chance;
  model_town town;
  std::map<std::string, model_remote> remotes;              ///< by rig
  std::map<std::string, std::string> rig_of_agent;          ///< agent → rig
  std::map<std::string, model_point> points;                ///< by commit
  std::map<std::string, drained> exact;                     ///< agent → what the last drain that ended 0 left
  std::map<std::string, int> dispatch_runs;                 ///< dispatch id → how often a process ran for it
  std::vector<std::unique_ptr<model_container>> containers; ///< in the order of their starts
  std::vector<std::string> violations;
  milliseconds greatest_loss{0}; ///< of kills under a clear sky
  sky town_weather = sky::clear;
  time_point town_clear_since{};
  bool faults = true;
  bool edits = true; ///< whether the agents go on working
  std::set<int> clean_versions;
  int last_version = 0, last_commit = 0, last_pid = 0;

private:
  void look();
  void container_ended(model_container& c);
  void end_actors(model_container& c);
  static void answered_once(const std::shared_ptr<bool>& is_answered, const std::function<void(int)>& answered,
                            int status);
  void answer(model_container& c, const std::function<void(town_answered)>& answered, town_answered what,
              milliseconds after);

  std::multimap<time_point, std::function<void()>> agenda_;
  std::vector<std::string> schedule_; ///< whole, the story is its end
  std::deque<std::string> story_;

public:
  virtual_town sim; ///< last: it goes first, and with it every actor
};

} // namespace townkeeper::simulation
