#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include <csignal>

#include "supervisor_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

/// From the crash of `key` until its successor speaks.
std::chrono::nanoseconds pause_after_crash(town_simulation& sim, const std::string& key, std::chrono::seconds limit) {
  const auto old = sim.heard->speakers.at(key);
  sim.crash(key);
  const auto begun = sim.now();
  REQUIRE(sim.advance_until([&] { return sim.heard->speakers.at(key) != old; }, limit));
  return sim.now() - begun;
}

auto hanging_worktrees() {
  return [](const git::worktree_job&) { return hanging<git::worktree_restored>(); };
}

auto hanging_fetches() {
  return [](const git::repository_job&) { return hanging<git::repository_restored>(); };
}

} // namespace

TEST_CASE("a crashed rig is started again after a jittered pause that grows, and its siblings are not touched") {
  town_simulation sim;
  sim.git->on_fetch = hanging_fetches();
  sim.desire(sim.usual_town());
  const auto sibling = sim.heard->speakers.at("rig/s");
  const auto worktree = sim.heard->speakers.at("worktree/a1");
  for (int crashes = 1; crashes <= 4; ++crashes) {
    CAPTURE(crashes);
    const auto pause = pause_after_crash(sim, "rig/r", 60s);
    CHECK(pause >= 1ms);
    CHECK(pause <= 250ms * (1 << (crashes - 1)));
  }
  CHECK(sim.restarts["rig"] == 4);
  CHECK(sim.heard->speakers.at("rig/s") == sibling);
  CHECK(sim.heard->speakers.at("worktree/a1") == worktree);
  CHECK(sim.is_alive(sibling));
  CHECK(sim.fetches_of("s") == 1);
  sim.git->on_fetch = nullptr;
  sim.crash("rig/r");
  sim.advance(2min);
  // The fetch of s hangs still, and nothing of r waits for it.
  CHECK(sim.heard->outcome_of("a1") == town::agent_outcome::restored);
  CHECK(sim.heard->outcome_of("b1") == town::agent_outcome::restoring);
}

TEST_CASE("the pause differs from seed to seed") {
  std::set<std::chrono::nanoseconds> pauses;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    town_simulation sim{seed};
    sim.git->on_fetch = hanging_fetches();
    sim.desire(sim.usual_town());
    pauses.insert(pause_after_crash(sim, "rig/r", 60s));
  }
  CHECK(pauses.size() > 4);
}

TEST_CASE("five crashes within a minute: failed for everybody to see, and tried again every minute") {
  town_simulation sim;
  const std::string key = GENERATE("rig/r", "worktree/a1");
  const auto failed = [&] {
    return (key == "rig/r" ? sim.heard->outcome_of_rig("r") == town::rig_outcome::failed
                           : sim.heard->outcome_of("a1") == town::agent_outcome::failed);
  };
  if (key == "rig/r") {
    sim.git->on_fetch = [&](const git::repository_job& job) {
      return job.rig_id == "r" ? hanging<git::repository_restored>() : sim.git->fetched(job);
    };
  } else {
    sim.git->on_worktree = [&](const git::worktree_job& job) {
      return job.agent_id == "a1" ? hanging<git::worktree_restored>() : sim.git->restored(job);
    };
  }
  sim.desire(sim.usual_town());
  sim.advance(1s);
  for (int i = 1; i <= 4; ++i)
    pause_after_crash(sim, key, 60s);
  CHECK_FALSE(failed());
  const auto fifth = pause_after_crash(sim, key, 61s);
  CHECK(fifth == 60s);
  CHECK(failed());
  CHECK(sim.published->read()->converged); // degraded, but nobody waits for it any more
  CHECK(sim.heard->outcome_of("b1") == town::agent_outcome::restored);
  CHECK(sim.heard->outcome_of("a1") == town::agent_outcome::failed);
  sim.advance(1s);
  CHECK(sim.town_said->last_of("a1").failure->message.find("injected fault") != std::string::npos);
  // While it is failed only the slow retry starts it, once for each crash.
  CHECK(pause_after_crash(sim, key, 61s) == 60s);
  CHECK(pause_after_crash(sim, key, 61s) == 60s);
  SECTION("one that lives for a minute is an ordinary one again") {
    sim.advance(61s);
    CHECK(pause_after_crash(sim, key, 61s) <= 250ms);
  }
  SECTION("it heals as soon as it can") {
    sim.git->on_fetch = nullptr;
    sim.git->on_worktree = nullptr;
    pause_after_crash(sim, key, 61s);
    sim.advance(1s);
    CHECK(sim.is_ready());
    CHECK(sim.town_said->last_ready().outcome == "ready");
  }
}

TEST_CASE("crashes that are far apart are never too many") {
  town_simulation sim;
  sim.git->on_fetch = hanging_fetches();
  sim.desire(sim.usual_town());
  for (int i = 0; i < 12; ++i) {
    CHECK(pause_after_crash(sim, "rig/r", 60s) <= 1s);
    sim.advance(25s);
  }
  CHECK(sim.heard->outcome_of_rig("r") == town::rig_outcome::restoring);
}

