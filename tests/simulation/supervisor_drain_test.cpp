#include <catch2/generators/catch_generators.hpp>

#include "supervisor_fixture.hpp"
#include "tests/support/temp_dir.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

std::string ref_of(const std::string& agent_id, int epoch = 1) {
  return "refs/townkeeper/town/" + agent_id + "/" + std::to_string(epoch);
}

const town::drained_agent* drained(const town_simulation& sim, const std::string& agent_id) {
  for (const auto& one : sim.town_said->drained.back().agents)
    if (one.agent_id == agent_id) return &one;
  return nullptr;
}

bool has_ended(town_simulation& sim) {
  return !sim.is_alive(sim.subject);
}

} // namespace

TEST_CASE("a drain saves every worktree, then ends the agents, then saves what they did meanwhile") {
  town_simulation sim;
  sim.wake();
  sim.processes->obedient = false;
  sim.start("r", "a1", "d1");
  sim.run();
  sim.git->moments["a1"] = "first";
  sim.git->moments["b1"] = "other";
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  CHECK_FALSE(sim.processes->last().stop_wanted); // saved first
  sim.advance(1s);
  CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("first"));
  CHECK(sim.git->points.at(ref_of("a1")).kind == "drain");
  CHECK(sim.processes->last().stop_wanted);
  CHECK(sim.town_said->drained.empty());
  sim.git->moments["a1"] = "second";
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(has_ended(sim));
  REQUIRE(sim.town_said->drained.size() == 1);
  CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("second"));
  REQUIRE(drained(sim, "a1") != nullptr);
  CHECK(drained(sim, "a1")->saved);
  CHECK(drained(sim, "a1")->ref == ref_of("a1"));
  CHECK(drained(sim, "a1")->commit == sim.git->points.at(ref_of("a1")).commit);
  CHECK(*sim.exit_code == 0);
}

TEST_CASE("a save that hangs holds nobody else's up, and the exit code says that something is unsaved") {
  town_simulation sim;
  sim.wake();
  sim.git->moments["a1"] = "hangs";
  sim.git->moments["a2"] = "fine";
  sim.git->moments["b1"] = "fine";
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    return job.agent_id == "a1" ? hanging<git::snapshot>() : sim.git->taken(job);
  };
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(2s);
  CHECK(sim.git->points.contains(ref_of("a2")));
  CHECK(sim.git->points.contains(ref_of("b1")));
  CHECK_FALSE(has_ended(sim));
  sim.advance(30s);
  CHECK(has_ended(sim));
  CHECK(*sim.exit_code == 75);
  CHECK_FALSE(drained(sim, "a1")->saved);
  CHECK(drained(sim, "a1")->failure);
  CHECK(drained(sim, "a2")->saved);
}

TEST_CASE("the town being silent keeps no drain from ending") {
  town_simulation sim;
  sim.wake();
  sim.git->moments["a1"] = "work";
  sim.town_said->on_drained = [](const report_drained&) { return std::nullopt; };
  sim.town_said->on_point = [](const report_point&) { return std::nullopt; };
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(10s);
  CHECK(has_ended(sim));
  CHECK(*sim.exit_code == 0); // saved on the remote is saved
}

TEST_CASE("a second signal shortens the waiting for agents, never the saving") {
  town_simulation sim;
  sim.wake();
  sim.processes->obedient = false;
  sim.start("r", "a1", "d1");
  sim.run();
  sim.git->moments["a1"] = "work";
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(1s);
  CHECK(sim.git->points.contains(ref_of("a1")));
  CHECK_FALSE(has_ended(sim));
  sim.git->moments["a1"] = "more";
  sim.processes->end("a1", {std::nullopt, 9, ""});
  sim.advance(1s);
  CHECK(has_ended(sim));
  CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("more"));
}

TEST_CASE("an agent that does not end is waited for until the limit; its work is saved as it stands") {
  town_simulation sim;
  sim.wake();
  sim.processes->obedient = false;
  sim.start("r", "a1", "d1");
  sim.run();
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(800s);
  CHECK_FALSE(has_ended(sim));
  sim.git->moments["a1"] = "late";
  sim.advance(60s);
  CHECK(has_ended(sim));
  CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("late"));
}

