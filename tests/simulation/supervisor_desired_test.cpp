#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include "supervisor_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

TEST_CASE("health has taken over what is expected before anything of it is spawned") {
  town_simulation sim;
  CHECK(sim.town_said->booted);
  sim.heard->hold_expect = true;
  sim.desire(sim.usual_town());
  sim.advance(10s);
  REQUIRE(sim.heard->expected.size() == 1);
  CHECK(sim.heard->expected[0].desired.rigs.size() == 2);
  CHECK(sim.heard->speakers.empty());
  CHECK(sim.known_agents.empty());
  CHECK(sim.git->fetches.empty());
  sim.tell(sim.picture, publish_due{});
  CHECK(sim.heard->speakers.size() == 5);
  CHECK(sim.known_agents == std::set<std::string>{"a1", "a2", "b1"});
  sim.desire(sim.usual_town()); // the picture of the real health actor is behind the recorder
  sim.advance(1s);
  CHECK(sim.is_ready());
}

TEST_CASE("one rig actor for each repository and one worktree actor for each agent, side by side") {
  town_simulation sim;
  sim.git->on_fetch = [](const git::repository_job&) { return hanging<git::repository_restored>(); };
  sim.desire(sim.usual_town());
  CHECK(sim.fetches_of("r") == 1);
  CHECK(sim.fetches_of("s") == 1);
  CHECK(sim.git->fetches[0].job.directory == "/w/rigs/r");
  std::set<caf::actor_addr> speakers;
  for (const auto& [key, who] : sim.heard->speakers)
    speakers.insert(who);
  CHECK(speakers.size() == 5);
}

TEST_CASE("the same desired state again changes nothing") {
  town_simulation sim;
  sim.wake();
  sim.desire(sim.usual_town(2));
  sim.advance(1min);
  CHECK(sim.git->fetches.size() == 2);
  CHECK(sim.git->worktrees.size() == 3);
  CHECK(sim.town_said->last_ready().desired_version == 2);
  CHECK(sim.town_said->last_ready().outcome == "ready");
}

TEST_CASE("an agent that is added is restored from what the remote has now, beside the others") {
  town_simulation sim;
  sim.wake();
  auto next = sim.usual_town(2);
  auto added = agent_of("a3");
  SECTION("its branch was never fetched") {}
  SECTION("its branch was fetched an hour ago for another agent") {
    sim.advance(1h);
    added = agent_on("a3", "work/a2");
    next.rigs[0].agents.pop_back();
  }
  next.rigs[0].agents.push_back(added);
  std::optional<caf::actor_clock::time_point> fetched_at;
  sim.git->on_fetch = [&](const git::repository_job& job) {
    fetched_at = sim.now();
    return sim.git->fetched(job);
  };
  const auto wanted_at = sim.now();
  sim.desire(next);
  sim.advance(1s);
  CHECK(sim.is_ready());
  REQUIRE(fetched_at);
  CHECK(*fetched_at == wanted_at);
  CHECK(sim.git->restores_of("a3") == 1);
  CHECK(sim.git->worktrees.back().at > *fetched_at);
  CHECK(sim.git->restores_of("a1") == 1);
  CHECK(sim.start("r", "a3", "d1")->status == 201);
}

