#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include "supervisor_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

TEST_CASE("a start is refused with 503 while the agent is being restored, or could not be") {
  town_simulation sim;
  sim.git->on_worktree = [&](const git::worktree_job& job) {
    if (job.agent_id == "a2") return failing<git::worktree_restored>(error_code::unsupported, "reftable");
    auto plan = sim.git->restored(job);
    plan.after = 5s;
    return plan;
  };
  sim.desire(sim.usual_town());
  sim.advance(1s);
  const auto early = sim.start("r", "a1", "d1");
  CHECK(early->status == 503);
  CHECK(early->retry_after_seconds > 0);
  CHECK(early->failure->message.find("still being restored") != std::string::npos);
  const auto failed = sim.start("r", "a2", "d2");
  CHECK(failed->status == 503);
  CHECK(failed->failure->message.find("reftable") != std::string::npos);
  sim.advance(5s);
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  CHECK(sim.processes->last().launch.directory == "/w/rigs/r/worktrees/a1");
}

TEST_CASE("two starts at one instant: one process") {
  town_simulation sim;
  sim.wake();
  sim.processes->hold_starts = true;
  const auto first = sim.start("r", "a1", "d1");
  const auto second = sim.start("r", "a1", "d1");
  sim.processes->release_starts();
  sim.run();
  CHECK(first->status == 201);
  CHECK(second->status == 200);
  CHECK(sim.processes->all.size() == 1);
}

TEST_CASE("a start that takes minutes is answered, and its worktree is not touched before it has come to an end") {
  town_simulation sim;
  sim.wake();
  sim.processes->hold_starts = true;
  const auto answer = sim.start("r", "a1", "d1");
  sim.advance(3min);
  CHECK(answer->status == 500);
  auto next = sim.usual_town(2);
  next.rigs[0].agents.erase(next.rigs[0].agents.begin());
  sim.desire(next);
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 0);
  SECTION("it comes to life: and is stopped") {
    sim.processes->release_starts();
    sim.run();
    CHECK(sim.processes->last().stop_wanted);
  }
  SECTION("it fails") {
    sim.processes->fail_starts(error{error_code::unavailable, "fork", "EAGAIN"});
  }
  SECTION("its actor crashes, then it fails") {
    sim.crash("agent/a1");
    sim.advance(1s);
    CHECK(sim.removals_of("a1") == 0);
    sim.processes->fail_starts(error{error_code::unavailable, "fork", "EAGAIN"});
  }
  sim.advance(1s);
  CHECK(sim.removals_of("a1") == 1);
}

TEST_CASE("a repeated dispatch is 200, also after its process has ended; a new one starts") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  CHECK(sim.start("r", "a1", "d1")->status == 200);
  sim.processes->end("a1");
  sim.run();
  const auto again = sim.start("r", "a1", "d1");
  CHECK(again->status == 200);
  CHECK(again->agent->status == "exited");
  CHECK(sim.start("r", "a1", "d2")->status == 201);
  CHECK(sim.processes->runs == std::map<std::string, int>{{"d1", 1}, {"d2", 1}});
}

TEST_CASE("a repeated start of an ended dispatch does not free the worktree of the start that follows it") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  sim.processes->end("a1");
  sim.run();
  sim.processes->hold_starts = true;
  start_agent order;
  order.request.agent_id = "a1";
  order.request.rig_id = "r";
  for (const auto* dispatch : {"d1", "d2"}) {
    order.request.dispatch_id = dispatch;
    caf::anon_send(sim.subject, order);
  }
  sim.run();
  sim.processes->release_starts();
  sim.run();
  REQUIRE(sim.processes->is_alive("a1"));
  sim.git->touched = [&](const git::worktree_job& job) { CHECK_FALSE(sim.processes->is_alive(job.agent_id)); };
  auto next = sim.usual_town(2);
  next.rigs[0].agents[0].branch = "work/new";
  sim.desire(next);
  sim.advance(10s);
  CHECK(sim.git->restores_of("a1") == 1);
}

