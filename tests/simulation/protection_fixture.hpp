#pragma once

#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/keeper.hpp"
#include "actors/saver.hpp"
#include "fake_git.hpp"
#include "fake_town.hpp"
#include "fixture.hpp"
#include "health_recorder.hpp"
#include "messages/type_ids.hpp"
#include "specs.hpp"

namespace townkeeper::simulation {

using std::chrono::milliseconds;

inline const std::vector<std::string> eight{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"};

/// One rig's real saver and the real keepers of its agents; worktrees, remote, town and watches are fakes.
struct protection_simulation : virtual_town {
  std::shared_ptr<fake_git> git = std::make_shared<fake_git>();
  std::shared_ptr<fake_town> town_said = std::make_shared<fake_town>();
  std::shared_ptr<health_log> heard = std::make_shared<health_log>();
  std::shared_ptr<metrics::daemon_metrics> numbers = std::make_shared<metrics::daemon_metrics>("test");
  std::shared_ptr<std::atomic<std::int64_t>> seq = std::make_shared<std::atomic<std::int64_t>>(0);
  /// Answers for the rig's credentials; nothing: never.
  std::function<std::optional<git_credentials_answer>(const git_credentials_query&)> on_credentials;
  std::vector<git_credentials_query> asked;
  std::map<std::string, watch::watch_callback> watches; ///< of those that live, by agent
  bool no_watches = false, slow_watches = false;
  saver_actor saves;
  std::map<std::string, keeper_actor> keepers;
  health_actor health = keep(spawn_health_recorder(system(), heard));
  town_link_actor town = keep(spawn_fake_town(system(), town_said));
  caf::actor supervisor;
  keeper_config keeping;
  time_point begun;

  explicit protection_simulation(const std::vector<std::string>& agents = {"a1"}, std::uint64_t seed = 1) {
    supervisor = keep(system().spawn([this](caf::event_based_actor* self) -> caf::behavior {
      return {[this, self](const git_credentials_query& query) {
        asked.push_back(query);
        auto promise = self->make_response_promise<git_credentials_answer>();
        auto answer = on_credentials ? on_credentials(query) : std::optional{login("token")};
        if (answer) promise.deliver(std::move(*answer));
        return promise;
      }};
    }));
    saver_config config;
    config.rig_id = "r";
    config.town_id = "town";
    config.epoch = 3;
    config.seq = seq;
    config.wall_clock = [] { return std::string{"2026-01-01T00:00:00Z"}; };
    config.metrics = numbers;
    config.executor = keep(spawn_fake_executor(system(), git));
    config.town = town;
    config.supervisor = supervisor.address();
    saves = keep(system().spawn(saver, std::move(config)));
    std::vector<town::agent_spec> specs;
    for (const auto& agent_id : agents)
      specs.push_back(agent_of(agent_id));
    tell(saves, protect_rig{rig_of("r", specs), "/rigs/r/repo.git"});
    keeping.rig_id = "r";
    keeping.saver = saves;
    keeping.health = health;
    keeping.seed = seed;
    begun = now();
  }
  ~protection_simulation() { watches.clear(); }

  static git_credentials_answer login(std::string token) {
    return {std::optional{git::credentials{"x-access-token", secret{std::move(token)}}}, std::nullopt,
            rig_of("r").git_url};
  }

  protect protection_of(const std::string& agent_id) const {
    protect p;
    p.spec = agent_of(agent_id);
    p.git_url = rig_of("r").git_url;
    p.repository = "/rigs/r/repo.git";
    p.worktree = "/rigs/r/worktrees/" + agent_id;
    return p;
  }
  void protect_agent(const std::string& agent_id, std::optional<town::recovery_point> applied = std::nullopt,
                     bool claim = false) {
    auto config = keeping;
    config.agent_id = agent_id;
    config.watch = [this](watch::watch_request request,
                          watch::watch_callback tell_change) -> result<watch::watch_handle> {
      if (no_watches) return error{error_code::disk, request.agent_id, "no room for watches"};
      if (!slow_watches) tell_change({false, true, std::nullopt}); // they stand
      watches[request.agent_id] = std::move(tell_change);
      return watch::watch_handle{[this, id = request.agent_id] { watches.erase(id); }};
    };
    keepers[agent_id] = keep(system().spawn(keeper, std::move(config)));
    auto p = protection_of(agent_id);
    p.applied = std::move(applied);
    p.claim = claim;
    tell(keepers.at(agent_id), std::move(p));
  }
  /// Protected, looked at once, and found clean; the interval after that has passed.
  void settle(const std::vector<std::string>& agents) {
    for (const auto& agent_id : agents)
      protect_agent(agent_id);
    advance(std::chrono::seconds{20});
    git->snapshots.clear();
    git->pushes.clear();
    begun = now();
  }

  /// The worktree now holds this.
  void edit(const std::string& agent_id, const std::string& moment) {
    git->moments[agent_id] = moment;
    watches.at(agent_id)({});
    run();
  }
  pending<save_answer> save_now_of(const std::string& agent_id, const char* kind = "drain",
                                   milliseconds deadline = std::chrono::seconds{10}) {
    return ask<save_answer>(keepers.at(agent_id), save_now{kind, deadline});
  }

  static std::string ref_of(const std::string& agent_id) { return "refs/townkeeper/town/" + agent_id + "/3"; }
  /// What the remote has of an agent: its fingerprint; "" for none.
  std::string saved(const std::string& agent_id) const {
    const auto point = git->points.find(ref_of(agent_id));
    return point == git->points.end() ? "" : point->second.commit.substr(0, point->second.commit.find('@'));
  }
  const protection_changed& last_word(const std::string& agent_id) const {
    const auto it = std::find_if(heard->protection.rbegin(), heard->protection.rend(),
                                 [&](const auto& p) { return p.agent_id == agent_id; });
    if (it == heard->protection.rend()) throw std::logic_error("health never heard of " + agent_id);
    return *it;
  }
  /// As health knows it.
  std::optional<milliseconds> unsaved_age(const std::string& agent_id) {
    const auto since = last_word(agent_id).unsaved_since;
    if (!since) return std::nullopt;
    return std::chrono::duration_cast<milliseconds>(now() - *since);
  }
  milliseconds since_begun(time_point at) const { return std::chrono::duration_cast<milliseconds>(at - begun); }
  std::vector<std::string> agents_of_push(std::size_t i) const {
    std::vector<std::string> agents;
    for (const auto& item : git->pushes.at(i).job.items)
      agents.push_back(item.taken.agent_id);
    return agents;
  }
};

/// Every item of a push is answered so.
inline std::vector<git::pushed_point> refused_all(const git::push_job& job, error_code code, git::refusal why) {
  std::vector<git::pushed_point> all;
  for (const auto& item : job.items)
    all.push_back({item.taken.agent_id, error{code, item.ref, "refused by the remote"}, why, 0});
  return all;
}

/// Every push is refused, by a rule of the remote that has nothing to do with what it holds.
inline const auto refused_by_hook = [](const git::push_job& job) {
  return git_plan<std::vector<git::pushed_point>>{refused_all(job, error_code::forbidden, git::refusal::other)};
};

} // namespace townkeeper::simulation
