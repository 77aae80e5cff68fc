#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>

#include "suite/bodies.hpp"
#include "suite/dispatch.hpp"

using namespace townkeeper::contract;
using namespace std::chrono_literals;
using townkeeper::test::control_stub;
using townkeeper::test::stub_answer;

namespace {

session awake(const control_stub& container, int scale = retry_scale) {
  auto town = town_of(fast_town(scale), {"a1"});
  town.boot_ready({"a1"}, container.url());
  return town;
}

std::string dispatch_id(const control_stub& container, std::size_t index) {
  return start_call(container, index)["dispatchId"].string();
}

/// A moment on the town's own clock, since the first of its month.
std::chrono::milliseconds moment_of(const std::string& iso) {
  int day = 0, hour = 0, minute = 0, second = 0, ms = 0;
  REQUIRE(std::sscanf(iso.c_str(), "%*d-%*d-%dT%d:%d:%d.%dZ", &day, &hour, &minute, &second, &ms) == 5);
  return day * 24h + hour * 1h + minute * 1min + second * 1s + ms * 1ms;
}

bool is_status(const session& town, const std::string& status) {
  return eventually([&] { return town.status_of("a1") == status; });
}

} // namespace

TEST_CASE("a start that fails is tried five times with growing pauses, and then the agent is stalled with the reason",
          "[timed]") {
  control_stub container;
  container.answer_with(status(500, "no such binary"));
  const auto town = awake(container);
  REQUIRE(is_status(town, "stalled"));
  const auto waited = pauses(container);
  REQUIRE(waited.size() == 4);
  CHECK(waited[0] >= in_real_time(2s));
  CHECK(waited[1] >= in_real_time(4s));
  CHECK(waited[2] >= in_real_time(8s));
  CHECK(waited[3] >= in_real_time(16s));
  CHECK(town.agent_state("a1")["attempts"] == 5);
  CHECK(town.agent_state("a1")["lastError"] == "the container answered 500: no such binary");
}

TEST_CASE("a stalled agent is tried again after 60 s, and works when that succeeds", "[timed]") {
  control_stub container;
  std::atomic<int> calls = 0;
  container.answer_with([&](const auto&) { return status(++calls <= 6 ? 500 : 201); });
  const auto town = awake(container, impatient_scale);
  REQUIRE(container.wait_for(7));
  CHECK(pauses(container)[4] >= in_real_time(60s, impatient_scale));
  CHECK(pauses(container)[5] >= in_real_time(60s, impatient_scale));
  REQUIRE(is_status(town, "working"));
  CHECK(town.agent_state("a1")["attempts"] == 0);
  CHECK(town.agent_state("a1")["lastError"] == nullptr);
}

TEST_CASE("a stalled agent is tried again at once when the container says ready") {
  control_stub container;
  container.answer_with(status(500));
  const auto town = awake(container);
  REQUIRE(is_status(town, "stalled"));
  town.ready("partial", {report("a1", "restored")});
  REQUIRE(container.wait_for(6));
  CHECK(pauses(container)[4] < in_real_time(60s));
  REQUIRE(eventually([&] { return town.agent_state("a1")["attempts"] == 6; }));
  CHECK(town.status_of("a1") == "stalled");
  // Also when it speaks of others only.
  container.answer_with(status(201));
  town.ready("partial", {});
  REQUIRE(container.wait_for(7));
  CHECK(pauses(container)[5] < in_real_time(60s));
  CHECK(is_status(town, "working"));
}

TEST_CASE("a container that says not now costs no attempt") {
  const int code = GENERATE(503, 409);
  CAPTURE(code);
  control_stub container;
  container.answer_with(status(code));
  const auto town = awake(container);
  REQUIRE(container.wait_for(3));
  CHECK(pauses(container)[0] >= in_real_time(2s));
  CHECK(pauses(container)[1] >= in_real_time(4s));
  const auto agent = town.agent_state("a1");
  CHECK(agent["status"] == "pending");
  CHECK(agent["attempts"] == 0);
  container.answer_with(status(201));
  CHECK(is_status(town, "working"));
}

TEST_CASE("a settled ready tries a refused agent again at once") {
  control_stub container;
  container.answer_with({.status = 503, .headers = {{"Retry-After", "600"}}});
  const auto town = awake(container);
  REQUIRE(eventually([&] { return town.agent_state("a1")["refusals"] == 1; }));
  container.answer_with(status(201));
  town.ready("ready", {report("a1", "restored")});
  CHECK(is_status(town, "working"));
}

TEST_CASE("Retry-After is honoured", "[timed]") {
  control_stub container;
  container.answer_with({.status = 503, .headers = {{"Retry-After", "20"}}});
  const auto town = awake(container);
  REQUIRE(container.wait_for(2));
  CHECK(pauses(container)[0] >= in_real_time(20s));
}

