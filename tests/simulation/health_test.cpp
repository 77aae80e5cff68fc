#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include <random>

#include "health_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

const auto two_rigs = town_of({rig_of("r1", {agent_of("a1"), agent_of("a2")}), rig_of("r2", {agent_of("b1")})});

worktree_progress at(const char* rig_id, const char* agent_id, town::agent_phase phase, std::int64_t done = 0,
                     std::int64_t total = 0) {
  return {rig_id, agent_id, phase, done, total, std::nullopt};
}

} // namespace

TEST_CASE("a town has converged exactly when all that is expected has settled") {
  health_simulation sim;
  sim.expect_town(two_rigs);
  sim.advance(50ms);
  CHECK(sim.phase() == "restoring");
  sim.rig_settles("r1");
  sim.agent_settles("r1", "a1");
  sim.agent_settles("r1", "a2");
  sim.agent_settles("r2", "b1");
  CHECK_FALSE(sim.published->read()->converged); // r2 itself has not
  sim.rig_settles("r2");
  CHECK(sim.published->read()->converged);
  CHECK(sim.phase() == "ready");
  CHECK(sim.published->read()->all_restored);
  CHECK(sim.document()["recovery"]["readyAt"].IsString());
  REQUIRE_FALSE(sim.town_said->ready.empty());
  CHECK(sim.town_said->last_ready().outcome == "ready");
  CHECK(sim.town_said->last_ready().desired_version == 1);
  CHECK(sim.town_said->last_ready().agents.size() == 3);
}

TEST_CASE("nothing has converged before it is known what is expected") {
  health_simulation sim;
  sim.rig_settles("r1");
  sim.agent_settles("r1", "a1");
  sim.advance(1min);
  CHECK(sim.phase() == "booting");
  CHECK_FALSE(sim.published->read()->converged);
  CHECK(sim.town_said->ready.empty());
  CHECK(sim.progress() == 0);
}

TEST_CASE("an empty town is ready at once") {
  health_simulation sim;
  sim.expect_town(town_of({}));
  CHECK(sim.phase() == "ready");
  CHECK(sim.progress() == 1);
  CHECK(sim.ready_outcomes() == std::vector<std::string>{"ready"});
}

TEST_CASE("one that failed makes the town degraded; its late success repeats ready") {
  health_simulation sim;
  sim.expect_town(two_rigs);
  sim.rig_settles("r1");
  sim.agent_settles("r1", "a1");
  sim.agent_settles("r1", "a2", town::agent_outcome::branch_missing);
  const error down{error_code::unavailable, "r2", "connection refused"};
  sim.rig_settles("r2", down);
  sim.agent_settles("r2", "b1", town::agent_outcome::failed);
  CHECK(sim.phase() == "degraded");
  CHECK(sim.published->read()->converged);
  CHECK_FALSE(sim.published->read()->all_restored);
  CHECK(sim.town_said->last_ready().outcome == "degraded");
  CHECK(sim.town_said->last_of_rig("r2").failure == down);
  CHECK(sim.town_said->last_of("a2").outcome == town::agent_outcome::branch_missing);
  sim.advance(1min);
  const auto before = sim.town_said->ready.size();
  sim.rig_settles("r2");
  sim.agent_settles("r2", "b1");
  sim.advance(1s);
  REQUIRE(sim.town_said->ready.size() > before);
  CHECK(sim.town_said->last_ready().outcome == "degraded");
  CHECK(sim.town_said->last_of("b1").outcome == town::agent_outcome::restored);
  sim.agent_settles("r1", "a2");
  sim.advance(1s);
  CHECK(sim.town_said->last_ready().outcome == "ready");
  CHECK(sim.phase() == "ready");
}

TEST_CASE("a recovered or diverged worktree counts as restored") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1"), agent_of("a2")})}));
  sim.rig_settles("r1");
  sim.agent_settles("r1", "a1", town::agent_outcome::recovered);
  sim.agent_settles("r1", "a2", town::agent_outcome::diverged);
  CHECK(sim.phase() == "ready");
}

