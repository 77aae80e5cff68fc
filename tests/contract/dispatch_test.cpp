#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "suite/bodies.hpp"
#include "suite/dispatch.hpp"

using namespace townkeeper::contract;
using townkeeper::test::control_stub;
using townkeeper::test::stub_answer;

namespace {

constexpr std::chrono::milliseconds long_enough{300};

bool is_working(const session& town, const std::string& agent) {
  return eventually([&] { return town.status_of(agent) == "working"; });
}

} // namespace

TEST_CASE("an agent is started when its container has said ready, and not before") {
  control_stub container;
  auto town = town_of(shared_town(), {"a1", "a2"});
  town.boot("i1", container.url());
  CHECK(container.requests().empty());
  town.ready("partial", {report("a2", "restored"), report("a1", "restoring")});
  REQUIRE(is_working(town, "a2"));
  CHECK(called(container) == std::vector<std::string>{"a2"});
  CHECK(town.status_of("a1") == "restoring");
}

TEST_CASE("a start call has the contract's route, token, epoch and body") {
  control_stub container;
  session town{shared_town()};
  town.put_rig();
  auto body =
      with(agent_body("a1"), "/bead", R"({"beadId":"gt-1","title":"Fix it","body":"all of it","status":"open"})");
  town.put_agent("a1", with(body, "/baseRef", R"("develop")"));
  town.boot("i0");
  town.boot_ready({"a1"}, container.url(), "i1");
  REQUIRE(container.wait_for(1));
  const auto request = container.requests()[0];
  CHECK(request.method == "POST");
  CHECK(request.target == "/agents/start");
  CHECK(request.headers.at("authorization") == "Bearer " + control_token);
  CHECK(request.headers.at("x-gastown-epoch") == "2");
  CHECK(request.headers.at("content-type") == "application/json");
  const auto start = start_call(container, 0);
  CHECK(start.keys() ==
        words("agentId rigId townId role name identity prompt model systemPrompt gitUrl branch defaultBranch envVars "
              "startPoint dispatchId"));
  CHECK(start["agentId"] == "a1");
  CHECK(start["rigId"] == "rig");
  CHECK(start["townId"] == town.town_id());
  CHECK(start["role"] == "polecat");
  CHECK(start["name"] == "Toast");
  CHECK(start["identity"] == "Toast <toast@town.example>");
  CHECK(start["prompt"] == "Fix it\n\nall of it");
  CHECK(start["gitUrl"] == "https://git.example/rig.git");
  CHECK(start["branch"] == "gt/a1");
  CHECK(start["defaultBranch"] == "main");
  CHECK(start["envVars"] == json::parse("{}"));
  CHECK(start["startPoint"] == "develop");
  CHECK_FALSE(start["model"].string().empty());
  CHECK_FALSE(start["dispatchId"].string().empty());
}

TEST_CASE("the model that agents are started with is the deployment's to say") {
  const townkeeper::test::town host{{.environment = {{"AGENT_MODEL", "model-of-the-town"}}}};
  control_stub container;
  auto town = town_of(host, {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(1));
  CHECK(start_call(container, 0)["model"] == "model-of-the-town");
}

TEST_CASE("a controlUrl may have a path of its own") {
  control_stub container;
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url() + "/container-7");
  REQUIRE(container.wait_for(1));
  CHECK(container.requests()[0].target == "/container-7/agents/start");
}

TEST_CASE("eight are started at once, those of the highest priority first") {
  control_stub container;
  gate answers;
  container.answer_with(answers.then(status(201)));
  session town{shared_town()};
  town.put_rig();
  std::vector<std::string> agents;
  for (int i = 0; i < 12; ++i) {
    agents.push_back("a" + std::to_string(10 + i));
    town.put_agent(agents.back(), agent_body(agents.back(), i));
  }
  town.boot_ready(agents, container.url());
  REQUIRE(container.wait_for(8));
  auto first = called(container);
  std::sort(first.begin(), first.end());
  CHECK(first == std::vector<std::string>(agents.end() - 8, agents.end()));
  CHECK_FALSE(container.wait_for(9, long_enough));
  answers.open();
  REQUIRE(container.wait_for(12));
  for (const auto& agent : agents)
    CHECK(is_working(town, agent));
}

