#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actors/health.hpp"
#include "actors/supervisor.hpp"
#include "fake_git.hpp"
#include "fake_processes.hpp"
#include "fake_town.hpp"
#include "fixture.hpp"
#include "health_recorder.hpp"
#include "messages/type_ids.hpp"
#include "specs.hpp"

namespace townkeeper::simulation {

/// The whole set of actors: supervisor, rigs, worktrees, agents and health are real; git, town and processes are not.
struct town_simulation : virtual_town {
  std::shared_ptr<fake_git> git = std::make_shared<fake_git>();
  std::shared_ptr<fake_town> town_said = std::make_shared<fake_town>();
  std::shared_ptr<fake_processes> processes = std::make_shared<fake_processes>();
  std::shared_ptr<health_log> heard = std::make_shared<health_log>();
  std::shared_ptr<published_health> published = std::make_shared<published_health>();
  std::shared_ptr<std::atomic<int>> exit_code = std::make_shared<std::atomic<int>>(0);
  std::set<std::string> known_agents;          ///< as `agent_known` says
  std::map<std::string, std::size_t> restarts; ///< by kind
  git_executor_actor executor = keep(spawn_fake_executor(system(), git));
  town_link_actor link = keep(spawn_fake_town(system(), town_said));
  health_actor real_health;
  health_actor picture; ///< what all others take for health
  supervisor_actor subject;

  /// With `idle_interval` health publishes its picture that often when nothing changes.
  explicit town_simulation(std::uint64_t seed = 7, std::chrono::milliseconds idle_interval = std::chrono::seconds{1},
                           std::filesystem::path rigs = "/w/rigs")
      : real_health(keep(spawn_real_health(idle_interval)))
      , picture(keep(spawn_health_recorder(system(), heard, real_health))) {
    supervisor_config config;
    config.rigs_directory = std::move(rigs);
    config.executor = executor;
    config.town = link;
    config.health = picture;
    config.exit_code = exit_code;
    config.seed = seed;
    config.agent_known = [this](const std::string&, const std::string& agent_id, bool present) {
      if (present) {
        CHECK(known_agents.insert(agent_id).second);
      } else {
        CHECK(known_agents.erase(agent_id) == 1);
      }
    };
    config.restarted = [this](std::string_view kind) { ++restarts[std::string{kind}]; };
    config.rig.executor = executor;
    config.rig.health = picture;
    config.rig.town = link;
    config.worktree.executor = executor;
    config.worktree.health = picture;
    config.saver.town_id = "town";
    config.saver.seq = std::make_shared<std::atomic<std::int64_t>>(0);
    config.saver.executor = executor;
    config.saver.town = link;
    config.saver.wall_clock = [] { return std::string{"2026-01-01T00:00:00Z"}; };
    config.keeper.health = picture;
    config.agent.town_id = "town";
    config.agent.state_directory = "/w/.townkeeper/agents";
    config.agent.socket = "/w/.townkeeper/sockets";
    config.agent.command = {"/bin/worker"};
    config.agent.runner = processes->runner();
    config.agent.town = link;
    config.agent.health = picture;
    config.agent.wall_clock = [] { return std::string{"2026-01-01T00:00:00Z"}; };
    subject = keep(system().spawn(supervisor, std::move(config)));
    run();
  }

  void desire(town::desired_state desired) { tell(subject, desired_state_changed{std::move(desired)}); }

  /// One rig `r` with the agents a1 and a2, and one rig `s` with b1.
  static town::desired_state usual_town(std::int64_t version = 1) {
    return town_of({rig_of("r", {agent_of("a1"), agent_of("a2")}), rig_of("s", {agent_of("b1")})}, version);
  }
  void wake(town::desired_state desired = usual_town()) {
    desire(std::move(desired));
    advance(std::chrono::seconds{1});
    REQUIRE(published->read()->all_restored);
  }

  pending<start_answer> start(const std::string& rig_id, const std::string& agent_id, const std::string& dispatch_id) {
    start_agent order;
    order.request.agent_id = agent_id;
    order.request.rig_id = rig_id;
    order.request.dispatch_id = dispatch_id;
    return ask<start_answer>(subject, std::move(order));
  }
  std::string status_of(const std::string& agent_id) {
    const auto answer = ask<agent_status_answer>(subject, agent_status_query{agent_id});
    return answer->status ? answer->status->status : "unknown";
  }
  void stop(const std::string& agent_id) { CHECK(ask<stop_answer>(subject, stop_agent{agent_id})->known); }

  /// Crashes the child that spoke last as `key` ("rig/r", "worktree/a1", "agent/a1").
  void crash(const std::string& key) {
    REQUIRE(heard->speakers.contains(key));
    kill(heard->speakers.at(key));
    run();
  }
  void crash_saver_of(const std::string& agent_id) {
    REQUIRE(git->savers.contains(agent_id));
    kill(git->savers.at(agent_id));
    run();
  }
  std::size_t fetches_of(const std::string& rig_id) const {
    return static_cast<std::size_t>(
        std::count_if(git->fetches.begin(), git->fetches.end(), [&](const auto& f) { return f.job.rig_id == rig_id; }));
  }
  std::size_t removals_of(const std::string& agent_id) const {
    return static_cast<std::size_t>(std::count_if(git->worktrees.begin(), git->worktrees.end(), [&](const auto& w) {
      return w.job.agent_id == agent_id && w.remove;
    }));
  }
  const git::worktree_job& last_restore_of(const std::string& agent_id) const {
    for (auto it = git->worktrees.rbegin(); it != git->worktrees.rend(); ++it)
      if (it->job.agent_id == agent_id && !it->remove) return it->job;
    throw std::logic_error("no worktree job of " + agent_id);
  }
  bool is_ready() const {
    const auto now = published->read();
    return now->converged && now->all_restored;
  }

private:
  health_actor spawn_real_health(std::chrono::milliseconds idle_interval) {
    health_config config;
    config.instance_id = "instance";
    config.idle_interval = idle_interval;
    config.version = "test";
    config.published = published;
    config.metrics = std::make_shared<metrics::daemon_metrics>("test");
    config.town = link;
    config.wall_clock = [] { return std::string{"2026-01-01T00:00:00Z"}; };
    return system().spawn(health, std::move(config));
  }
};

} // namespace townkeeper::simulation
