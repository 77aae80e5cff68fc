#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

std::string evict(const session& town, const std::string& body = R"({"reason":"SIGTERM"})") {
  const auto given = town.container("POST", "/container-eviction", body);
  REQUIRE(given.verdict() == ok);
  CHECK(given.data().keys() == words("acknowledged drainNonce"));
  CHECK(given.data()["acknowledged"] == true);
  return given.data()["drainNonce"].string();
}

json heartbeat(const session& town) {
  const auto given = town.container("POST", "/container-heartbeat", heartbeat_body(town.instance(), "a1", 0));
  REQUIRE(given.verdict() == ok);
  return given.data();
}

json agent_heartbeat(const session& town) {
  const auto given = town.container("POST", agent_path("a1", "/heartbeat"), R"({"agentId":"a1","status":"running"})");
  REQUIRE(given.verdict() == ok);
  return given.data();
}

session booted() {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1");
  return town;
}

} // namespace

TEST_CASE("a container-heartbeat is answered with the version of the desired state") {
  const auto town = booted();
  CHECK(heartbeat(town).keys() == words("desiredVersion"));
  CHECK(heartbeat(town)["desiredVersion"] == town.desired_state()["version"].integer());
  town.put_agent("a2");
  CHECK(heartbeat(town)["desiredVersion"] == town.desired_state()["version"].integer());
}

TEST_CASE("a container-heartbeat leaves each agent's process and unsaved age on the record") {
  const auto town = booted();
  const auto body = with(heartbeat_body("i1", "a1", 4.5), "/agents/1", R"({"agentId":"unknown","status":"running"})");
  REQUIRE(town.container("POST", "/container-heartbeat", body).verdict() == ok);
  const auto agent = town.agent_state("a1");
  CHECK(agent["unsavedAgeSeconds"] == 4.5);
  CHECK(agent["process"] == json::parse(R"({"status":"running","lastActivityAt":"2026-11-24T12:00:00Z"})"));
}

TEST_CASE("an agent's own heartbeat is acknowledged and changes nothing of what is desired") {
  const auto town = booted();
  const auto version = town.desired_state()["version"].integer();
  const auto body =
      R"({"agentId":"a1","rigId":"rig","townId":"t","status":"thinking","timestamp":"2026-11-24T12:00:00Z",
                        "containerInstanceId":"i1","lastEventType":"tool","activeTools":["bash"]})";
  const auto given = town.container("POST", agent_path("a1", "/heartbeat"), body);
  REQUIRE(given.verdict() == ok);
  CHECK(given.data() == json::parse(R"({"heartbeat":true})"));
  CHECK(town.agent_state("a1")["process"]["status"] == "thinking");
  CHECK(town.desired_state()["version"] == version);
}

TEST_CASE("an agent's heartbeat under another agent's path is refused") {
  const auto town = booted();
  const auto given = town.container("POST", agent_path("a1", "/heartbeat"), R"({"agentId":"a2","status":"running"})");
  CHECK(given.verdict() == invalid_body);
  CHECK(given.paths() == words("agentId"));
  CHECK(town.container("POST", agent_path("a9", "/heartbeat"), "{}").verdict() == verdict{404, "unknown_agent"});
}

TEST_CASE("an eviction is acknowledged with a nonce, the same when it is said again") {
  const auto town = booted();
  const auto nonce = evict(town);
  CHECK(nonce.size() >= 16);
  CHECK(evict(town) == nonce);
  CHECK(evict(town, "") == nonce);
  CHECK(evict(town, R"({"instanceId":"i1"})") == nonce);
  CHECK(town.state()["container"]["evictedAt"].string().size() > 0);
}

TEST_CASE("during a drain every heartbeat carries the nonce") {
  const auto town = booted();
  CHECK(agent_heartbeat(town)["drainNonce"].missing());
  const auto nonce = evict(town);
  CHECK(heartbeat(town)["drainNonce"] == nonce);
  CHECK(agent_heartbeat(town)["drainNonce"] == nonce);
}

TEST_CASE("a drain is cleared by a ready with its nonce and by no other") {
  const auto town = booted();
  const auto nonce = evict(town);
  CHECK(town.ready("ready", {})["cleared"] == false);
  CHECK(town.ready("ready", {}, "another")["cleared"] == false);
  CHECK(heartbeat(town)["drainNonce"] == nonce);
  CHECK(town.ready("ready", {}, nonce)["cleared"] == true);
  CHECK(heartbeat(town)["drainNonce"].missing());
  CHECK(town.ready("ready", {})["cleared"] == true);
  CHECK(evict(town) != nonce);
}

TEST_CASE("the boot of a new container ends the drain of the one before") {
  auto town = booted();
  evict(town);
  town.boot("i2");
  CHECK(heartbeat(town)["drainNonce"].missing());
  CHECK(town.ready("ready", {})["cleared"] == true);
}

TEST_CASE("the same container that boots again is still draining") {
  auto town = booted();
  const auto nonce = evict(town);
  town.boot("i1");
  CHECK(heartbeat(town)["drainNonce"] == nonce);
}

TEST_CASE("drained is the last word: the container is not live and what it saved is on the record") {
  const auto town = booted();
  auto body = drained_body("i1", "a1", true);
  body = with(body, "/agents/0/ref", json_string("refs/townkeeper/" + town.town_id() + "/a1/1"));
  body = with(body, "/agents/0/commit", json_string(commit_a));
  body = with(body, "/agents/1", R"({"agentId":"a2","saved":false,"error":"the remote refused"})");
  const auto given = town.container("POST", "/container-drained", body);
  REQUIRE(given.verdict() == ok);
  CHECK(given.data() == json::parse(R"({"recorded":true})"));
  const auto container = town.state()["container"];
  CHECK(container["live"] == false);
  CHECK(container["drainedAgents"] == json::parse(body)["agents"]);
}

TEST_CASE("drained said twice is recorded with the time of the first") {
  const auto town = booted();
  REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", false)).verdict() == ok);
  const auto first = town.state()["container"]["drainedAt"].string();
  REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", false)).verdict() == ok);
  CHECK(town.state()["container"]["drainedAt"] == first);
}