TEST_CASE("an agent that left is stopped first; its worktree is removed, or kept with what it holds") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  const bool unsaved = GENERATE(false, true);
  if (unsaved)
    sim.git->on_removal = [](const git::worktree_job&) -> git_plan<git::worktree_removal> {
      return {git::worktree_removal{false, "2 modified files"}};
    };
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  auto next = sim.usual_town(2);
  next.rigs[0].agents.erase(next.rigs[0].agents.begin());
  sim.desire(next);
  sim.advance(30s);
  CHECK(sim.processes->last().stop_wanted);
  CHECK(sim.removals_of("a1") == 0); // its process lives still
  CHECK(sim.start("r", "a1", "d2")->status == 503);
  CHECK(sim.known_agents.contains("a1"));
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 1);
  CHECK(sim.git->disk.contains("/w/rigs/r/worktrees/a1") == unsaved);
  CHECK_FALSE(sim.known_agents.contains("a1"));
  CHECK(sim.heard->process_of("a1") == "gone");
  CHECK(sim.status_of("a1") == "unknown");
  CHECK(sim.is_ready());
  CHECK(sim.town_said->last_ready().agents.size() == 2);
  // It may come back.
  sim.desire(sim.usual_town(3));
  sim.advance(1s);
  CHECK(sim.is_ready());
  CHECK(sim.start("r", "a1", "d1")->status == 200); // as before, each dispatch runs at most once
  CHECK(sim.start("r", "a1", "d3")->status == 201);
}

TEST_CASE("an agent that comes back while it is leaving is taken up again when it has left") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  auto without = sim.usual_town(2);
  without.rigs[0].agents.erase(without.rigs[0].agents.begin());
  sim.desire(without);
  sim.desire(sim.usual_town(3));
  sim.advance(1s);
  CHECK(sim.git->restores_of("a1") == 1);
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 1);
  CHECK(sim.git->restores_of("a1") == 2);
  CHECK(sim.is_ready());
  CHECK(sim.start("r", "a1", "d2")->status == 201);
}

TEST_CASE("an agent leaves also when its worktree actor has crashed") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  auto next = sim.usual_town(2);
  next.rigs[0].agents.erase(next.rigs[0].agents.begin());
  SECTION("before it was told to leave") {
    sim.crash("worktree/a1");
    sim.desire(next);
  }
  SECTION("while it removes the worktree") {
    sim.git->on_removal = [](const git::worktree_job&) { return hanging<git::worktree_removal>(); };
    sim.desire(next);
    sim.advance(1s); // saving
    sim.crash("worktree/a1");
  }
  SECTION("while its process is still ending: not before that has ended") {
    CHECK(sim.start("r", "a1", "d1")->status == 201);
    sim.desire(next);
    sim.crash("worktree/a1");
    sim.advance(10s);
    CHECK(sim.known_agents.contains("a1"));
    sim.processes->end("a1");
  }
  sim.advance(1s);
  CHECK_FALSE(sim.known_agents.contains("a1"));
  const auto restores = sim.git->restores_of("a1");
  sim.advance(2min);
  CHECK(sim.git->restores_of("a1") == restores); // no restart for one that is gone
  CHECK(sim.is_ready());
}

TEST_CASE("an agent leaves also when the actor of its process crashes meanwhile") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  auto next = sim.usual_town(2);
  next.rigs[0].agents.erase(next.rigs[0].agents.begin());
  sim.desire(next);
  sim.crash("agent/a1");
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 0);
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 1);
  CHECK_FALSE(sim.known_agents.contains("a1"));
}

TEST_CASE("an agent that moved to another rig leaves the first before it is restored in the second") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  auto next = sim.usual_town(2);
  next.rigs[0].agents.erase(next.rigs[0].agents.begin());
  next.rigs[1].agents.push_back(agent_of("a1"));
  sim.desire(next);
  sim.advance(10s);
  CHECK(sim.git->restores_of("a1") == 1);
  sim.town_said->on_reread = [&] { return std::optional{desired_state_answer{next}}; };
  CHECK(sim.start("s", "a1", "d2")->status == 503);
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 1);
  CHECK(sim.last_restore_of("a1").worktree == "/w/rigs/s/worktrees/a1");
  CHECK(sim.is_ready());
  CHECK(sim.start("s", "a1", "d2")->status == 201);
  CHECK(sim.town_said->rereads == 1);
}

