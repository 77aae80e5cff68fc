#include <catch2/catch_test_macros.hpp>

#include <thread>

#include "suite/bodies.hpp"
#include "suite/dispatch.hpp"

using namespace townkeeper::contract;
using namespace std::chrono_literals;
using townkeeper::test::control_stub;
using townkeeper::test::stub_answer;

namespace {

void restart(townkeeper::test::town& host) {
  host.kill();
  host.start();
}

} // namespace

TEST_CASE("every acknowledged write is there after a kill -9 of workerd right behind it") {
  townkeeper::test::town host;
  session town{host};
  const auto survives = [&](const answer& given) {
    restart(host);
    REQUIRE(given.verdict() == ok);
  };

  survives(town.admin("PUT", "/rigs/rig", rig_body()));
  CHECK(town.state()["rigs"][0]["rigId"] == "rig");
  survives(town.admin("PUT", agent_path("a1"), agent_body("a1")));
  CHECK(town.status_of("a1") == "pending");
  survives(town.admin("PUT", "/rigs/rig/git-token", R"({"token":"git-token-0123"})"));
  CHECK(town.container("POST", "/rigs/rig/refresh-git-token").data()["token"] == "git-token-0123");
  survives(town.admin("POST", agent_path("a1", "/mail"), R"({"body":"read this"})"));
  CHECK(town.prime("a1")["undelivered_mail"][0]["body"] == "read this");

  town.boot("i1");
  restart(host);
  CHECK(town.desired_state()["epoch"] == 1);
  CHECK(town.state()["container"]["live"] == true);

  survives(town.container("POST", "/container-heartbeat", heartbeat_body("i1", "a1", 7)));
  CHECK(town.agent_state("a1")["unsavedAgeSeconds"] == 7);
  survives(town.container("POST", agent_path("a1", "/mail-ack"), R"({"ids":["1"]})"));
  CHECK(town.prime("a1")["undelivered_mail"].size() == 0);
  survives(town.container("POST", agent_path("a1", "/recovery-point"), point(town.town_id(), "a1", 1, 1)));
  CHECK(town.desired_agent("a1")["recovery"]["commit"] == commit_a);
  survives(town.container("POST", agent_path("a1", "/kept"), point(town.town_id(), "a1", 1, 2, commit_c)));
  CHECK(town.desired_agent("a1")["kept"][0]["commit"] == commit_c);
  survives(town.container("POST", "/container-ready", ready_body("i1", "ready", {report("a1", "restored")})));
  CHECK(town.status_of("a1") == "pending");
  survives(town.container("POST", "/container-eviction", "{}"));
  CHECK(town.ready("ready", {})["cleared"] == false);
  survives(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})"));
  CHECK(town.status_of("a1") == "idle");
  survives(town.container("POST", "/container-drained", drained_body("i1", "a1", true)));
  CHECK(town.state()["container"]["live"] == false);
}

TEST_CASE("eight checkpoints, each followed by a kill -9, are all there, and their keys still answer") {
  townkeeper::test::town host;
  auto town = town_of(host, {"a1"});
  for (int i = 1; i <= 8; ++i) {
    const auto key = "key-" + std::to_string(i);
    const auto body = R"({"data":)" + std::to_string(i) + "}";
    const auto given = town.keyed(key, agent_path("a1", "/checkpoint"), body);
    restart(host);
    REQUIRE(given.data()["seq"] == i);
    REQUIRE(town.keyed(key, agent_path("a1", "/checkpoint"), body).data()["seq"] == i);
  }
  const auto listed = town.container("GET", agent_path("a1", "/checkpoints")).data();
  REQUIRE(listed.size() == 8);
  for (int i = 0; i < 8; ++i)
    CHECK(listed[i]["data"] == 8 - i);
}

TEST_CASE("an epoch is never given twice, whatever is killed in between") {
  townkeeper::test::town host;
  session town{host};
  for (int i = 1; i <= 5; ++i) {
    REQUIRE(town.boot("i" + std::to_string(i)) == i);
    restart(host);
  }
  CHECK(town.without_epoch("POST", "/container-boot", boot_body("i4")).verdict() == fenced);
  CHECK(town.boot("i5") == 5);
}

TEST_CASE("an alarm that fell due while workerd was down fires when it is back, without anybody asking") {
  townkeeper::test::town host{{.time_scale = retry_scale}};
  control_stub container;
  container.answer_with({.status = 503, .headers = {{"Retry-After", "10"}}});
  auto town = town_of(host, {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(eventually([&] { return town.agent_state("a1")["refusals"] == 1; }));
  REQUIRE(container.requests().size() == 1);
  host.kill();
  container.answer_with(status(201));
  std::this_thread::sleep_for(in_real_time(12s));
  REQUIRE(container.requests().size() == 1);
  host.start();
  REQUIRE(container.wait_for(2));
  CHECK(eventually([&] { return town.status_of("a1") == "working"; }));
}

TEST_CASE("an alarm that was to come fires after a kill -9 as well") {
  townkeeper::test::town host{{.time_scale = retry_scale}};
  control_stub container;
  container.answer_with({.status = 503, .headers = {{"Retry-After", "20"}}});
  auto town = town_of(host, {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(eventually([&] { return town.agent_state("a1")["refusals"] == 1; }));
  container.answer_with(status(201));
  restart(host);
  REQUIRE(container.wait_for(2));
  CHECK(pauses(container)[0] >= in_real_time(20s));
}

TEST_CASE("a ready that was acknowledged is dispatched after a kill -9 right behind it") {
  townkeeper::test::town host;
  control_stub container;
  gate answers;
  container.answer_with(answers.then(status(201)));
  auto town = town_of(host, {"a1", "a2"});
  town.boot_ready({"a1", "a2"}, container.url());
  host.kill();
  answers.open();
  host.start();
  for (const auto* agent : {"a1", "a2"})
    CHECK(eventually([&] { return town.status_of(agent) == "working"; }));
}

TEST_CASE("a start whose answer was lost with workerd is repeated under its own id, and the lost call is in the feed") {
  townkeeper::test::town host{{.time_scale = retry_scale}};
  control_stub container;
  gate answers;
  container.answer_with(answers.then(status(201)));
  auto town = town_of(host, {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(1));
  restart(host);
  REQUIRE(container.wait_for(2));
  answers.open();
  REQUIRE(eventually([&] { return town.status_of("a1") == "working"; }));
  CHECK(start_call(container, 0)["dispatchId"].string() == start_call(container, 1)["dispatchId"].string());
  const auto feed = town.dispatches();
  REQUIRE(feed.size() == 2);
  CHECK(feed[0]["status"] == 0);
  CHECK(feed[0]["error"] == "the town restarted before the answer came");
  CHECK(feed[1]["status"] == 201);
  CHECK(feed[0]["dispatchId"].string() == feed[1]["dispatchId"].string());
}

TEST_CASE("a working agent is not started again because workerd was restarted") {
  townkeeper::test::town host;
  control_stub container;
  auto town = town_of(host, {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(eventually([&] { return town.status_of("a1") == "working"; }));
  restart(host);
  CHECK(town.status_of("a1") == "working");
  CHECK_FALSE(container.wait_for(2, 300ms));
}