TEST_CASE("a rig actor that crashes, in whatever phase, loses nothing") {
  town_simulation sim;
  SECTION("while it waits for its credentials") {
    sim.town_said->on_credentials = [](const git_credentials_query&) {
      return std::optional<git_credentials_answer>{};
    };
    sim.desire(sim.usual_town());
    sim.crash("rig/r");
    sim.town_said->on_credentials = nullptr;
    sim.crash("rig/s");
  }
  SECTION("while it fetches: the fetch is cancelled, and its successor waits for the end of it") {
    sim.git->on_fetch = hanging_fetches();
    sim.desire(sim.usual_town());
    sim.crash("rig/r");
    CHECK(*sim.git->fetches.at(0).job.cancel);
    sim.git->on_fetch = nullptr;
    sim.crash("rig/s");
  }
  SECTION("between two attempts") {
    sim.git->on_fetch = [&](const git::repository_job& job) {
      return job.rig_id == "r" ? failing<git::repository_restored>(error_code::unavailable, "down")
                               : sim.git->fetched(job);
    };
    sim.desire(sim.usual_town());
    sim.advance(10ms);
    sim.crash("rig/r");
    sim.git->on_fetch = nullptr;
  }
  SECTION("while its worktrees are restored: they go on") {
    sim.git->on_worktree = [&](const git::worktree_job& job) {
      auto plan = sim.git->restored(job);
      plan.after = 5s;
      return plan;
    };
    sim.desire(sim.usual_town());
    sim.advance(20ms);
    REQUIRE(sim.git->restores_of("a1") == 1);
    sim.crash("rig/r");
    sim.advance(10s);
    CHECK(sim.git->restores_of("a1") == 1);
  }
  SECTION("when all is restored: the worktrees are not touched again") {
    sim.wake();
    sim.crash("rig/r");
    sim.advance(10s);
    CHECK(sim.fetches_of("r") == 2);
    CHECK(sim.git->restores_of("a1") == 1);
  }
  SECTION("when it is settled as failed") {
    sim.git->on_fetch = [&](const git::repository_job& job) {
      return job.rig_id == "r" ? failing<git::repository_restored>(error_code::not_found, "404")
                               : sim.git->fetched(job);
    };
    sim.desire(sim.usual_town());
    sim.advance(1s);
    CHECK(sim.heard->outcome_of("a1") == town::agent_outcome::failed);
    sim.git->on_fetch = nullptr;
    sim.crash("rig/r");
  }
  sim.advance(10s);
  CHECK(sim.is_ready());
  CHECK(sim.town_said->last_ready().outcome == "ready");
  for (const auto* agent : {"a1", "a2", "b1"})
    CHECK(sim.start(agent[0] == 'a' ? "r" : "s", agent, agent)->status == 201);
}

TEST_CASE("a worktree actor that crashes, in whatever phase, loses nothing") {
  town_simulation sim;
  std::size_t restores = 2;
  SECTION("while its rig fetches") {
    sim.git->on_fetch = [&](const git::repository_job& job) {
      auto plan = sim.git->fetched(job);
      plan.after = 3s;
      return plan;
    };
    sim.desire(sim.usual_town());
    sim.crash("worktree/a1");
    restores = 1;
  }
  SECTION("during its job: it is cancelled, and its successor waits for the end of it") {
    sim.git->on_worktree = hanging_worktrees();
    sim.desire(sim.usual_town());
    sim.advance(1s);
    sim.git->on_worktree = nullptr;
    sim.crash("worktree/a1");
    CHECK(*sim.git->worktrees.at(0).job.cancel);
    sim.crash("worktree/a2");
    sim.crash("worktree/b1");
  }
  SECTION("between two attempts") {
    sim.git->on_worktree = [](const git::worktree_job&) {
      return failing<git::worktree_restored>(error_code::disk, "ENOSPC");
    };
    sim.desire(sim.usual_town());
    sim.advance(25ms);
    sim.git->on_worktree = nullptr;
    sim.crash("worktree/a1");
  }
  SECTION("when it is settled as failed") {
    sim.git->on_worktree = [](const git::worktree_job&) {
      return failing<git::worktree_restored>(error_code::unsupported, "reftable");
    };
    sim.desire(sim.usual_town());
    sim.advance(1s);
    CHECK(sim.heard->outcome_of("a1") == town::agent_outcome::failed);
    sim.git->on_worktree = nullptr;
    sim.crash("worktree/a1");
    sim.advance(2min); // the others are looked at again by the minute
  }
  SECTION("when it is restored: it is not touched again") {
    sim.wake();
    sim.crash("worktree/a1");
    restores = 1;
  }
  SECTION("when an agent is at work in it") {
    sim.wake();
    CHECK(sim.start("r", "a1", "before")->status == 201);
    sim.crash("worktree/a1");
    sim.advance(10s);
    CHECK(sim.processes->is_alive("a1"));
    CHECK(sim.git->restores_of("a1") == 1);
    sim.processes->end("a1");
    restores = 1;
  }
  sim.advance(10s);
  CHECK(sim.is_ready());
  CHECK(sim.git->restores_of("a1") >= restores);
  CHECK(sim.git->restores_of("a1") <= restores + 1);
  for (const auto* agent : {"a1", "a2", "b1"})
    CHECK(sim.start(agent[0] == 'a' ? "r" : "s", agent, agent)->status == 201);
}