TEST_CASE("a start that takes long holds up nobody who becomes due meanwhile") {
  control_stub container;
  gate answers;
  container.answer_with([held = answers.then(status(201))](const auto& request) {
    return json::parse(request.body)["agentId"] == "slow" ? held(request) : status(201);
  });
  auto town = town_of(shared_town(), {"slow", "a2"});
  town.boot("i1", container.url());
  town.ready("partial", {report("slow", "restored")});
  REQUIRE(container.wait_for(1));
  town.ready("ready", {report("slow", "restored"), report("a2", "restored")});
  CHECK(is_working(town, "a2"));
  CHECK(town.status_of("slow") == "pending");
  answers.open();
  CHECK(is_working(town, "slow"));
}

TEST_CASE("an agent is dispatched once, however often ready is said") {
  control_stub container;
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(is_working(town, "a1"));
  town.ready("ready", {report("a1", "restored")});
  town.put_agent("a1");
  CHECK_FALSE(container.wait_for(2, long_enough));
  CHECK(town.status_of("a1") == "working");
}

TEST_CASE("an agent that the container finds running already is working too") {
  control_stub container;
  container.answer_with(status(200));
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url());
  CHECK(is_working(town, "a1"));
  CHECK(town.dispatches()[0]["status"] == 200);
}

TEST_CASE("an agent that could not be restored is not started until it is") {
  control_stub container;
  session town{shared_town()};
  town.put_rig();
  town.put_agent("broken", agent_body("broken", 9));
  town.put_agent("a2");
  town.boot("i1", container.url());
  town.ready("degraded", {report("broken", "failed"), report("a2", "restored")});
  REQUIRE(is_working(town, "a2"));
  CHECK(called(container) == std::vector<std::string>{"a2"});
  town.ready("ready", {report("broken", "restored"), report("a2", "restored")});
  CHECK(is_working(town, "broken"));
}

TEST_CASE("a new container starts the agents of the one before under new dispatch ids") {
  control_stub container;
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url(), "i1");
  REQUIRE(is_working(town, "a1"));
  town.boot_ready({"a1"}, container.url(), "i2");
  REQUIRE(container.wait_for(2));
  CHECK(container.requests()[1].headers.at("x-gastown-epoch") == "2");
  CHECK(start_call(container, 0)["dispatchId"].string() != start_call(container, 1)["dispatchId"].string());
}

TEST_CASE("a container that drains is not called, until its drain is cleared") {
  control_stub container;
  container.answer_with(status(503));
  auto town = town_of(fast_town(retry_scale), {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(1));
  const auto nonce = town.container("POST", "/container-eviction", "{}").data()["drainNonce"].string();
  // One that had gone out already may still arrive.
  container.wait_for(2, std::chrono::milliseconds{50});
  const auto before = container.requests().size();
  town.ready("ready", {report("a1", "restored")});
  town.put_agent("a2");
  CHECK_FALSE(container.wait_for(before + 1, long_enough));
  container.answer_with(status(201));
  town.ready("ready", {report("a1", "restored")}, nonce);
  CHECK(is_working(town, "a1"));
}

TEST_CASE("a container that has drained is not called") {
  control_stub container;
  auto town = town_of(shared_town(), {"a1"});
  town.boot("i1", container.url());
  REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == ok);
  town.ready("ready", {report("a1", "restored")});
  CHECK_FALSE(container.wait_for(1, long_enough));
}

TEST_CASE("a container whose epoch is old is never called again") {
  control_stub old_container;
  control_stub new_container;
  old_container.answer_with(status(503));
  auto town = town_of(fast_town(retry_scale), {"a1"});
  town.boot_ready({"a1"}, old_container.url(), "i1");
  REQUIRE(old_container.wait_for(1));
  town.boot("i2", new_container.url());
  const auto before = old_container.requests().size();
  town.ready("ready", {report("a1", "restored")});
  CHECK(is_working(town, "a1"));
  CHECK_FALSE(old_container.wait_for(before + 1, long_enough));
  CHECK(called(new_container) == std::vector<std::string>{"a1"});
}