TEST_CASE("fenced: the agents are stopped, then each is saved under this epoch's own ref; the exit code is 75") {
  town_simulation sim;
  sim.wake();
  sim.processes->obedient = false;
  sim.start("r", "a1", "d1");
  sim.run();
  sim.tell(sim.subject, fenced{});
  CHECK(sim.processes->last().stop_wanted);
  sim.git->moments["a1"] = "last";
  sim.git->moments["b1"] = "other";
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("last"));
  CHECK(sim.git->points.at(ref_of("b1")).commit.starts_with("other"));
  CHECK_FALSE(has_ended(sim));
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(1s);
  CHECK(has_ended(sim));
  CHECK(*sim.exit_code == 75);
}

TEST_CASE("while the predecessor drains the rigs restore and the worktrees wait; then the remote is listed once more") {
  town_simulation sim;
  auto desired = town_simulation::usual_town();
  desired.epoch = 2;
  desired.old_container = town::predecessor{1, true, ""};
  const auto still = [&] { return desired_state_answer{desired}; };
  sim.town_said->on_reread = [&]() -> std::optional<desired_state_answer> { return still(); };
  sim.desire(desired);
  sim.advance(5s);
  CHECK(sim.fetches_of("r") == 1);
  CHECK(sim.git->restores_of("a1") == 0);
  SECTION("it ends") {
    auto gone = desired;
    gone.old_container.reset();
    sim.town_said->on_reread = [&, gone]() -> std::optional<desired_state_answer> {
      return desired_state_answer{gone};
    };
    sim.advance(2s);
    CHECK(sim.fetches_of("r") == 2);
    CHECK(sim.git->restores_of("a1") == 1);
    CHECK(sim.is_ready());
  }
  SECTION("it does not") {
    sim.advance(9s);
    CHECK(sim.git->restores_of("a1") == 0);
    sim.advance(3s);
    CHECK(sim.fetches_of("r") == 2);
    CHECK(sim.git->restores_of("a1") == 1);
    CHECK(sim.is_ready());
  }
}

TEST_CASE("a predecessor that says nothing is not waited for") {
  town_simulation sim;
  auto desired = town_simulation::usual_town();
  desired.epoch = 2;
  desired.old_container = town::predecessor{1, false, ""};
  sim.desire(desired);
  sim.advance(1s);
  CHECK(sim.is_ready());
}

TEST_CASE("what the town knows the container before to have saved makes no point by itself, anything else does") {
  town_simulation sim;
  auto desired = town_simulation::usual_town();
  desired.epoch = 2;
  desired.rigs[0].agents[0].maybe_lost_seconds = 3;
  sim.wake(desired);
  sim.advance(20s);
  REQUIRE(sim.git->points.size() == 1);
  CHECK(sim.git->points.begin()->first == "refs/townkeeper/town/a1/2");
  CHECK(sim.git->points.begin()->second.clean);
}

TEST_CASE("an agent that leaves is saved before its worktree is removed") {
  town_simulation sim;
  sim.wake();
  sim.git->moments["a1"] = "unsaved";
  bool saved_first = false;
  sim.git->on_removal = [&](const git::worktree_job&) {
    saved_first = sim.git->points.contains(ref_of("a1"));
    return git_plan<git::worktree_removal>{git::worktree_removal{true, ""}};
  };
  sim.desire(town_of({rig_of("r", {agent_of("a2")}), rig_of("s", {agent_of("b1")})}, 2));
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 1);
  CHECK(saved_first);
  // Nobody speaks of its protection any more.
  const auto last_word = std::find_if(sim.heard->protection.rbegin(), sim.heard->protection.rend(),
                                      [](const auto& p) { return p.agent_id == "a1"; });
  REQUIRE(last_word != sim.heard->protection.rend());
  CHECK(last_word->gone);
}

