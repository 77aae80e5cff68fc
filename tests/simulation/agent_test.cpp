#include "actors/agent.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include <csignal>

#include "fake_processes.hpp"
#include "fake_town.hpp"
#include "fixture.hpp"
#include "health_recorder.hpp"
#include "messages/type_ids.hpp"
#include "specs.hpp"
#include "supervisor_recorder.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

struct agent_simulation : virtual_town {
  std::shared_ptr<fake_processes> processes = std::make_shared<fake_processes>();
  std::shared_ptr<fake_town> town_said = std::make_shared<fake_town>();
  std::shared_ptr<health_log> health = std::make_shared<health_log>();
  std::shared_ptr<supervisor_log> supervisor = std::make_shared<supervisor_log>();
  agent_actor subject;

  explicit agent_simulation(std::vector<std::string> command = {"/bin/worker", "{branch}", "{promptFile}"},
                            started_dispatches started = {}) {
    agent_config config;
    config.rig_id = "r";
    config.agent_id = "a1";
    config.town_id = "town";
    config.state_directory = "/w/.townkeeper/agents/a1";
    config.socket = "/run/a1.sock";
    config.command_directory = "/w/.townkeeper/bin";
    config.executable = "/usr/bin/townkeeper";
    config.command = std::move(command);
    config.runner = processes->runner();
    config.town = keep(spawn_fake_town(system(), town_said));
    config.health = keep(spawn_health_recorder(system(), health));
    config.supervisor = keep(spawn_supervisor_recorder(system(), supervisor)).address();
    config.wall_clock = [] { return std::string{"2026-01-01T00:00:00Z"}; };
    config.started = std::move(started);
    subject = keep(system().spawn(agent, std::move(config)));
  }

  pending<start_answer> start(const std::string& dispatch_id) {
    launch_agent order;
    order.request.agent_id = "a1";
    order.request.rig_id = "r";
    order.request.role = "polecat";
    order.request.prompt = "do it";
    order.request.system_prompt = "you are";
    order.request.dispatch_id = dispatch_id;
    order.spec = agent_of("a1");
    order.worktree = "/w/rigs/r/worktrees/a1";
    return ask<start_answer>(subject, std::move(order));
  }
  void stop() { CHECK(ask<stop_answer>(subject, stop_agent{"a1"})->known); }
  agent_status status() { return ask<agent_status_answer>(subject, agent_status_query{"a1"})->status.value(); }
  std::vector<std::string> statuses() const {
    std::vector<std::string> all;
    for (const auto& p : health->processes)
      all.push_back(p.process.status);
    return all;
  }
};

} // namespace

TEST_CASE("a start runs the command in the worktree, with the context the town gives") {
  agent_simulation sim;
  sim.town_said->on_call = [](const agent_call&) {
    return std::optional{agent_call_answer{200, R"({"success":true,"data":{"agent":{"id":"a1"}}})"}};
  };
  const auto answer = sim.start("d1");
  CHECK(answer->status == 201);
  REQUIRE(answer->agent);
  CHECK(answer->agent->status == "running");
  CHECK(answer->agent->dispatch_id == "d1");
  REQUIRE(sim.town_said->calls.size() == 1);
  CHECK(sim.town_said->calls[0].method == "GET");
  CHECK(sim.town_said->calls[0].route == "prime");
  REQUIRE(sim.processes->all.size() == 1);
  const auto& launch = sim.processes->last().launch;
  CHECK(launch.argv == std::vector<std::string>{"/bin/worker", "work/a1", "/w/.townkeeper/agents/a1/prompt.md"});
  CHECK(launch.directory == "/w/rigs/r/worktrees/a1");
  CHECK(launch.environment.at("GASTOWN_BRANCH") == "work/a1");
  REQUIRE(launch.files.size() == 3);
  CHECK(launch.files[0].second == R"({"agent":{"id":"a1"}})");
  CHECK(launch.files[1].second == "do it");
  CHECK(launch.files[2].second == "you are");
  CHECK(sim.statuses() == std::vector<std::string>{"starting", "running"});
  CHECK(sim.status().last_activity_at == "2026-01-01T00:00:05.000Z");
}

TEST_CASE("an agent that runs is not started a second time, whatever the dispatch") {
  agent_simulation sim;
  sim.start("d1");
  for (const auto* dispatch : {"d1", "d2"}) {
    const auto again = sim.start(dispatch);
    CHECK(again->status == 200);
    CHECK(again->agent->dispatch_id == "d1");
  }
  CHECK(sim.processes->all.size() == 1);
}