TEST_CASE("a Retry-After shorter than the backoff does not shorten it, and one that is no number is ignored",
          "[timed]") {
  control_stub container;
  container.answer_with(
      {.status = 503, .headers = {{"Retry-After", GENERATE("0", "soon", "Wed, 24 Nov 2027 12:00:00 GMT")}}});
  const auto town = awake(container);
  REQUIRE(container.wait_for(2));
  CHECK(pauses(container)[0] >= in_real_time(2s));
  CHECK(pauses(container)[0] < in_real_time(40s));
}

TEST_CASE("a container that refuses the connection costs no attempt and is found again when it is back") {
  std::string nobody;
  {
    const control_stub gone;
    nobody = gone.url();
  }
  auto town = town_of(fast_town(retry_scale), {"a1"});
  town.boot_ready({"a1"}, nobody);
  REQUIRE(eventually([&] { return town.agent_state("a1")["refusals"].integer() >= 2; }));
  CHECK(town.agent_state("a1")["status"] == "pending");
  CHECK(town.agent_state("a1")["attempts"] == 0);
  CHECK(town.dispatches()[0]["status"] == 0);

  control_stub container;
  town.boot("instance-1", container.url());
  CHECK(is_status(town, "working"));
  CHECK(dispatch_id(container, 0) == town.dispatches()[0]["dispatchId"].string());
}

TEST_CASE("a container that gave no controlUrl costs no attempt either") {
  auto town = town_of(fast_town(retry_scale), {"a1"});
  town.boot_ready({"a1"});
  REQUIRE(eventually([&] { return town.agent_state("a1")["refusals"].integer() >= 2; }));
  CHECK(town.agent_state("a1")["attempts"] == 0);
}

TEST_CASE("a call without an answer is given up after 10 s, costs an attempt and is repeated under its own id",
          "[timed]") {
  control_stub container;
  container.answer_with({.how = stub_answer::kind::hang});
  const auto town = awake(container);
  REQUIRE(container.wait_for(2));
  CHECK(pauses(container)[0] >= in_real_time(10s) + in_real_time(2s));
  CHECK(pauses(container)[0] < in_real_time(30s));
  CHECK(dispatch_id(container, 0) == dispatch_id(container, 1));
  REQUIRE(eventually([&] { return town.dispatches().size() >= 2; }));
  const auto rows = town.dispatches();
  const auto row = rows[0];
  // By the clock of the town that calls: the stub may see the first arrival late.
  CHECK(moment_of(rows[1]["at"].string()) - moment_of(row["at"].string()) >= 10s + 2s);
  CHECK(row["status"] == 0);
  CHECK(row["error"] == "the container did not answer within 10 s");
  CHECK(town.agent_state("a1")["attempts"].integer() >= 1);
  container.answer_with(status(200));
  CHECK(is_status(town, "working"));
}

TEST_CASE("a hanging container stalls the agent after five calls", "[timed]") {
  control_stub container;
  container.answer_with({.how = stub_answer::kind::hang});
  const auto town = awake(container, impatient_scale);
  REQUIRE(is_status(town, "stalled"));
  CHECK(container.requests().size() == 5);
}

TEST_CASE("a call that nobody can say the end of is repeated under its own id") {
  const auto answer =
      GENERATE(stub_answer{.how = stub_answer::kind::hang_up}, stub_answer{.status = 502}, stub_answer{.status = 504});
  control_stub container;
  container.answer_with(answer);
  const auto town = awake(container);
  REQUIRE(container.wait_for(2));
  CHECK(dispatch_id(container, 0) == dispatch_id(container, 1));
}

TEST_CASE("a call that was answered with a refusal is repeated under a fresh id") {
  const int code = GENERATE(500, 503, 409, 404, 400);
  control_stub container;
  container.answer_with(status(code));
  const auto town = awake(container);
  REQUIRE(container.wait_for(2));
  CHECK(dispatch_id(container, 0) != dispatch_id(container, 1));
}

TEST_CASE("a process that ended is started again under a fresh id, after a pause", "[timed]") {
  control_stub container;
  const auto town = awake(container);
  REQUIRE(is_status(town, "working"));
  const auto ended = R"({"status":"completed","exitCode":0,"dispatchId":")" + dispatch_id(container, 0) + R"("})";
  const auto given = town.container("POST", agent_path("a1", "/completed"), ended);
  REQUIRE(given.verdict() == ok);
  CHECK(given.data() == json::parse(R"({"completed":true})"));
  CHECK(town.status_of("a1") == "pending");
  REQUIRE(container.wait_for(2));
  CHECK(pauses(container)[0] >= in_real_time(2s));
  CHECK(dispatch_id(container, 0) != dispatch_id(container, 1));
  CHECK(is_status(town, "working"));
  CHECK(town.agent_state("a1")["completed"]["status"] == "completed");
}

