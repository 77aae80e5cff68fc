#include "actors/saver.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "protection_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

using pushes = std::vector<git::pushed_point>;

} // namespace

TEST_CASE("two pushes of a rig begin at least the interval apart; what comes meanwhile goes with the next") {
  protection_simulation sim;
  sim.settle({"a1"});
  for (int i = 0; i < 600; ++i) {
    sim.edit("a1", "edit " + std::to_string(i));
    sim.advance(100ms);
  }
  const auto& pushed = sim.git->pushes;
  REQUIRE(pushed.size() >= 5);
  CHECK(pushed.size() <= 6);
  for (std::size_t i = 1; i < pushed.size(); ++i)
    CHECK(pushed[i].at - pushed[i - 1].at >= 10s);
}

TEST_CASE("the agents of a rig go together in one push") {
  protection_simulation sim{eight};
  sim.settle(eight);
  for (const auto& a : eight) {
    sim.edit(a, "of " + a);
    sim.advance(100ms);
  }
  sim.advance(20s);
  for (const auto& a : eight)
    CHECK(sim.saved(a) == "of " + a);
  // Also those that had not been quiet for long enough when the first of them began it.
  REQUIRE(sim.git->pushes.size() == 1);
  CHECK(sim.agents_of_push(0).size() == 8);
  CHECK(sim.git->pushes[0].job.items[0].ref == "refs/townkeeper/town/a1/3");
  CHECK(sim.git->snapshots[0].job.agent_branches.contains("work/a8"));
  CHECK(sim.town_said->points.size() == 8);
}

TEST_CASE("who never stands still is in each round all the same: nothing is older than the interval and one push") {
  protection_simulation sim{{"a1", "a2"}};
  sim.settle({"a1", "a2"});
  milliseconds oldest{0};
  for (int i = 0; i < 100; ++i) {
    if (i % 20 == 0) sim.edit("a1", "of a1, " + std::to_string(i));
    sim.edit("a2", "of a2, " + std::to_string(i));
    sim.advance(500ms);
    oldest = std::max(oldest, sim.unsaved_age("a2").value_or(0ms));
  }
  CHECK(oldest > 5s);
  CHECK(oldest <= 10s + 500ms);
}

TEST_CASE("agents that change at the same moment go together at once") {
  protection_simulation sim{eight};
  sim.settle(eight);
  for (const auto& a : eight)
    sim.edit(a, "of " + a);
  sim.advance(3s);
  CHECK(sim.git->pushes.size() == 1);
  for (const auto& a : eight)
    CHECK(sim.saved(a) == "of " + a);
}

TEST_CASE("save_now of all agents is one push") {
  protection_simulation sim{eight};
  sim.settle(eight);
  std::vector<pending<save_answer>> answers;
  for (const auto& a : eight) {
    sim.edit(a, "of " + a);
    answers.push_back(sim.save_now_of(a));
  }
  sim.advance(200ms);
  for (const auto& answer : answers)
    CHECK(answer->point.value());
  CHECK(sim.git->pushes.size() == 1);
  CHECK(sim.git->pushes[0].job.items[0].kind == "drain");
}

TEST_CASE("with one agent's snapshot hanging the other seven are saved in the same time") {
  protection_simulation sim{eight};
  sim.settle(eight);
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    return job.agent_id == "a3" ? hanging<git::snapshot>() : sim.git->taken(job);
  };
  SECTION("drain") {
    std::map<std::string, pending<save_answer>> answers;
    for (const auto& a : eight) {
      sim.edit(a, "of " + a);
      answers[a] = sim.save_now_of(a);
    }
    sim.advance(3s);
    for (const auto& a : eight)
      CHECK(answers.at(a).has_come() == (a != "a3"));
    sim.advance(7s);
    CHECK(answers.at("a3")->point.error().code == error_code::timed_out);
  }
  SECTION("day by day") {
    for (int round = 0; round < 6; ++round) {
      for (const auto& a : eight)
        sim.edit(a, std::to_string(round) + " of " + a);
      sim.advance(15s);
      for (const auto& a : eight)
        CHECK(sim.saved(a) == (a == "a3" ? "" : std::to_string(round) + " of " + a));
    }
    CHECK(sim.unsaved_age("a3") == 90s);
    // It hangs in one snapshot, not in one a round.
    CHECK(std::count_if(sim.git->snapshots.begin(), sim.git->snapshots.end(),
                        [](const auto& s) { return s.job.agent_id == "a3"; }) == 1);
  }
  SECTION("alone at first") {
    sim.edit("a3", "hangs");
    sim.advance(5s);
    sim.edit("a1", "fine");
    sim.advance(12s);
    CHECK(sim.saved("a1") == "fine");
  }
}