TEST_CASE("the answer to a start counts only while the agent waits for that start") {
  control_stub container;
  gate answers;
  container.answer_with(answers.then(status(201)));
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url(), "i1");
  REQUIRE(container.wait_for(1));
  std::string expected;
  SECTION("not when it is done meanwhile") {
    REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})").verdict() == ok);
    expected = "idle";
  }
  SECTION("not when a new container booted meanwhile") {
    town.boot("i2");
    expected = "restoring";
  }
  SECTION("not when its worktree has to be another one meanwhile") {
    town.put_agent("a1", with(agent_body("a1"), "/branch", R"("gt/another")"));
    expected = "restoring";
  }
  SECTION("not when it was deleted and put anew") {
    REQUIRE(town.admin("DELETE", agent_path("a1")).verdict() == ok);
    town.put_agent("a1");
    expected = "restoring";
  }
  answers.open();
  REQUIRE(eventually([&] { return town.dispatches().size() == 1; }));
  CHECK(town.dispatches()[0]["status"] == 201);
  CHECK(town.status_of("a1") == expected);
}

TEST_CASE("a process that ended before its start was answered is started again, and is not taken for running") {
  control_stub container;
  gate answers;
  container.answer_with(answers.then(status(201)));
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(1));
  const auto id = start_call(container, 0)["dispatchId"].string();
  const auto ended = R"({"status":"failed","exitCode":1,"dispatchId":")" + id + R"("})";
  REQUIRE(town.container("POST", agent_path("a1", "/completed"), ended).verdict() == ok);
  answers.open();
  REQUIRE(container.wait_for(2));
  CHECK(start_call(container, 1)["dispatchId"].string() != id);
  CHECK(is_working(town, "a1"));
}

TEST_CASE("a redirect is not followed: the token goes nowhere but to the container") {
  control_stub container;
  control_stub elsewhere;
  container.answer_with(stub_answer{.status = 307, .headers = {{"Location", elsewhere.url() + "/agents/start"}}});
  auto town = town_of(fast_town(retry_scale), {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(2));
  CHECK(elsewhere.requests().empty());
  CHECK(town.dispatches()[0]["status"] == 307);
}

TEST_CASE("every start call is in the feed, in the order of the answers, and can be read on from any of them") {
  control_stub container;
  container.answer_with([](const auto& request) {
    return json::parse(request.body)["agentId"] == "a1" ? status(201) : status(500, "no room for " + control_token);
  });
  auto town = town_of(fast_town(retry_scale), {"a1", "a2"});
  town.boot_ready({"a1", "a2"}, container.url());
  REQUIRE(eventually([&] { return town.dispatches().size() >= 3; }));
  const auto feed = town.dispatches();
  std::int64_t before = 0;
  for (const auto& row : feed.items()) {
    const bool good = row["agentId"] == "a1";
    CHECK(row.keys() == words(good ? "seq at epoch dispatchId rigId agentId status"
                                   : "seq at epoch dispatchId rigId agentId status error"));
    CHECK(row["seq"].integer() > before);
    CHECK(row["epoch"] == 1);
    CHECK(row["rigId"] == "rig");
    CHECK(row["status"] == (good ? 201 : 500));
    if (!good) CHECK(row["error"] == "the container answered 500: no room for ***");
    before = row["seq"].integer();
  }
  const auto later = town.dispatches(feed[0]["seq"].integer());
  CHECK(later[0] == feed[1]);
  CHECK(town.dispatches(1'000'000).size() == 0);
  CHECK(town.admin("GET", "/dispatches?after=x").paths() == words("after"));
  CHECK(town.agent_state("a2")["lastError"] == "the container answered 500: no room for ***");
}
