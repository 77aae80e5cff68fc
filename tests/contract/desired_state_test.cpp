#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

session with_agent(const townkeeper::test::town& host = shared_town()) {
  session town{host};
  town.put_rig();
  town.put_agent("a1");
  return town;
}

void heartbeat(const session& town, double unsaved_age_seconds) {
  REQUIRE(town.container("POST", "/container-heartbeat", heartbeat_body(town.instance(), "a1", unsaved_age_seconds))
              .verdict() == ok);
}

json maybe_lost(const session& town) {
  return town.desired_agent("a1")["maybeLostSeconds"];
}

} // namespace

TEST_CASE("a town that nobody has touched is empty and says so") {
  session town{shared_town()};
  CHECK(town.desired_state() == json::parse(R"({"version":1,"epoch":0,"rigs":[]})"));
}

TEST_CASE("the desired state lists rigs and agents in the contract's shape") {
  session town{shared_town()};
  town.put_rig();
  auto body = agent_body("a1");
  body = with(body, "/baseRef", R"("main")");
  body = with(body, "/headCommit", json_string(commit_a));
  body = with(body, "/bead", R"({"beadId":"gt-1","title":"Fix it","body":"all of it","status":"open"})");
  town.put_agent("a1", body);
  town.boot();
  const auto state = town.desired_state();
  CHECK(state.keys() == words("version epoch rigs"));
  const auto rig = state["rigs"][0];
  CHECK(rig.keys() == words("rigId name gitUrl defaultBranch agents"));
  CHECK(rig["rigId"] == "rig");
  CHECK(rig["name"] == "Rig");
  CHECK(rig["gitUrl"] == "https://git.example/rig.git");
  CHECK(rig["defaultBranch"] == "main");
  auto expected = with(with(body, "/agentId", R"("a1")"), "/kept", "[]");
  CHECK(rig["agents"][0] == json::parse(with(expected, "/status", R"("restoring")")));
}

TEST_CASE("an agent with nothing more to tell has only the required fields") {
  const auto town = with_agent();
  CHECK(town.desired_agent("a1").keys() == words("agentId name role identity status branch priority kept"));
}

TEST_CASE("the desired state lists the agents that hold work and no others, highest priority first") {
  session town{shared_town()};
  town.put_rig();
  int priority = 0;
  for (const auto* status : {"idle", "pending", "restoring", "working", "stalled", "dead"})
    town.put_agent(status, with(agent_body(status, status), "/priority", std::to_string(priority++)));
  std::vector<std::string> listed;
  for (const auto& agent : town.desired_state()["rigs"][0]["agents"].items())
    listed.push_back(agent["agentId"].string());
  CHECK(listed == std::vector<std::string>{"stalled", "working", "restoring", "pending"});
}

TEST_CASE("a rig without agents is listed, because it may have some later") {
  session town{shared_town()};
  town.put_rig();
  CHECK(town.desired_state()["rigs"][0]["agents"] == json::parse("[]"));
}

TEST_CASE("the version moves with everything a container must hold otherwise") {
  const auto town = with_agent();
  auto version = town.desired_state()["version"].integer();
  const auto moved = [&] {
    const auto before = std::exchange(version, town.desired_state()["version"].integer());
    return version > before;
  };
  CHECK_FALSE(moved());
  town.put_rig("rig2");
  CHECK(moved());
  town.put_rig("rig", "https://git.example/moved.git");
  CHECK(moved());
  town.put_agent("a2");
  CHECK(moved());
  town.put_agent("a2", with(agent_body("a2"), "/branch", R"("gt/other")"));
  CHECK(moved());
  town.put_agent("a2", agent_body("a2", "idle"));
  CHECK(moved());
  REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})").verdict() == ok);
  CHECK(moved());
  town.put_agent("a3");
  CHECK(moved());
  REQUIRE(town.admin("DELETE", agent_path("a3")).verdict() == ok);
  CHECK(moved());
  REQUIRE(town.admin("DELETE", "/rigs/rig2").verdict() == ok);
  CHECK(moved());
}

TEST_CASE("the version stays where a container has nothing to do") {
  const auto town = with_agent();
  town.put_agent("idle", agent_body("idle", "idle"));
  const auto version = town.desired_state()["version"].integer();
  town.put_rig();
  town.put_agent("a1");
  town.put_agent("idle", agent_body("idle", "dead"));
  REQUIRE(town.admin("DELETE", agent_path("idle")).verdict() == ok);
  REQUIRE(town.admin("DELETE", agent_path("nobody")).verdict() == ok);
  REQUIRE(town.admin("DELETE", "/rigs/nothing").verdict() == ok);
  REQUIRE(town.admin("POST", agent_path("a1", "/mail"), R"({"body":"x"})").verdict() == ok);
  REQUIRE(town.container("POST", agent_path("a1", "/checkpoint"), R"({"data":1})").verdict() == ok);
  REQUIRE(town.container("POST", agent_path("a1", "/status"), R"({"message":"x"})").verdict() == ok);
  CHECK(town.desired_state()["version"] == version);
}