TEST_CASE("a late snapshot goes in a push of its own, beside one that hangs as well") {
  protection_simulation sim{{"a1", "a2"}};
  sim.settle({"a1", "a2"});
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    auto plan = sim.git->taken(job);
    if (job.agent_id == "a2") plan.after = 4s;
    return plan;
  };
  const bool hangs = GENERATE(false, true);
  bool first = true;
  sim.git->on_push = [&](const git::push_job& job) {
    return hangs && std::exchange(first, false) ? hanging<pushes>() : sim.git->pushed(job);
  };
  sim.edit("a1", "one");
  sim.edit("a2", "two");
  sim.advance(2s + 900ms);
  CHECK(sim.git->pushes.empty());
  sim.advance(200ms);
  REQUIRE(sim.git->pushes.size() == 1);
  CHECK(sim.agents_of_push(0) == std::vector<std::string>{"a1"});
  sim.advance(3s);
  REQUIRE(sim.git->pushes.size() == 2);
  CHECK(sim.agents_of_push(1) == std::vector<std::string>{"a2"});
  sim.advance(100ms);
  CHECK(sim.saved("a2") == "two");
  CHECK_FALSE(sim.unsaved_age("a2"));
}

TEST_CASE("a 401 refreshes the credentials once, and the same snapshots go again") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.asked.clear();
  sim.on_credentials = [](const git_credentials_query& q) {
    return std::optional{protection_simulation::login(q.refresh ? "fresh" : "stale")};
  };
  const bool accepted = GENERATE(true, false);
  sim.git->on_push = [&](const git::push_job& job) {
    return accepted && job.login->token.reveal() == "fresh" ? sim.git->pushed(job)
                                                            : failing<pushes>(error_code::unauthorized, "401");
  };
  sim.edit("a1", "one");
  sim.advance(2500ms);
  CHECK(sim.git->pushes.size() == 2);
  CHECK(sim.git->snapshots.size() == 1);
  CHECK(sim.asked.size() == 2);
  CHECK(sim.unsaved_age("a1").has_value() == !accepted);
}

TEST_CASE("a town that does not say the credentials does not stop a save that has had them") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.on_credentials = [](const git_credentials_query&) { return std::optional<git_credentials_answer>{}; };
  sim.edit("a1", "one");
  sim.advance(8s);
  REQUIRE(sim.git->pushes.size() == 1);
  CHECK(sim.git->pushes[0].job.login->token.reveal() == "token");
  CHECK(sim.saved("a1") == "one");
}

TEST_CASE("credentials of another remote are not sent to this one") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.on_credentials = [](const git_credentials_query&) {
    auto answer = protection_simulation::login("secret of another");
    answer.git_url = "https://elsewhere.example/r.git";
    return std::optional{answer};
  };
  sim.edit("a1", "one");
  sim.advance(8s);
  CHECK(sim.git->pushes.empty());
  CHECK(sim.unsaved_age("a1") == 8s);
}

TEST_CASE("the town being down does not make a saved point unsaved") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.town_said->on_point = [](const report_point&) { return std::optional<point_reported>{}; };
  sim.edit("a1", "one");
  const auto answer = sim.save_now_of("a1");
  sim.advance(300ms);
  CHECK(answer->point.value());
  CHECK_FALSE(sim.unsaved_age("a1"));
}

TEST_CASE("another remote has nothing of what the old one has") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  sim.advance(15s);
  auto moved = rig_of("r", {agent_of("a1")});
  moved.git_url = "https://elsewhere.example/r.git";
  sim.on_credentials = [&](const git_credentials_query&) {
    auto answer = protection_simulation::login("new");
    answer.git_url = moved.git_url;
    return std::optional{answer};
  };
  sim.tell(sim.saves, protect_rig{moved, "/rigs/r/repo.git"});
  auto again = sim.protection_of("a1");
  again.git_url = moved.git_url;
  sim.tell(sim.keepers.at("a1"), again);
  sim.advance(15s);
  REQUIRE(sim.git->pushes.size() == 2);
  CHECK(sim.git->pushes[1].job.url == moved.git_url);
  CHECK(sim.git->pushes[1].job.login->token.reveal() == "new");
}

TEST_CASE("what an older disk holds is kept under a ref of its own, and the town is told before the answer") {
  protection_simulation sim;
  git::snapshot_job job;
  job.rig_id = "r";
  job.agent_id = "a1";
  job.repository = "/rigs/r/repo.git";
  sim.git->moments["a1"] = "older";
  const auto outcome = GENERATE(0, 1, 2);
  if (outcome == 1) sim.town_said->on_point = [](const report_point&) { return std::optional<point_reported>{}; };
  if (outcome == 2)
    sim.git->on_push = [](const auto&) { return failing<pushes>(error_code::unavailable, "connection refused"); };
  const auto answer = sim.ask<keep_disk_answer>(sim.saves, keep_disk{job});
  sim.advance(1s);
  if (outcome == 2) {
    CHECK(answer->point.error().code == error_code::unavailable);
    return;
  }
  REQUIRE(sim.git->pushes.size() == 1);
  CHECK(sim.git->pushes[0].job.items[0].ref == "refs/townkeeper/town/a1/kept/3-1");
  REQUIRE(sim.town_said->points.size() == 1);
  CHECK(sim.town_said->points[0].kept);
  CHECK(answer.has_come() == (outcome == 0));
  if (outcome == 1) return;
  CHECK((*answer->point)->seq == 1);
  CHECK((*answer->point)->ref == "refs/townkeeper/town/a1/kept/3-1");
  // Its own points come after it, and are not taken for the same moment.
  sim.protect_agent("a1");
  sim.advance(15s);
  CHECK(sim.saved("a1") == "older");
  CHECK(sim.git->points.at(sim.ref_of("a1")).seq == 2);
}