TEST_CASE("partial reports go out as agents settle, at most four a second") {
  health_simulation sim;
  std::vector<town::agent_spec> agents;
  for (int i = 0; i < 40; ++i)
    agents.push_back(agent_of("a" + std::to_string(i)));
  sim.expect_town(town_of({rig_of("r1", agents)}));
  sim.rig_settles("r1");
  for (int i = 0; i < 39; ++i) {
    sim.agent_settles("r1", "a" + std::to_string(i));
    sim.advance(30ms);
  }
  sim.advance(1s);
  const auto& said = sim.town_said->ready;
  CHECK(said.size() >= 4);
  CHECK(said.size() <= 6);
  for (std::size_t i = 0; i < said.size(); ++i) {
    CHECK(said[i].report.outcome == "partial");
    if (i > 0) CHECK(said[i].at - said[i - 1].at >= 250ms);
  }
  // Nothing that settled is left unsaid, and nothing is said without need.
  CHECK(sim.town_said->last_of("a38").outcome == town::agent_outcome::restored);
  CHECK(sim.town_said->last_of("a39").outcome == town::agent_outcome::restoring);
  const auto count = said.size();
  sim.advance(10s);
  CHECK(sim.town_said->ready.size() == count);
  // The one that completes the picture does not wait.
  sim.agent_settles("r1", "a39");
  CHECK(sim.town_said->last_ready().outcome == "ready");
}

TEST_CASE("late outcomes are coalesced as well") {
  health_simulation sim;
  std::vector<town::agent_spec> agents;
  for (int i = 0; i < 100; ++i)
    agents.push_back(agent_of("a" + std::to_string(i)));
  sim.expect_town(town_of({rig_of("r1", agents)}));
  const error down{error_code::unavailable, "r1", "down"};
  const auto all_settle = [&](town::agent_outcome o) {
    for (int i = 0; i < 100; ++i)
      sim.agent_settles("r1", "a" + std::to_string(i), o);
  };
  sim.rig_settles("r1", down);
  all_settle(town::agent_outcome::failed);
  sim.advance(1min);
  const auto before = sim.town_said->ready.size();
  sim.rig_settles("r1");
  all_settle(town::agent_outcome::restored);
  sim.advance(1s);
  CHECK(sim.town_said->ready.size() <= before + 2);
  CHECK(sim.town_said->last_ready().outcome == "ready");
}

TEST_CASE("progress rises through the phases, never falls, and is 1 only when all has converged") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1")})}));
  std::vector<double> seen{sim.progress()};
  const auto then = [&](auto message) {
    sim.tell(sim.subject, message);
    sim.advance(60ms);
    seen.push_back(sim.progress());
  };
  CHECK(seen[0] == 0);
  then(rig_progress{"r1", town::rig_phase::fetching, 1, std::nullopt});
  then(rig_transfer{"r1", 500, 50, 100});
  CHECK(seen.back() > 0.2);
  then(rig_transfer{"r1", 1000, 100, 100});
  const auto complete = seen.back();
  then(rig_progress{"r1", town::rig_phase::retrying, 1, error{error_code::corrupt, "r1", "a flipped byte"}});
  then(rig_transfer{"r1", 10, 1, 100});
  CHECK(seen.back() == complete);
  sim.rig_settles("r1");
  then(at("r1", "a1", town::agent_phase::branch));
  then(at("r1", "a1", town::agent_phase::files, 0, 0));
  then(at("r1", "a1", town::agent_phase::files, 50, 100));
  CHECK(seen.back() > complete);
  then(at("r1", "a1", town::agent_phase::files, 100, 100));
  then(at("r1", "a1", town::agent_phase::verifying));
  CHECK(seen.back() < 1);
  then(at("r1", "a1", town::agent_phase::done)); // nobody may say so but by settling
  CHECK(seen.back() < 1);
  sim.agent_settles("r1", "a1");
  CHECK(sim.progress() == 1);
  // What is added later does not take it back.
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1"), agent_of("a2")})}, 2));
  sim.advance(1s);
  CHECK(sim.progress() == 1);
}

TEST_CASE("an agent is reported restored only by its own outcome for the branch and remote that are wanted now") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1")})}));
  sim.rig_settles("r1");
  auto said = sim.outcome("r1", agent_of("a1"), town::agent_outcome::restored);
  SECTION("another branch") {
    said.report.branch = "work/old";
  }
  SECTION("another remote") {
    said.git_url = "https://old.example/r1.git";
  }
  SECTION("another rig") {
    said.rig_id = "r9";
  }
  SECTION("another agent") {
    said.report.agent_id = "a9";
  }
  sim.tell(sim.subject, said);
  sim.advance(1s);
  CHECK_FALSE(sim.published->read()->converged);
  CHECK(sim.town_said->last_of("a1").outcome == town::agent_outcome::restoring);
}

