#include <catch2/catch_test_macros.hpp>

#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <cmath>

#include "health_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

TEST_CASE("the picture says how far each agent's work is off the machine, and how old the oldest change is") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1"), agent_of("a2")})}));
  const auto since = sim.now();
  const error down{error_code::unavailable, "a1", "connection refused"};
  sim.tell(sim.subject, protection_changed{"a1", since, "2026-01-01T00:00:00Z", 3, down, false});
  sim.tell(sim.subject, protection_changed{"a2", std::nullopt, "", 0, std::nullopt, false});
  sim.advance(5s);
  const auto doc = sim.document();
  const auto& protection = doc["recovery"]["protection"];
  CHECK(protection["unsavedAgeSeconds"].GetDouble() >= 4);
  CHECK(protection["unsavedAgeSeconds"].GetDouble() <= 5);
  REQUIRE(protection["agents"].Size() == 2);
  CHECK(protection["agents"][0]["agentId"].GetString() == std::string{"a1"});
  CHECK(protection["agents"][0]["lastSavedAt"].GetString() == std::string{"2026-01-01T00:00:00Z"});
  CHECK(protection["agents"][0]["dirtyFiles"].GetInt() == 3);
  CHECK(protection["agents"][0]["lastError"].GetString() == to_string(down));
  CHECK_FALSE(protection["agents"][1].HasMember("lastError"));
  CHECK_FALSE(protection["agents"][1].HasMember("lastSavedAt"));
  // Saved, and ended.
  sim.tell(sim.subject, protection_changed{"a1", std::nullopt, "2026-01-01T00:00:05Z", 3, std::nullopt, false});
  protection_changed gone;
  gone.agent_id = "a2";
  gone.gone = true;
  sim.tell(sim.subject, gone);
  sim.advance(60ms);
  const auto after = sim.document();
  CHECK(after["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble() == 0);
  CHECK(after["recovery"]["protection"]["agents"].Size() == 1);
  CHECK(sim.numbers->text().find("townkeeper_unsaved_age_seconds 0\n") != std::string::npos);
}

TEST_CASE("the unsaved age survives a crash of the keeper, until its successor has saved") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1")})}));
  const auto someone = [&] {
    return sim.keep(sim.system().spawn([](caf::event_based_actor*) { return caf::behavior{[](int) {}}; }));
  };
  const auto says = [&](const caf::actor& teller, std::optional<caf::actor_clock::time_point> since) {
    caf::send_as(teller, sim.subject, protection_changed{"a1", since, "", 1, std::nullopt, false});
    sim.run();
  };
  const auto age = [&] {
    sim.advance(60ms);
    return std::lround(sim.document()["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble());
  };
  const auto keeper = someone(), supervisor = someone(), successor = someone();
  says(keeper, sim.now());
  sim.advance(40s);
  const auto began = sim.now();
  says(supervisor, began); // it keeps crashing
  CHECK(age() == 40);
  says(successor, began);
  sim.advance(20s);
  says(successor, began); // a save of it failed
  CHECK(age() == 60);
  SECTION("its first save leaves a later change") {
    says(successor, began + 15s);
    CHECK(age() == 5);
    says(successor, began);
    CHECK(age() == 20); // what it says now is its own
  }
  SECTION("its first save leaves nothing") {
    says(successor, std::nullopt);
    CHECK(age() == 0);
    says(someone(), sim.now());
    CHECK(age() == 0);
  }
}

TEST_CASE("a heartbeat says the unsaved age of every worktree that is watched, with or without a process") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1"), agent_of("a2"), agent_of("a3")})}));
  process_changed running;
  running.process = {"a1", "r1", "running", 77, "2026-01-01T00:00:00Z"};
  sim.tell(sim.subject, running);
  running.process.agent_id = "a3";
  sim.tell(sim.subject, running);
  sim.tell(sim.subject, protection_changed{"a1", sim.now(), "", 1, std::nullopt, false});
  sim.tell(sim.subject, protection_changed{"a2", std::nullopt, "", 0, std::nullopt, false});
  sim.advance(7s);
  const auto facts = sim.ask<heartbeat_facts>(sim.subject, heartbeat_query{});
  REQUIRE(facts->agents.size() == 3);
  CHECK(facts->agents[0].unsaved_age_seconds == 7.0);
  CHECK_FALSE(facts->agents[1].unsaved_age_seconds); // nobody watches a3
  CHECK(facts->agents[2].agent_id == "a2");
  CHECK(facts->agents[2].status == "idle");
  CHECK(facts->agents[2].unsaved_age_seconds == 0.0);
}