TEST_CASE("old refs that could not be deleted are tried again") {
  protection_simulation sim;
  int tries = 0;
  sim.git->on_delete = [&](const git::delete_job& job) {
    ++tries;
    if (tries < 3) return failing<std::set<std::string>>(error_code::unavailable, "down");
    return git_plan<std::set<std::string>>{std::set<std::string>{job.refs.begin()->first}};
  };
  sim.tell(sim.saves, delete_refs{{{"refs/townkeeper/town/a1/2", "c"}}});
  sim.advance(10min);
  CHECK(tries == 3);
}

TEST_CASE("private objects are tidied when nothing else of the agent is under way") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_push = [&](const git::push_job& job) {
    auto plan = sim.git->pushed(job);
    plan.after = 2s;
    return plan;
  };
  sim.edit("a1", "one");
  sim.advance(3s);
  sim.edit("a1", "two");
  sim.save_now_of("a1");
  sim.advance(1010ms); // the first is acknowledged, the second waits to be pushed or is
  CHECK(sim.git->prunes.empty());
  sim.advance(5s);
  REQUIRE(sim.git->prunes.size() == 1);
  CHECK(sim.git->prunes[0].keep == std::vector<std::string>{sim.git->points.at(sim.ref_of("a1")).commit});
}

TEST_CASE("what was saved and how is counted") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  sim.advance(15s);
  sim.edit("a1", "one");
  sim.advance(15s);
  const auto text = sim.numbers->text();
  CHECK(text.find("townkeeper_saves_total{result=\"saved\"} 1\n") != std::string::npos);
  CHECK(text.find("townkeeper_saves_total{result=\"unchanged\"} 1\n") != std::string::npos);
  CHECK(text.find("townkeeper_saves_total{result=\"clean\"} 1\n") != std::string::npos);
  CHECK(text.find("townkeeper_push_seconds_count 2\n") != std::string::npos);
  CHECK(text.find("townkeeper_snapshot_seconds_count 3\n") != std::string::npos);
}

TEST_CASE("a saver that ends cancels its jobs") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_push = [](const auto&) { return hanging<pushes>(); };
  sim.edit("a1", "one");
  sim.advance(5s);
  REQUIRE(sim.git->pushes.size() == 1);
  sim.kill(sim.saves);
  sim.run();
  CHECK(*sim.git->pushes[0].job.cancel);
}

TEST_CASE("whatever order the actors run in, and whatever fails, the last moment is saved and the age ends") {
  const auto seed = GENERATE(range(1U, 40U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  protection_simulation sim{{"a1", "a2", "a3"}, seed};
  sim.run_in_random_order(seed);
  sim.settle({"a1", "a2", "a3"});
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    auto plan = sim.git->taken(job);
    plan.after = milliseconds{static_cast<int>(random() % 3000)};
    if (random() % 5 == 0) plan.outcome = error{error_code::disk, job.agent_id, "injected"};
    return plan;
  };
  sim.git->on_push = [&](const git::push_job& job) {
    if (random() % 4 == 0) return failing<pushes>(error_code::unavailable, "injected", 500ms);
    auto plan = sim.git->pushed(job);
    plan.after = milliseconds{static_cast<int>(random() % 3000)};
    return plan;
  };
  std::vector<pending<save_answer>> answers;
  for (int i = 0; i < 200; ++i) {
    const auto agent = "a" + std::to_string(1 + random() % 3);
    sim.edit(agent, agent + " edit " + std::to_string(i));
    if (random() % 20 == 0) answers.push_back(sim.save_now_of(agent));
    sim.advance(milliseconds{static_cast<int>(random() % 800)});
  }
  sim.git->on_snapshot = nullptr;
  sim.git->on_push = nullptr;
  sim.advance(3min);
  for (const auto* agent : {"a1", "a2", "a3"}) {
    CHECK(sim.saved(agent) == sim.git->moments.at(agent));
    CHECK_FALSE(sim.unsaved_age(agent));
  }
  for (const auto& answer : answers)
    CHECK(answer.has_come());
}