TEST_CASE("a rig is ready only by its own outcome for the remote that is wanted now") {
  health_simulation sim;
  auto moved = rig_of("r1");
  moved.git_url = "https://elsewhere.example/r1.git";
  sim.expect_town(town_of({moved}));
  sim.rig_settles("r1");
  sim.advance(1s);
  CHECK_FALSE(sim.published->read()->converged);
}

TEST_CASE("a desired state that moves on takes back what does not hold any more") {
  health_simulation sim;
  sim.expect_town(two_rigs);
  sim.rig_settles("r1");
  sim.rig_settles("r2");
  sim.agent_settles("r1", "a1");
  sim.agent_settles("r1", "a2");
  sim.agent_settles("r2", "b1");
  sim.advance(1s);
  auto next = two_rigs;
  next.version = 2;
  SECTION("another branch: not settled until it is restored") {
    next.rigs[0].agents[0].branch = "work/new";
    sim.expect_town(next);
    sim.advance(1s);
    CHECK(sim.town_said->last_of("a1").outcome == town::agent_outcome::restoring);
    CHECK(sim.town_said->last_of("a2").outcome == town::agent_outcome::restored);
    CHECK(sim.town_said->last_ready().outcome == "partial");
    sim.tell(sim.subject, sim.outcome("r1", agent_on("a1", "work/new"), town::agent_outcome::restored));
    sim.advance(1s);
  }
  SECTION("another branch of an agent at work: what it has holds until its process has ended") {
    next.rigs[0].agents[0].branch = "work/new";
    sim.expect_town(next);
    auto held = sim.outcome("r1", agent_of("a1"), town::agent_outcome::restored);
    held.held = true;
    sim.tell(sim.subject, held);
    sim.advance(1s);
    CHECK(sim.town_said->last_of("a1").branch == "work/a1");
  }
  SECTION("another remote: rig and worktrees") {
    next.rigs[1].git_url = "https://elsewhere.example/r2.git";
    sim.expect_town(next);
    sim.advance(1s);
    CHECK(sim.town_said->last_of("b1").outcome == town::agent_outcome::restoring);
    CHECK(sim.town_said->last_of_rig("r2").outcome == town::rig_outcome::restoring);
    town::rig_report ready;
    ready.rig_id = "r2";
    ready.outcome = town::rig_outcome::ready;
    sim.tell(sim.subject, rig_settled{ready, next.rigs[1].git_url});
    auto restored = sim.outcome("r2", agent_of("b1"), town::agent_outcome::restored);
    restored.git_url = next.rigs[1].git_url;
    sim.tell(sim.subject, restored);
    sim.advance(1s);
  }
  SECTION("an agent and a rig left") {
    next.rigs.pop_back();
    next.rigs[0].agents.pop_back();
    sim.expect_town(next);
    CHECK(sim.town_said->last_ready().agents.size() == 1);
    CHECK(sim.town_said->last_ready().rigs.size() == 1);
  }
  SECTION("an agent moved to another rig: what it had there does not count") {
    next.rigs[1].agents.push_back(agent_of("a1"));
    next.rigs[0].agents.erase(next.rigs[0].agents.begin());
    sim.expect_town(next);
    sim.advance(1s);
    CHECK(sim.town_said->last_of("a1").outcome == town::agent_outcome::restoring);
    sim.agent_settles("r2", "a1");
    sim.advance(1s);
  }
  CHECK(sim.town_said->last_ready().outcome == "ready");
  CHECK(sim.town_said->last_ready().desired_version == 2);
}

TEST_CASE("an entry that was set aside leaves the town degraded, and is named with its reason") {
  health_simulation sim;
  auto desired = town_of({rig_of("r1", {agent_of("a1")})});
  desired.set_aside = {{"r9", "", "its gitUrl is hostile"}, {"r1", "a9", "no branch"}, {"", "", "not an object"}};
  sim.expect_town(desired);
  sim.rig_settles("r1");
  sim.agent_settles("r1", "a1");
  CHECK(sim.phase() == "degraded");
  CHECK(sim.town_said->last_ready().outcome == "degraded");
  CHECK(sim.town_said->last_of("a1").outcome == town::agent_outcome::restored);
  CHECK(sim.town_said->last_of("a9").outcome == town::agent_outcome::failed);
  CHECK(sim.town_said->last_of("a9").failure->message == "no branch");
  CHECK(sim.town_said->last_of_rig("r9").failure->message == "its gitUrl is hostile");
  const auto doc = sim.document();
  REQUIRE(doc["recovery"]["setAside"].Size() == 3);
  CHECK(std::string{doc["recovery"]["setAside"][2]["reason"].GetString()} == "not an object");
}