TEST_CASE("a rig that is added is fetched; one that is removed ends when its last worktree has left") {
  town_simulation sim;
  sim.wake();
  const auto leaving = sim.heard->speakers.at("rig/s");
  auto next = sim.usual_town(2);
  next.rigs[1] = rig_of("t", {agent_of("c1")});
  sim.git->on_removal = [](const git::worktree_job&) {
    return git_plan<git::worktree_removal>{git::worktree_removal{true, ""}, 5s};
  };
  sim.desire(next);
  sim.advance(1s);
  CHECK(sim.is_alive(leaving));
  CHECK(sim.is_ready());
  CHECK(sim.start("t", "c1", "d1")->status == 201);
  sim.advance(5s);
  CHECK_FALSE(sim.is_alive(leaving));
  CHECK(sim.git->disk.contains("/w/rigs/t/worktrees/c1"));
  CHECK_FALSE(sim.git->disk.contains("/w/rigs/s/worktrees/b1"));
  CHECK(sim.restarts["rig"] == 0);
}

TEST_CASE("another branch of an idle agent is applied at once") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  sim.processes->end("a1");
  sim.run();
  auto next = sim.usual_town(2);
  next.rigs[0].agents[0].branch = "work/new";
  sim.desire(next);
  CHECK(sim.start("r", "a1", "d2")->status == 503); // what it had is not what is wanted
  sim.advance(1s);
  CHECK(sim.git->restores_of("a1") == 2);
  CHECK(sim.last_restore_of("a1").branch == "work/new");
  CHECK(sim.last_restore_of("a1").remote_tip == fake_git::tip_of(next.rigs[0].git_url, "work/new"));
  CHECK(sim.fetches_of("r") == 2); // one fetch serves the rig's word and the worktree's question
  CHECK(sim.git->restores_of("a2") == 1);
  CHECK(sim.is_ready());
  CHECK(sim.town_said->last_of("a1").branch == "work/new");
  CHECK(sim.start("r", "a1", "d2")->status == 201);
  CHECK(sim.processes->last().launch.environment.at("GASTOWN_BRANCH") == "work/new");
}

TEST_CASE("ready is not said for a branch that is wanted and not yet restored") {
  town_simulation sim;
  sim.wake();
  auto next = sim.usual_town(2);
  next.rigs[0].agents[0].branch = "work/new";
  sim.git->on_worktree = [](const git::worktree_job&) { return hanging<git::worktree_restored>(); };
  sim.desire(next);
  sim.advance(10s);
  for (const auto& said : sim.town_said->ready)
    if (said.report.desired_version == 2) CHECK(said.report.outcome == "partial");
}

TEST_CASE("another branch or remote of a working agent is held until its process has ended") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  sim.git->touched = [&](const git::worktree_job& job) { CHECK_FALSE(sim.processes->is_alive(job.agent_id)); };
  auto next = sim.usual_town(2);
  auto& wanted = next.rigs[0].agents[0];
  SECTION("branch") {
    wanted.branch = "work/new";
  }
  SECTION("remote") {
    next.rigs[0].git_url = "https://elsewhere.example/r.git";
  }
  sim.desire(next);
  sim.advance(1min);
  CHECK(sim.git->restores_of("a1") == 1);
  CHECK(sim.processes->is_alive("a1"));
  CHECK(sim.is_ready()); // it is in order as it is
  CHECK(sim.town_said->last_of("a1").branch == "work/a1");
  CHECK(sim.start("r", "a1", "d2")->status == 200);
  sim.processes->end("a1");
  sim.run();
  CHECK(sim.start("r", "a1", "d2")->status == 503);
  sim.advance(1s);
  CHECK(sim.git->restores_of("a1") == 2);
  const auto& job = sim.last_restore_of("a1");
  CHECK(job.branch == wanted.branch);
  CHECK(job.remote_tip == fake_git::tip_of(next.rigs[0].git_url, wanted.branch));
  CHECK(sim.is_ready());
  CHECK(sim.town_said->last_of("a1").branch == wanted.branch);
  CHECK(sim.start("r", "a1", "d2")->status == 201);
}