TEST_CASE("an agent actor that crashes while its process runs ends it; the next start waits until it is gone") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  sim.crash("agent/a1");
  CHECK(sim.restarts["agent"] == 1);
  CHECK(sim.processes->last().stop_wanted);
  CHECK(sim.status_of("a1") == "stopping");
  CHECK(sim.heard->process_of("a1") == "stopping");
  CHECK(sim.town_said->completed.empty()); // it lives still
  CHECK(sim.start("r", "a1", "d2")->status == 503);
  sim.processes->end("a1", {std::nullopt, SIGKILL, ""});
  sim.run();
  REQUIRE(sim.town_said->completed.size() == 1);
  CHECK(sim.town_said->completed[0].body.status == "failed");
  CHECK(sim.town_said->completed[0].body.dispatch_id == "d1");
  CHECK(sim.heard->process_of("a1") == "failed");
  CHECK(sim.start("r", "a1", "d1")->status == 200); // this one has run
  CHECK(sim.start("r", "a1", "d2")->status == 201);
  CHECK(sim.processes->most_alive_of_one_agent == 1);
  CHECK(sim.processes->runs == std::map<std::string, int>{{"d1", 1}, {"d2", 1}});
}

TEST_CASE("an agent actor that crashes before its process runs") {
  town_simulation sim;
  sim.wake();
  SECTION("while the context is fetched: nothing runs, and it is started by the next start") {
    sim.town_said->on_call = [](const agent_call&) { return std::optional<agent_call_answer>{}; };
    const auto answer = sim.start("r", "a1", "d1");
    sim.crash("agent/a1");
    CHECK(answer->status == 500);
    sim.town_said->on_call = nullptr;
    CHECK(sim.heard->process_of("a1") == "failed");
  }
  SECTION("while it is forked: it is stopped when it comes to life, and counts as run") {
    sim.processes->hold_starts = true;
    const auto answer = sim.start("r", "a1", "d0");
    sim.crash("agent/a1");
    CHECK(answer->status == 500);
    CHECK(sim.start("r", "a1", "d1")->status == 503);
    sim.processes->release_starts();
    sim.run();
    CHECK_FALSE(sim.processes->is_alive("a1"));
    CHECK(sim.town_said->completed.size() == 1);
    CHECK(sim.start("r", "a1", "d0")->status == 200);
  }
  SECTION("while it is forked in vain") {
    sim.processes->next_start_throws = true;
    CHECK(sim.start("r", "a1", "d1")->status == 500);
  }
  SECTION("after its process has ended") {
    CHECK(sim.start("r", "a1", "d0")->status == 201);
    sim.processes->end("a1");
    sim.run();
    sim.crash("agent/a1");
    CHECK(sim.town_said->completed.size() == 1);
    CHECK(sim.start("r", "a1", "d0")->status == 200);
  }
  SECTION("just as its process ends") {
    CHECK(sim.start("r", "a1", "d0")->status == 201);
    sim.processes->end("a1");
    sim.crash("agent/a1");
    CHECK(sim.town_said->completed.size() == 1);
    CHECK(sim.status_of("a1") == "idle");
  }
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  CHECK(sim.processes->most_alive_of_one_agent == 1);
}

TEST_CASE("without health, town link or executor the daemon cannot go on: 70, and everything ends") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  const auto rig = sim.heard->speakers.at("rig/r");
  const auto worktree = sim.heard->speakers.at("worktree/a1");
  SECTION("health") {
    sim.kill(sim.picture);
  }
  SECTION("town link") {
    sim.kill(sim.link);
  }
  SECTION("executor") {
    sim.kill(sim.executor);
  }
  SECTION("health, before it has answered what is expected") {
    sim.heard->hold_expect = true;
    sim.desire(sim.usual_town(2));
    sim.kill(sim.picture);
  }
  SECTION("health that never answers") {
    sim.heard->hold_expect = true;
    sim.desire(sim.usual_town(2));
    sim.advance(31s);
  }
  sim.advance(1s); // saving
  CHECK(*sim.exit_code == 70);
  CHECK_FALSE(sim.is_alive(sim.subject));
  CHECK_FALSE(sim.is_alive(rig));
  CHECK_FALSE(sim.is_alive(worktree));
  CHECK_FALSE(sim.processes->is_alive("a1"));
  sim.heard->held.clear();
}

TEST_CASE("whatever ends the supervisor, its children end with it") {
  town_simulation sim;
  sim.git->on_fetch = [](const git::repository_job&) {
    return failing<git::repository_restored>(error_code::unavailable, "down");
  };
  sim.desire(sim.usual_town());
  sim.advance(1s);
  const auto rig = sim.heard->speakers.at("rig/r");
  const auto worktree = sim.heard->speakers.at("worktree/a1");
  sim.kill(sim.subject);
  sim.run();
  CHECK_FALSE(sim.is_alive(rig));
  CHECK_FALSE(sim.is_alive(worktree));
}