TEST_CASE("an agent that nobody here knows: the town is asked once more") {
  town_simulation sim;
  sim.wake();
  auto newer = sim.usual_town(2);
  newer.rigs[1].agents.push_back(agent_of("b2"));
  SECTION("it lists it: not yet") {
    sim.town_said->on_reread = [&] { return std::optional{desired_state_answer{newer}}; };
    const auto answer = sim.start("s", "b2", "d1");
    CHECK(answer->status == 503);
    CHECK(answer->retry_after_seconds > 0);
  }
  SECTION("it does not: 404") {
    sim.town_said->on_reread = [&] { return std::optional{desired_state_answer{sim.usual_town()}}; };
    CHECK(sim.start("s", "b2", "d1")->status == 404);
  }
  SECTION("it lists it in another rig than the start says: 404") {
    sim.town_said->on_reread = [&] { return std::optional{desired_state_answer{newer}}; };
    CHECK(sim.start("r", "b2", "d1")->status == 404);
  }
  SECTION("it cannot be read: that is no 404") {
    CHECK(sim.start("s", "b2", "d1")->status == 503);
  }
  SECTION("it does not answer") {
    sim.town_said->on_reread = [] { return std::optional<desired_state_answer>{}; };
    const auto answer = sim.start("s", "b2", "d1");
    sim.advance(11s);
    CHECK(answer->status == 503);
  }
  CHECK(sim.town_said->rereads == 1);
  CHECK(sim.processes->all.empty());
}

TEST_CASE("stop and status of an agent") {
  town_simulation sim;
  sim.wake();
  CHECK_FALSE(sim.ask<stop_answer>(sim.subject, stop_agent{"nobody"})->known);
  CHECK(sim.status_of("nobody") == "unknown");
  CHECK(sim.status_of("a1") == "idle");
  sim.stop("a1"); // nothing runs: nothing to do
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  CHECK(sim.status_of("a1") == "running");
  sim.stop("a1");
  CHECK(sim.status_of("a1") == "exited");
  REQUIRE(sim.town_said->completed.size() == 1);
  CHECK(sim.town_said->completed[0].body.signal == 15);
}

TEST_CASE("an agent's credential helper is answered by its rig") {
  town_simulation sim;
  sim.town_said->on_credentials = [](const git_credentials_query& q) {
    return std::optional{
        git_credentials_answer{std::optional{git::credentials{"x", secret{"token-of-rig-" + q.rig_id}}}, std::nullopt}};
  };
  sim.wake();
  const auto answer = sim.ask<git_credentials_answer>(sim.subject, git_credentials_query{"r", false});
  CHECK(answer->login.value()->token.reveal() == "token-of-rig-r");
  const auto unknown = sim.ask<git_credentials_answer>(sim.subject, git_credentials_query{"nowhere", false});
  CHECK(unknown->login.error().code == error_code::not_found);
  sim.crash("rig/r");
  const auto crashed = sim.ask<git_credentials_answer>(sim.subject, git_credentials_query{"r", false});
  CHECK(crashed->login.has_value()); // the town is asked in its place
  CHECK(crashed->git_url == "https://git.example/r.git");
}

// -- the end ----------------------------------------------------------------------------------------------------------

TEST_CASE("fenced: the agents are stopped, nothing is started any more, and the daemon stays until it is told to end") {
  town_simulation sim;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  sim.tell(sim.subject, fenced{});
  sim.advance(1s);
  CHECK_FALSE(sim.processes->is_alive("a1"));
  CHECK(sim.published->read()->phase == town::town_phase::fenced);
  const auto answer = sim.start("r", "a1", "d2");
  CHECK(answer->status == 503);
  CHECK(answer->failure->message.find("fenced") != std::string::npos);
  // The desired state of the other container is nothing to us.
  auto next = sim.usual_town(2);
  next.rigs.pop_back();
  sim.desire(next);
  sim.crash("rig/r");
  sim.advance(10min);
  CHECK(sim.is_alive(sim.subject));
  CHECK(sim.removals_of("b1") == 0);
  CHECK(sim.fetches_of("r") == 1);
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(1s); // saving
  CHECK_FALSE(sim.is_alive(sim.subject));
  CHECK(*sim.exit_code == 75);
  CHECK(sim.town_said->evictions.empty()); // the town does not listen to us
}