TEST_CASE("an agent that leaves while it works is saved at its end, also where its keeper crashes meanwhile") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  sim.advance(20s);
  REQUIRE(sim.start("r", "a1", "d1")->status == 201);
  sim.desire(town_of({rig_of("r", {agent_of("a2")}), rig_of("s", {agent_of("b1")})}, 2));
  sim.advance(1s);
  sim.git->moments["a1"] = "its last work";
  bool saved_first = false;
  sim.git->on_removal = [&](const git::worktree_job&) {
    saved_first = sim.git->points.contains(ref_of("a1"));
    return git_plan<git::worktree_removal>{git::worktree_removal{true, ""}};
  };
  const bool ends_at_once = GENERATE(true, false);
  sim.crash("keeper/a1");
  if (!ends_at_once) {
    sim.advance(1min);
    CHECK(sim.git->points.contains(ref_of("a1"))); // it is watched over while it works
  }
  sim.processes->end("a1");
  sim.advance(1min);
  CHECK(sim.removals_of("a1") == 1);
  CHECK(saved_first);
  CHECK_FALSE(sim.known_agents.contains("a1"));
  const auto last_word = std::find_if(sim.heard->protection.rbegin(), sim.heard->protection.rend(),
                                      [](const auto& p) { return p.agent_id == "a1"; });
  REQUIRE(last_word != sim.heard->protection.rend());
  CHECK(last_word->gone);
}

TEST_CASE(
    "an agent that leaves is saved before it is removed, also where its saver crashes during that save or before") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  const bool during = GENERATE(true, false);
  CAPTURE(during);
  if (!during) sim.advance(20s); // else its first save is its last
  sim.git->moments["a1"] = "its last work";
  bool saved_first = false;
  sim.git->on_removal = [&](const git::worktree_job&) {
    saved_first = sim.git->points.contains(ref_of("a1"));
    return git_plan<git::worktree_removal>{git::worktree_removal{true, ""}};
  };
  const auto without_a1 = town_of({rig_of("r", {agent_of("a2")}), rig_of("s", {agent_of("b1")})}, 2);
  if (during) {
    sim.git->on_push = [](const git::push_job&) {
      auto plan = failing<std::vector<git::pushed_point>>(error_code::unavailable, "no remote");
      plan.after = 5s;
      return plan;
    };
    sim.desire(without_a1);
    sim.advance(1s);
    sim.crash_saver_of("a1");
  } else { // with its keeper, before the agent's process ends
    REQUIRE(sim.start("r", "a1", "d1")->status == 201);
    sim.desire(without_a1);
    sim.advance(100ms);
    sim.crash_saver_of("a1");
    sim.crash("keeper/a1");
    sim.processes->end("a1");
  }
  sim.git->on_push = nullptr;
  sim.advance(1min);
  CHECK(sim.removals_of("a1") == 1);
  CHECK(saved_first);
  CHECK_FALSE(sim.known_agents.contains("a1"));
}

TEST_CASE("an agent that leaves and cannot be saved has its time, and is then removed or kept all the same") {
  town_simulation sim;
  sim.wake();
  sim.git->moments["a1"] = "unsaved";
  sim.git->on_push = [](const git::push_job&) {
    return failing<std::vector<git::pushed_point>>(error_code::unavailable, "no remote");
  };
  sim.desire(town_of({rig_of("r", {agent_of("a2")}), rig_of("s", {agent_of("b1")})}, 2));
  sim.advance(9s);
  CHECK(sim.removals_of("a1") == 0);
  sim.advance(2s);
  CHECK(sim.removals_of("a1") == 1);
  CHECK_FALSE(sim.known_agents.contains("a1"));
  const auto words = std::count_if(sim.heard->protection.begin(), sim.heard->protection.end(),
                                   [](const auto& p) { return p.agent_id == "a1" && p.gone; });
  CHECK(words == 1);
}

TEST_CASE("POST /snapshot: the newest point of each, and what is unsaved by name") {
  town_simulation sim;
  sim.wake();
  sim.git->moments["a1"] = "work";
  const auto all = sim.ask<snapshot_answer>(sim.subject, snapshot_query{});
  const auto none = sim.ask<snapshot_answer>(sim.subject, snapshot_query{"nobody"});
  REQUIRE(none->failures.size() == 1);
  CHECK(none->failures[0].code == error_code::not_found);
  CHECK(none->unknown_agent);
  sim.advance(1s);
  REQUIRE(all->points.size() == 1);
  CHECK(all->points[0].ref == ref_of("a1"));
  CHECK(all->points[0].kind == "manual");
  CHECK(all->failures.empty());
}