TEST_CASE("a process that ends in a worktree that has been found broken meanwhile waits until it is whole") {
  control_stub container;
  const auto town = awake(container);
  REQUIRE(is_status(town, "working"));
  town.ready("degraded", {report("a1", "failed")});
  CHECK(town.status_of("a1") == "working");
  const auto ended = R"({"status":"failed","dispatchId":")" + dispatch_id(container, 0) + R"("})";
  REQUIRE(town.container("POST", agent_path("a1", "/completed"), ended).verdict() == ok);
  CHECK(town.status_of("a1") == "restoring");
  town.ready("ready", {report("a1", "restored")});
  CHECK(is_status(town, "working"));
}

TEST_CASE("one that ends again and again is started with growing pauses", "[timed]") {
  control_stub container;
  const auto town = awake(container);
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(container.wait_for(i + 1));
    REQUIRE(is_status(town, "working"));
    const auto ended = R"({"status":"failed","signal":9,"dispatchId":")" + dispatch_id(container, i) + R"("})";
    REQUIRE(town.container("POST", agent_path("a1", "/completed"), ended).verdict() == ok);
  }
  REQUIRE(container.wait_for(4));
  CHECK(pauses(container)[1] >= in_real_time(4s));
  CHECK(pauses(container)[2] >= in_real_time(8s));
}

TEST_CASE("the end of a dispatch counts once, and only the end of one that there was") {
  control_stub container;
  const auto town = awake(container);
  REQUIRE(is_status(town, "working"));
  const auto ended = [&](const std::string& id) {
    REQUIRE(
        town.container("POST", agent_path("a1", "/completed"), R"({"status":"failed","dispatchId":")" + id + R"("})")
            .verdict() == ok);
  };
  ended("of-nobody");
  CHECK(town.status_of("a1") == "working");
  ended(dispatch_id(container, 0));
  REQUIRE(container.wait_for(2));
  REQUIRE(is_status(town, "working"));
  ended(dispatch_id(container, 0));
  CHECK(town.status_of("a1") == "working");
}

TEST_CASE("a client that knows no dispatches says completed without an id") {
  control_stub container;
  const auto town = awake(container);
  REQUIRE(is_status(town, "working"));
  REQUIRE(town.container("POST", agent_path("a1", "/completed"), R"({"status":"failed","reason":"out of memory"})")
              .verdict() == ok);
  CHECK(town.status_of("a1") == "pending");
  CHECK(town.container("POST", agent_path("a1", "/completed"), R"({"status":"gone"})").paths() == words("status"));
}

TEST_CASE("completed changes nothing while the container drains, nor from one that is fenced") {
  control_stub container;
  auto town = awake(container);
  REQUIRE(is_status(town, "working"));
  const auto ended = R"({"status":"failed","dispatchId":")" + dispatch_id(container, 0) + R"("})";
  SECTION("draining") {
    REQUIRE(town.container("POST", "/container-eviction", "{}").verdict() == ok);
    CHECK(town.container("POST", agent_path("a1", "/completed"), ended).verdict() == ok);
  }
  SECTION("drained") {
    REQUIRE(town.container("POST", "/container-drained", drained_body("instance-1", "a1", true)).verdict() == ok);
    CHECK(town.container("POST", agent_path("a1", "/completed"), ended).verdict() == ok);
  }
  SECTION("fenced") {
    town.boot_ready({"a1"}, container.url(), "instance-2");
    REQUIRE(container.wait_for(2));
    REQUIRE(is_status(town, "working"));
    CHECK(town.as_epoch(1, "POST", agent_path("a1", "/completed"), ended).verdict() == fenced);
  }
  CHECK(town.status_of("a1") == "working");
  CHECK(town.agent_state("a1")["completed"] == nullptr);
}

TEST_CASE("completed does not wake an agent that has nothing to do") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1", agent_body("a1", "idle"));
  REQUIRE(town.container("POST", agent_path("a1", "/completed"), R"({"status":"completed"})").verdict() == ok);
  CHECK(town.status_of("a1") == "idle");
}

TEST_CASE("the end of a long run is believed however many calls there were meanwhile") {
  control_stub container;
  container.answer_with(
      [](const auto& request) { return status(json::parse(request.body)["agentId"] == "long" ? 201 : 503); });
  session town{fast_town(1000)};
  town.put_rig();
  std::vector<std::string> agents{"long"};
  for (int i = 0; i < 40; ++i)
    agents.push_back("busy-" + std::to_string(i));
  for (const auto& agent : agents)
    town.put_agent(agent);
  town.boot_ready(agents, container.url());
  REQUIRE(eventually([&] { return town.status_of("long") == "working"; }));
  const auto calls = town.dispatches();
  const auto id = calls.where("agentId", "long")["dispatchId"].string();
  REQUIRE(eventually([&] { return town.dispatches(1'050).size() > 0; }, 30s));
  CHECK(town.dispatches().size() <= 1'000);
  REQUIRE(
      town.container("POST", agent_path("long", "/completed"), R"({"status":"failed","dispatchId":")" + id + R"("})")
          .verdict() == ok);
  CHECK(town.agent_state("long")["completed"]["status"] == "failed");
}