TEST_CASE("the checkpoint that stands is listed by its number and time") {
  const auto town = with_agent();
  REQUIRE(town.container("POST", agent_path("a1", "/checkpoint"), R"({"data":{"step":1}})").verdict() == ok);
  const auto listed = town.desired_agent("a1")["checkpoint"];
  CHECK(listed.keys() == words("seq savedAt"));
  CHECK(listed["seq"] == 1);
  REQUIRE(town.container("POST", agent_path("a1", "/checkpoint"), R"({"data":null})").verdict() == ok);
  CHECK(town.desired_agent("a1")["checkpoint"].missing());
}

TEST_CASE("a predecessor that was live at boot is named until it has said drained") {
  auto town = with_agent();
  town.boot("i1");
  CHECK(town.desired_state()["predecessor"].missing());
  town.boot("i2");
  const auto predecessor = town.desired_state()["predecessor"];
  CHECK(predecessor.keys() == words("epoch draining since"));
  CHECK(predecessor["epoch"] == 1);
  CHECK(predecessor["draining"] == false);
  REQUIRE(town.as_epoch(1, "POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == ok);
  CHECK(town.desired_state()["predecessor"].missing());
}

TEST_CASE("a predecessor that was evicted is named as draining") {
  auto town = with_agent();
  town.boot("i1");
  REQUIRE(town.container("POST", "/container-eviction", "{}").verdict() == ok);
  town.boot("i2");
  CHECK(town.desired_state()["predecessor"]["draining"] == true);
}

TEST_CASE("a predecessor that had drained, or had long been silent, is not named") {
  auto town = with_agent(fast_town(200));
  town.boot("i1");
  REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == ok);
  town.boot("i2");
  CHECK(town.desired_state()["predecessor"].missing());
  REQUIRE(eventually([&] { return town.state()["container"]["live"] == false; }));
  town.boot("i3");
  CHECK(town.desired_state()["predecessor"].missing());
}

TEST_CASE("after a container that did not drain, an agent may have lost what was unsaved and the time since") {
  auto town = with_agent(fast_town(100));
  town.boot_ready({"a1"}, "", "i1");
  const auto sent = std::chrono::steady_clock::now();
  heartbeat(town, 5);
  const auto heard = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds{100}); // ten seconds of that town
  const std::chrono::duration<double> at_least = std::chrono::steady_clock::now() - heard;
  town.boot("i2");
  const std::chrono::duration<double> at_most = std::chrono::steady_clock::now() - sent;
  const auto lost = maybe_lost(town).number();
  CHECK(lost >= 5 + 100 * at_least.count() - 1);
  CHECK(lost <= std::min(90.0, std::ceil(5 + 100 * at_most.count()) + 1));
}

TEST_CASE("what may be lost is never said to be more than 90 s") {
  auto town = with_agent();
  town.boot_ready({"a1"}, "", "i1");
  heartbeat(town, 4000);
  town.boot("i2");
  CHECK(maybe_lost(town) == 90);
}

TEST_CASE("after a drain nothing is lost but what it said was not saved") {
  auto town = with_agent();
  town.boot_ready({"a1"}, "", "i1");
  heartbeat(town, 30);
  SECTION("saved") {
    REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == ok);
    town.boot("i2");
    CHECK(maybe_lost(town).missing());
  }
  SECTION("not saved") {
    REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", false)).verdict() == ok);
    town.boot("i2");
    CHECK(maybe_lost(town).number() >= 30);
  }
  SECTION("said only after the successor booted") {
    town.boot("i2");
    REQUIRE(maybe_lost(town).number() >= 30);
    REQUIRE(town.as_epoch(1, "POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == ok);
    CHECK(maybe_lost(town).missing());
  }
}

TEST_CASE("a loss is not forgotten by a container that dies before it has restored the agent") {
  auto town = with_agent();
  town.boot_ready({"a1"}, "", "i1");
  heartbeat(town, 30);
  town.boot("i2");
  const auto lost = maybe_lost(town).number();
  town.boot("i3");
  CHECK(maybe_lost(town) == lost);
}