TEST_CASE("each dispatch runs at most once, also when an older one is asked for again after its end") {
  agent_simulation sim;
  sim.start("d1");
  sim.processes->end("a1");
  sim.run();
  const auto again = sim.start("d1");
  CHECK(again->status == 200);
  CHECK(again->agent->status == "exited");
  CHECK(again->agent->exit_code == 0);
  CHECK(sim.start("d2")->status == 201);
  sim.processes->end("a1");
  sim.run();
  CHECK(sim.start("d1")->status == 200);
  CHECK(sim.start("d2")->status == 200);
  CHECK(sim.processes->all.size() == 2);
  CHECK(sim.supervisor->idle.size() == 2);
}

TEST_CASE("the successor of a crashed actor knows what its predecessor was started for") {
  started_dispatches before;
  before.add("d1");
  agent_simulation sim{{"/bin/worker"}, before};
  const auto again = sim.start("d1");
  CHECK(again->status == 200);
  CHECK(again->agent->status == "exited");
  CHECK(again->agent->dispatch_id == "d1");
  CHECK(sim.processes->all.empty());
  CHECK(sim.start("d2")->status == 201);
}

TEST_CASE("what is remembered of old dispatches is bounded") {
  started_dispatches ids;
  for (int i = 0; i < 1000; ++i)
    ids.add("d" + std::to_string(i));
  CHECK(ids.contains("d999"));
  CHECK(ids.contains("d744"));
  CHECK_FALSE(ids.contains("d743"));
  ids.add("");
  CHECK_FALSE(ids.contains(""));
}

TEST_CASE("starts that come while one is under way hear how that one goes") {
  agent_simulation sim;
  sim.processes->hold_starts = true;
  const auto first = sim.start("d1");
  const auto second = sim.start("d1");
  CHECK_FALSE(first.has_come());
  CHECK_FALSE(second.has_come());
  SECTION("well") {
    sim.processes->release_starts();
    sim.run();
    CHECK(first->status == 201);
    CHECK(second->status == 200);
    CHECK(second->agent->status == "running");
  }
  SECTION("its actor crashes: neither waits for ever, and the process does not stay") {
    sim.kill(sim.subject);
    sim.run();
    CHECK(first->status == 500);
    CHECK(second->status == 500);
    REQUIRE(first->agent); // it may come to life all the same
    CHECK(first->agent->status == "stopping");
    CHECK(first->agent->dispatch_id == "d1");
    sim.processes->release_starts();
    sim.run();
    CHECK_FALSE(sim.processes->is_alive("a1"));
    CHECK(sim.processes->last().stop_wanted);
    CHECK(sim.supervisor->gone == std::vector<std::string>{"a1"});
  }
}

TEST_CASE("without its context an agent is not started: 503, and the same dispatch may be tried again") {
  agent_simulation sim;
  SECTION("the town refuses") {
    sim.town_said->on_call = [](const agent_call&) { return std::optional{agent_call_answer{503, "{}"}}; };
    const auto answer = sim.start("d1");
    CHECK(answer->status == 503);
    CHECK(answer->retry_after_seconds > 0);
    CHECK(answer->failure->message.find("503") != std::string::npos);
  }
  SECTION("the town does not answer") {
    sim.town_said->on_call = [](const agent_call&) { return std::optional<agent_call_answer>{}; };
    const auto answer = sim.start("d1");
    sim.advance(19s);
    CHECK_FALSE(answer.has_come());
    sim.advance(2s);
    CHECK(answer->status == 503);
  }
  CHECK(sim.processes->all.empty());
  CHECK(sim.status().status == "idle");
  sim.town_said->on_call = nullptr;
  CHECK(sim.start("d1")->status == 201);
}

TEST_CASE("a process that cannot be started is 500 with its reason, and may be tried again") {
  agent_simulation sim;
  sim.processes->next_start_fails = error{error_code::invalid_config, "/bin/worker", "no such program"};
  const auto answer = sim.start("d1");
  CHECK(answer->status == 500);
  CHECK(answer->failure->message == "no such program");
  CHECK_FALSE(answer->agent);
  CHECK(sim.status().status == "failed");
  CHECK(sim.town_said->completed.empty());
  CHECK(sim.start("d1")->status == 201);
}

TEST_CASE("without a command it is said which key is missing") {
  agent_simulation sim{{}};
  const auto answer = sim.start("d1");
  CHECK(answer->status == 500);
  CHECK(answer->failure->object == "agents.command");
}