TEST_CASE("a rig or worktree that settled as failed does not flicker while it is tried again") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1")})}));
  sim.rig_settles("r1", error{error_code::unavailable, "r1", "down"});
  sim.agent_settles("r1", "a1", town::agent_outcome::failed);
  for (const auto phase : {town::rig_phase::checking, town::rig_phase::fetching})
    sim.tell(sim.subject, rig_progress{"r1", phase, 6, std::nullopt});
  sim.tell(sim.subject, at("r1", "a1", town::agent_phase::branch));
  sim.advance(1s);
  const auto doc = sim.document();
  const auto& rig = doc["recovery"]["rigs"][0];
  CHECK(std::string{rig["phase"].GetString()} == "failed");
  CHECK(std::string{rig["error"].GetString()}.find("down") != std::string::npos);
  CHECK(rig["attempts"].GetInt() == 6);
  const auto& agent = rig["agents"][0];
  CHECK(std::string{agent["phase"].GetString()} == "branch");
  CHECK(std::string{agent["outcome"].GetString()} == "failed");
  CHECK(std::string{agent["error"].GetString()}.find("injected") != std::string::npos);
}

TEST_CASE("the published document is valid JSON whatever its texts hold") {
  health_simulation sim;
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  std::mt19937 random{seed};
  const auto rubbish = [&] {
    std::string text(random() % 40, '\0');
    for (auto& c : text)
      c = static_cast<char>(random());
    return text;
  };
  auto agent = agent_on(rubbish(), rubbish());
  auto rig = rig_of(rubbish(), {agent});
  auto desired = town_of({rig});
  desired.set_aside = {{rubbish(), rubbish(), rubbish()}};
  sim.expect_town(desired);
  for (int i = 0; i < 30; ++i) {
    const error why{error_code::corrupt, rubbish(), rubbish()};
    sim.tell(sim.subject, rig_progress{rig.rig_id, town::rig_phase::retrying, i, why});
    sim.tell(sim.subject, worktree_progress{rig.rig_id, agent.agent_id, town::agent_phase::retrying, i, i, why});
    sim.tell(sim.subject, trouble{why});
    process_changed p;
    p.process = {rubbish(), rubbish(), rubbish(), 1, rubbish()};
    sim.tell(sim.subject, p);
    sim.advance(60ms);
    sim.document();
  }
}

TEST_CASE("the phase goes forward: a late word of the boot, or of restoring, does not undo it") {
  health_simulation sim;
  sim.tell(sim.subject, phase_changed{town::town_phase::reading_state, 3});
  CHECK(sim.phase() == "reading_state");
  CHECK(sim.published->read()->epoch == 3);
  sim.expect_town(town_of({rig_of("r1")}));
  sim.tell(sim.subject, phase_changed{town::town_phase::booting, 0});
  CHECK(sim.phase() == "restoring");
  SECTION("ready, then fenced, then drained") {
    sim.rig_settles("r1");
    CHECK(sim.phase() == "ready");
    CHECK(sim.numbers->text().find("townkeeper_ready 1") != std::string::npos);
    sim.tell(sim.subject, phase_changed{town::town_phase::fenced, 0});
    CHECK(sim.phase() == "fenced");
    CHECK(sim.numbers->text().find("townkeeper_ready 0") != std::string::npos);
    sim.rig_settles("r1");
    sim.expect_town(town_of({rig_of("r1")}, 2));
    CHECK(sim.phase() == "fenced");
    sim.tell(sim.subject, phase_changed{town::town_phase::drained, 0});
    CHECK(sim.phase() == "drained");
    CHECK(sim.document()["draining"].GetBool());
  }
  SECTION("draining while restoring") {
    sim.tell(sim.subject, phase_changed{town::town_phase::draining, 0});
    sim.rig_settles("r1");
    CHECK(sim.phase() == "draining");
    CHECK(sim.document()["draining"].GetBool());
  }
}

TEST_CASE("trouble is shown until it is over") {
  health_simulation sim;
  sim.tell(sim.subject, trouble{error{error_code::unauthorized, "container-boot", "401"}});
  sim.advance(60ms);
  CHECK(sim.document()["recovery"]["trouble"].IsObject());
  sim.tell(sim.subject, trouble{});
  sim.advance(60ms);
  CHECK_FALSE(sim.document()["recovery"].HasMember("trouble"));
}