TEST_CASE("a change that is taken back while the agent works leaves everything as it was") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  auto next = sim.usual_town(2);
  next.rigs[0].agents[0].branch = "work/new";
  sim.desire(next);
  sim.desire(sim.usual_town(3));
  sim.advance(1s);
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK(sim.git->restores_of("a1") == 1);
  CHECK(sim.is_ready());
  CHECK(sim.start("r", "a1", "d2")->status == 201);
}

TEST_CASE("another remote of a rig is fetched, and its idle worktrees are restored from it") {
  town_simulation sim;
  sim.wake();
  auto next = sim.usual_town(2);
  next.rigs[0].git_url = "https://elsewhere.example/r.git";
  sim.desire(next);
  CHECK(sim.start("r", "a2", "d1")->status == 503);
  sim.advance(1s);
  CHECK(sim.fetches_of("r") == 2);
  for (const auto* agent : {"a1", "a2"})
    CHECK(sim.last_restore_of(agent).remote_tip ==
          fake_git::tip_of(next.rigs[0].git_url, std::string{"work/"} + agent));
  CHECK(sim.git->restores_of("b1") == 1);
  CHECK(sim.is_ready());
  CHECK(sim.start("r", "a2", "d1")->status == 201);
}

TEST_CASE("an outcome of the old branch that comes after the change does not make the agent startable") {
  town_simulation sim;
  sim.git->on_worktree = [&](const git::worktree_job& job) {
    auto plan = sim.git->restored(job);
    plan.after = 1s;
    return plan;
  };
  sim.desire(sim.usual_town());
  sim.advance(1s + 5ms);
  auto next = sim.usual_town(2);
  next.rigs[0].agents[0].branch = "work/new";
  // The worktree's word is on its way to the supervisor when the new state comes.
  caf::anon_send(sim.subject, desired_state_changed{next});
  sim.advance(5ms);
  CHECK(sim.start("r", "a1", "d1")->status == 503);
  sim.advance(3s);
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  CHECK(sim.processes->last().launch.environment.at("GASTOWN_BRANCH") == "work/new");
}

TEST_CASE("one rig that hangs and one that is refused do not delay the third, and heal by themselves") {
  town_simulation sim;
  auto desired = sim.usual_town();
  desired.rigs.push_back(rig_of("t", {agent_of("c1")}));
  sim.git->on_fetch = [&](const git::repository_job& job) {
    if (job.rig_id == "r") return failing<git::repository_restored>(error_code::timed_out, "no byte for 15 s", 15s);
    if (job.rig_id == "s") return failing<git::repository_restored>(error_code::not_found, "404");
    return sim.git->fetched(job);
  };
  sim.desire(desired);
  sim.advance(300ms);
  REQUIRE_FALSE(sim.town_said->ready.empty());
  CHECK(sim.town_said->last_ready().outcome == "partial");
  CHECK(sim.town_said->last_of("c1").outcome == town::agent_outcome::restored);
  CHECK(sim.start("t", "c1", "d1")->status == 201);
  CHECK(sim.start("r", "a1", "d2")->status == 503);
  sim.advance(2min);
  CHECK(sim.published->read()->phase == town::town_phase::degraded);
  CHECK(sim.town_said->last_ready().outcome == "degraded");
  CHECK(sim.town_said->last_of("a1").failure->message == "no byte for 15 s");
  CHECK(sim.town_said->last_of("b1").failure->message == "404");
  const auto refused = sim.start("s", "b1", "d3");
  CHECK(refused->status == 503);
  CHECK(refused->failure->message.find("404") != std::string::npos);
  sim.git->on_fetch = nullptr;
  sim.advance(90s);
  CHECK(sim.is_ready());
  CHECK(sim.town_said->last_ready().outcome == "ready");
  CHECK(sim.start("r", "a1", "d2")->status == 201);
}