TEST_CASE("a crashed keeper is started again, and protects as before") {
  town_simulation sim;
  sim.wake();
  sim.crash("keeper/a1");
  sim.git->moments["a1"] = "after the crash";
  sim.advance(30s);
  CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("after the crash"));
}

TEST_CASE("an actor that the daemon cannot do without crashes: everything is saved, then it ends with 70") {
  town_simulation sim;
  sim.wake();
  sim.git->moments["a1"] = "work";
  sim.kill(sim.link);
  sim.advance(15s);
  CHECK(has_ended(sim));
  CHECK(*sim.exit_code == 70);
  CHECK(sim.git->points.contains(ref_of("a1")));
}

TEST_CASE("a drain saves what a warm disk holds that could not be restored, or names it") {
  test::temp_dir workspace{"warm"};
  const auto rigs = workspace.path() / "rigs";
  for (const auto* agent : {"a1", "a2"}) {
    std::filesystem::create_directories(rigs / "r/worktrees" / agent);
    std::filesystem::create_directories(rigs / "r/repo.git/worktrees" / agent);
  }
  town_simulation sim{7, 1s, rigs};
  sim.git->on_fetch = [&](const git::repository_job& job) {
    return job.rig_id == "r" ? failing<git::repository_restored>(error_code::unavailable, "connection refused")
                             : sim.git->fetched(job);
  };
  sim.desire(town_simulation::usual_town());
  sim.git->moments["a1"] = "left by the last container"; // and a2 is clean
  SECTION("the remote is back: under the agent's own ref") {
    sim.advance(50s);
    sim.tell(sim.subject, shutdown{"SIGTERM"});
    sim.advance(30s);
    CHECK(has_ended(sim));
    CHECK(*sim.exit_code == 0);
    CHECK(sim.git->points.at(ref_of("a1")).commit.starts_with("left by the last container"));
    CHECK(drained(sim, "a1")->saved);
    CHECK(drained(sim, "a1")->ref == ref_of("a1"));
    CHECK(drained(sim, "a2") == nullptr);
    // Once: nobody has worked in it since.
    CHECK(std::count_if(sim.git->snapshots.begin(), sim.git->snapshots.end(),
                        [](const auto& s) { return s.job.agent_id == "a1"; }) == 1);
    CHECK(sim.git->restores_of("a1") == 0);
  }
  SECTION("the same while the rig still tries") {
    sim.tell(sim.subject, shutdown{"SIGTERM"});
    sim.advance(30s);
    CHECK(*sim.exit_code == 0);
    CHECK(drained(sim, "a1")->ref == ref_of("a1"));
  }
  SECTION("the remote is back, and has a newer point: as a kept one") {
    sim.git->older_disks = {"a1"};
    sim.advance(50s);
    sim.tell(sim.subject, shutdown{"SIGTERM"});
    sim.advance(30s);
    CHECK(*sim.exit_code == 0);
    CHECK_FALSE(sim.git->points.contains(ref_of("a1")));
    REQUIRE(drained(sim, "a1") != nullptr);
    CHECK(git::is_kept_point(*drained(sim, "a1")->ref));
    CHECK(sim.town_said->points.back().kept);
  }
  SECTION("the remote is down: named, with the reason; what is clean is not") {
    sim.git->on_push = [&](const git::push_job& job) {
      return job.rig_id == "r" ? failing<std::vector<git::pushed_point>>(error_code::unavailable, "connection refused")
                               : sim.git->pushed(job);
    };
    sim.advance(50s);
    sim.tell(sim.subject, shutdown{"SIGTERM"});
    sim.advance(60s);
    CHECK(has_ended(sim));
    CHECK(*sim.exit_code == 75);
    REQUIRE(drained(sim, "a1") != nullptr);
    CHECK_FALSE(drained(sim, "a1")->saved);
    CHECK(drained(sim, "a1")->failure->message.find("connection refused") != std::string::npos);
    CHECK(drained(sim, "a2") == nullptr);
    CHECK(drained(sim, "b1")->saved);
  }
}