TEST_CASE("a shutdown tells the town, stops the agents, waits for them, and ends everything") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  CHECK(sim.start("s", "b1", "d2")->status == 201);
  const auto rig = sim.heard->speakers.at("rig/r");
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  CHECK(sim.town_said->evictions == std::vector<std::string>{"SIGTERM"});
  CHECK(sim.published->read()->phase == town::town_phase::draining);
  const auto answer = sim.start("r", "a2", "d3");
  CHECK(answer->status == 503);
  CHECK(answer->failure->message.find("drains") != std::string::npos);
  sim.desire(sim.usual_town(2));
  sim.advance(5s);
  CHECK(sim.is_alive(sim.subject));
  sim.processes->end("a1");
  sim.run();
  CHECK(sim.is_alive(sim.subject));
  SECTION("until the last has ended") {
    sim.processes->end("b1");
  }
  SECTION("at most so long") {
    sim.advance(850s);
  }
  SECTION("an agent actor that crashes meanwhile is waited for as well") {
    sim.crash("agent/b1");
    CHECK(sim.is_alive(sim.subject));
    sim.processes->end("b1");
  }
  sim.advance(1s);
  CHECK_FALSE(sim.is_alive(sim.subject));
  CHECK_FALSE(sim.is_alive(rig));
  CHECK(*sim.exit_code == 0);
  CHECK(sim.published->read()->phase == town::town_phase::drained);
  CHECK(sim.processes->all[1].stop_wanted);
}

TEST_CASE("a shutdown with nothing at work ends when all is saved, whatever is under way") {
  town_simulation sim;
  SECTION("before there is a desired state") {}
  SECTION("while health has not answered") {
    sim.heard->hold_expect = true;
    sim.desire(sim.usual_town());
    sim.heard->held.clear();
  }
  SECTION("while rigs fetch") {
    sim.git->on_fetch = [](const git::repository_job&) { return hanging<git::repository_restored>(); };
    sim.desire(sim.usual_town());
  }
  SECTION("while worktrees are restored") {
    sim.git->on_worktree = [](const git::worktree_job&) { return hanging<git::worktree_restored>(); };
    sim.desire(sim.usual_town());
    sim.advance(1s);
  }
  SECTION("while a crashed rig waits for its restart") {
    sim.wake();
    sim.crash("rig/r");
  }
  SECTION("while a start waits for the town") {
    sim.wake();
    sim.town_said->on_call = [](const agent_call&) { return std::optional<agent_call_answer>{}; };
    const auto answer = sim.start("r", "a1", "d1");
    sim.tell(sim.subject, shutdown{"SIGTERM"});
    sim.advance(1s);
    CHECK(answer->status == 503);
  }
  SECTION("after an agent has ended") {
    sim.wake();
    CHECK(sim.start("r", "a1", "d1")->status == 201);
    sim.processes->end("a1");
  }
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.advance(1s); // saving
  CHECK_FALSE(sim.is_alive(sim.subject));
  CHECK(*sim.exit_code == 0);
  for (const auto& fetch : sim.git->fetches)
    if (sim.git->under_way > 0) CHECK(*fetch.job.cancel);
}

TEST_CASE("an actor the daemon cannot do without that ends during the shutdown does not make it a bug") {
  town_simulation sim;
  sim.processes->obedient = false;
  sim.wake();
  CHECK(sim.start("r", "a1", "d1")->status == 201);
  sim.tell(sim.subject, shutdown{"SIGTERM"});
  sim.kill(sim.link);
  sim.run();
  CHECK(sim.is_alive(sim.subject));
  sim.processes->end("a1");
  sim.advance(1s);
  CHECK_FALSE(sim.is_alive(sim.subject));
  CHECK(*sim.exit_code == 0);
}