TEST_CASE("a change is published within 50 ms, and the uptime once a second without one") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1")}));
  sim.advance(5s);
  const auto before = sim.published->read();
  sim.tell(sim.subject, rig_progress{"r1", town::rig_phase::fetching, 1, std::nullopt});
  sim.advance(50ms);
  const auto after = sim.published->read();
  CHECK(after->document->find("fetching") != std::string::npos);
  CHECK(before->document->find("fetching") == std::string::npos);
  sim.advance(1s);
  CHECK(sim.published->read() != after);
}

TEST_CASE("progress is said to the town at most once a second, until all has converged") {
  health_simulation sim;
  sim.advance(5s);
  CHECK(sim.town_said->progress.empty());
  sim.expect_town(town_of({rig_of("r1")}));
  for (int i = 0; i < 200; ++i) {
    sim.tell(sim.subject, rig_transfer{"r1", i, i, 1000});
    sim.advance(50ms);
  }
  CHECK(sim.town_said->progress.size() >= 9);
  CHECK(sim.town_said->progress.size() <= 11);
  sim.rig_settles("r1");
  const auto said = sim.town_said->progress.size();
  sim.advance(10s);
  CHECK(sim.town_said->progress.size() == said);
}

TEST_CASE("a heartbeat says what each process does and when it last did anything") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1"), agent_of("a2")})}));
  process_changed running;
  running.process = {"a1", "r1", "running", 77, "2026-01-01T00:00:00Z"};
  running.last_activity_at = "at-its-start";
  sim.tell(sim.subject, running);
  process_changed exited;
  exited.process = {"a2", "r1", "exited", std::nullopt, "2026-01-01T00:00:00Z"};
  exited.last_activity_at = "at-its-end";
  sim.tell(sim.subject, exited);
  const auto facts = sim.ask<heartbeat_facts>(sim.subject, heartbeat_query{});
  REQUIRE(facts->agents.size() == 2);
  CHECK(facts->agents[0].agent_id == "a1");
  CHECK(facts->agents[0].status == "running");
  CHECK(facts->agents[0].last_activity_at == "activity-of-77");
  CHECK(facts->agents[1].status == "exited");
  CHECK(facts->agents[1].last_activity_at == "at-its-end");
  sim.advance(60ms);
  CHECK(sim.document()["agents"].Size() == 2);
  exited.gone = true;
  sim.tell(sim.subject, exited);
  CHECK(sim.ask<heartbeat_facts>(sim.subject, heartbeat_query{})->agents.size() == 1);
}

TEST_CASE("fetched bytes are counted once, over attempts") {
  health_simulation sim;
  sim.expect_town(town_of({rig_of("r1")}));
  const auto counted = [&](const char* bytes) {
    return sim.numbers->text().find(std::string{"townkeeper_fetched_bytes_total "} + bytes + "\n") != std::string::npos;
  };
  sim.tell(sim.subject, rig_progress{"r1", town::rig_phase::fetching, 1, std::nullopt});
  sim.tell(sim.subject, rig_transfer{"r1", 100, 1, 10});
  sim.tell(sim.subject, rig_transfer{"r1", 300, 3, 10});
  CHECK(counted("300"));
  sim.tell(sim.subject, rig_transfer{"r1", 200, 2, 10}); // the late word of a worker that was given up
  CHECK(counted("300"));
  sim.tell(sim.subject, rig_progress{"r1", town::rig_phase::fetching, 2, std::nullopt});
  sim.tell(sim.subject, rig_transfer{"r1", 50, 1, 10});
  CHECK(counted("350"));
}

TEST_CASE("the durations of the first restore are measured") {
  health_simulation sim;
  sim.advance(2s);
  sim.expect_town(town_of({rig_of("r1", {agent_of("a1")})}));
  sim.advance(3s);
  sim.rig_settles("r1");
  sim.advance(4s);
  sim.agent_settles("r1", "a1");
  const auto text = sim.numbers->text();
  CHECK(text.find(R"(townkeeper_restore_seconds{phase="boot"} 2)") != std::string::npos);
  CHECK(text.find(R"(townkeeper_restore_seconds{phase="repositories"} 3)") != std::string::npos);
  CHECK(text.find(R"(townkeeper_restore_seconds{phase="worktrees"} 4)") != std::string::npos);
  CHECK(text.find(R"(townkeeper_restore_seconds{phase="total"} 9)") != std::string::npos);
  CHECK(sim.town_said->last_ready().duration_ms == 9000);
  CHECK(text.find(R"(townkeeper_agents{outcome="restored"} 1)") != std::string::npos);
  CHECK(text.find(R"(townkeeper_rigs{phase="ready"} 1)") != std::string::npos);
}