TEST_CASE("how a process ended is said to the town, to health and to the supervisor") {
  agent_simulation sim;
  sim.start("d1");
  const auto [how, status, reason] = GENERATE(table<process_end, std::string, std::string>({
      {{0, std::nullopt, "t"}, "completed", ""},
      {{3, std::nullopt, "t"}, "failed", "exited with code 3"},
      {{std::nullopt, SIGSEGV, "t"}, "failed", "ended by signal 11"},
  }));
  sim.processes->end("a1", how);
  sim.run();
  REQUIRE(sim.town_said->completed.size() == 1);
  const auto& said = sim.town_said->completed[0];
  CHECK(said.rig_id == "r");
  CHECK(said.agent_id == "a1");
  CHECK(said.body.status == status);
  CHECK(said.body.reason.value_or("") == reason);
  CHECK(said.body.dispatch_id == "d1");
  CHECK(said.body.exit_code == how.exit_code);
  CHECK(said.body.signal == how.signal);
  CHECK(sim.supervisor->idle == std::vector<std::string>{"a1"});
  CHECK(sim.statuses() == std::vector<std::string>{"starting", "running", "exited"});
  CHECK(sim.status().exit_code == how.exit_code);
  CHECK(sim.status().last_activity_at == "t");
}

TEST_CASE("a stop ends the process group, and the end is reported") {
  agent_simulation sim;
  sim.processes->obedient = false;
  sim.start("d1");
  sim.stop();
  CHECK(sim.processes->last().stop_wanted);
  CHECK(sim.status().status == "stopping");
  CHECK(sim.town_said->completed.empty());
  CHECK(sim.start("d2")->status == 200); // it lives still
  sim.processes->end("a1", {std::nullopt, SIGKILL, ""});
  sim.run();
  CHECK(sim.town_said->completed.at(0).body.signal == SIGKILL);
  CHECK(sim.start("d2")->status == 201);
}

TEST_CASE("a stop that comes before the process runs") {
  agent_simulation sim;
  SECTION("while the context is fetched: it is not started at all") {
    sim.town_said->on_call = [](const agent_call&) { return std::optional<agent_call_answer>{}; };
    const auto answer = sim.start("d1");
    sim.stop();
    CHECK(answer->status == 503);
    sim.advance(1min);
    CHECK(sim.processes->all.empty());
    CHECK(sim.status().status == "idle");
  }
  SECTION("while it is forked: it is stopped at once") {
    sim.processes->hold_starts = true;
    const auto answer = sim.start("d1");
    sim.stop();
    sim.processes->release_starts();
    sim.run();
    CHECK(answer->status == 201);
    CHECK(answer->agent->status == "stopping");
    CHECK_FALSE(sim.processes->is_alive("a1"));
    CHECK(sim.town_said->completed.size() == 1);
  }
  SECTION("when nothing runs") {
    sim.stop();
    CHECK(sim.status().status == "idle");
  }
}

TEST_CASE("an actor that crashes ends its process group, and the supervisor hears when it is gone") {
  agent_simulation sim;
  sim.processes->obedient = false;
  sim.start("d1");
  sim.kill(sim.subject);
  sim.run();
  CHECK(sim.processes->last().stop_wanted);
  CHECK(sim.supervisor->gone.empty());
  sim.processes->end("a1", {std::nullopt, SIGTERM, ""});
  sim.run();
  CHECK(sim.supervisor->gone == std::vector<std::string>{"a1"});
}

TEST_CASE("a start whose actor crashes is answered, not left to time out") {
  agent_simulation sim;
  SECTION("while the context is fetched") {
    sim.town_said->on_call = [](const agent_call&) { return std::optional<agent_call_answer>{}; };
    const auto answer = sim.start("d1");
    sim.kill(sim.subject);
    sim.run();
    CHECK(answer->status == 500);
    CHECK_FALSE(answer->agent); // nothing of it can live
  }
  SECTION("by an exception of the runner") {
    sim.processes->next_start_throws = true;
    const auto answer = sim.start("d1");
    CHECK(answer->status == 500);
    CHECK_FALSE(answer->agent);
    CHECK_FALSE(sim.is_alive(sim.subject));
  }
}

TEST_CASE("the supervisor hears from the runner before the actor that the process is gone") {
  // Otherwise an actor that crashes between the two words would leave an agent that is never idle.
  agent_simulation sim;
  sim.start("d1");
  sim.processes->end("a1");
  sim.kill(sim.subject); // the word is in its mailbox
  sim.run();
  CHECK(sim.supervisor->gone == std::vector<std::string>{"a1"});
}
