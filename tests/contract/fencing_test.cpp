#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/routes.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

/// A town with agent a1 and something of everything an old container could spoil; epoch 1 is over, epoch 2 has it.
session succeeded() {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1");
  REQUIRE(town.admin("POST", agent_path("a1", "/mail"), R"({"body":"hello"})").verdict() == ok);
  const auto recovery = point(town.town_id(), "a1", 1, 7);
  const auto kept = with(point(town.town_id(), "a1", 1, 3, commit_c), "/ref",
                         json_string("refs/townkeeper/" + town.town_id() + "/a1/kept/1-3"));
  REQUIRE(town.container("POST", agent_path("a1", "/recovery-point"), recovery).verdict() == ok);
  REQUIRE(town.container("POST", agent_path("a1", "/kept"), kept).verdict() == ok);
  town.boot("i2");
  return town;
}

bool is_exception(const route& route) {
  return route.path == agent_path("a1", "/recovery-point") || route.path == "/container-drained";
}

} // namespace

TEST_CASE("a write from an older epoch is refused on every route and changes nothing") {
  const auto town = succeeded();
  const auto before = town.state();
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    if (route.what != route::kind::write || is_exception(route)) continue;
    CAPTURE(route.method, route.path);
    CHECK(town.as_epoch(1, route.method, route.path, route.body).verdict() == fenced);
    CHECK(town.state() == before);
  }
}

TEST_CASE("a write from an epoch that was never given is refused on every route and changes nothing") {
  const auto town = succeeded();
  const auto before = town.state();
  for (const auto& route : all_routes(town.town_id(), "i3")) {
    if (route.what != route::kind::write) continue;
    CAPTURE(route.method, route.path);
    CHECK(town.as_epoch(3, route.method, route.path, route.body).verdict() == fenced);
    CHECK(town.state() == before);
  }
}

TEST_CASE("a write without an epoch is refused on every route while a container is live") {
  const auto town = succeeded();
  const auto before = town.state();
  for (const auto& route : all_routes(town.town_id(), "i2")) {
    if (route.what != route::kind::write) continue;
    CAPTURE(route.method, route.path);
    CHECK(town.without_epoch(route.method, route.path, route.body).verdict() == fenced);
    CHECK(town.state() == before);
  }
}

TEST_CASE("an older epoch may still read, and fetch the token its last save needs") {
  const auto town = succeeded();
  REQUIRE(town.admin("PUT", "/rigs/rig/git-token", R"({"token":"git-token-0123"})").verdict() == ok);
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    if (route.what != route::kind::read) continue;
    CAPTURE(route.method, route.path);
    CHECK(town.as_epoch(1, route.method, route.path, route.body).verdict() == ok);
  }
}

TEST_CASE("an admin route is never fenced") {
  const auto town = succeeded();
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    if (route.what != route::kind::admin) continue;
    CAPTURE(route.method, route.path);
    const call with{.body = route.body, .token = town.admin_token(), .epoch = "1"};
    CHECK(town.send(route.method, route.path, with).verdict() == ok);
  }
}

TEST_CASE("an operator may drop a kept point while a container is live") {
  const auto town = succeeded();
  REQUIRE(town.agent_state("a1")["kept"].size() == 1);
  CHECK(town.admin("DELETE", agent_path("a1", "/kept/") + commit_c).verdict() == ok);
  CHECK(town.agent_state("a1")["kept"].size() == 0);
}

TEST_CASE("a late recovery point of an older epoch is refused and listed in kept") {
  const auto town = succeeded();
  const auto late = point(town.town_id(), "a1", 1, 9, std::string(40, 'd'));
  CHECK(town.as_epoch(1, "POST", agent_path("a1", "/recovery-point"), late).verdict() == fenced);
  CHECK(town.as_epoch(1, "POST", agent_path("a1", "/recovery-point"), late).verdict() == fenced);
  const auto agent = town.desired_agent("a1");
  CHECK(agent["recovery"]["seq"] == 7);
  CHECK(agent["kept"].size() == 2);
  CHECK(agent["kept"].where("commit", std::string(40, 'd')) == json::parse(late));
}

TEST_CASE("a late point that claims to be newer than its epoch is not listed") {
  const auto town = succeeded();
  const auto before = town.state();
  const auto path = agent_path("a1", "/recovery-point");
  CHECK(town.as_epoch(1, "POST", path, point(town.town_id(), "a1", 2, 1, commit_b)).verdict() == fenced);
  CHECK(town.without_epoch("POST", path, point(town.town_id(), "a1", 1, 9, commit_b)).verdict() == fenced);
  CHECK(town.state() == before);
}

TEST_CASE("whatever else is wrong with a late word, its sender learns that it is fenced") {
  auto town = succeeded();
  town.boot("i3");
  const auto late = point(town.town_id(), "a1", 1, 9);
  for (const auto* body : {"", "[]", "not json", R"({"epoch":1})"}) {
    CAPTURE(body);
    CHECK(town.as_epoch(1, "POST", agent_path("a1", "/recovery-point"), body).verdict() == fenced);
    CHECK(town.as_epoch(1, "POST", "/container-drained", body).verdict() == fenced);
  }
  CHECK(town.as_epoch(1, "POST", agent_path("a9", "/recovery-point"), late).verdict() == fenced);
  CHECK(town.as_epoch(1, "POST", agent_path("a1", "/recovery-point", "nowhere"), late).verdict() == fenced);
}

TEST_CASE("the container directly before the current one may still say that it drained") {
  const auto town = succeeded();
  REQUIRE(town.desired_state()["predecessor"]["epoch"] == 1);
  const auto given = town.as_epoch(1, "POST", "/container-drained", drained_body("i1", "a1", true));
  CHECK(given.verdict() == ok);
  CHECK(given.data() == json::parse(R"({"recorded":true})"));
  CHECK(town.desired_state()["predecessor"].missing());
  CHECK(town.state()["container"]["live"] == true);
  CHECK(town.state()["container"]["drainedAt"] == nullptr);
}

TEST_CASE("the last word of another instance, or of a container before that, is refused") {
  auto town = succeeded();
  const auto before = town.state();
  CHECK(town.as_epoch(1, "POST", "/container-drained", drained_body("i2", "a1", true)).verdict() == fenced);
  CHECK(town.state() == before);
  town.boot("i3");
  CHECK(town.as_epoch(1, "POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == fenced);
  CHECK(town.desired_state()["predecessor"]["epoch"] == 2);
}

TEST_CASE("who has the epoch of another instance is fenced") {
  session town{shared_town()};
  town.boot("i1");
  CHECK(town.container("POST", "/container-ready", ready_body("i2", "ready")).verdict() == fenced);
  CHECK(town.container("POST", "/container-heartbeat", heartbeat_body("i2", "a1", 0)).verdict() == fenced);
  CHECK(town.container("POST", "/container-eviction", R"({"instanceId":"i2"})").verdict() == fenced);
  CHECK(town.container("POST", "/container-drained", drained_body("i2", "a1", true)).verdict() == fenced);
}

TEST_CASE("before any boot and after the drain a client without epochs may write") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  const auto path = agent_path("a1", "/checkpoint");
  CHECK(town.without_epoch("POST", path, R"({"data":1})").verdict() == ok);
  town.boot("i1");
  CHECK(town.without_epoch("POST", path, R"({"data":2})").verdict() == fenced);
  REQUIRE(town.container("POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == ok);
  CHECK(town.without_epoch("POST", path, R"({"data":3})").verdict() == ok);
}

TEST_CASE("a container is live until 90 s after it was heard of last") {
  session town{fast_town(200)};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1");
  const auto path = agent_path("a1", "/checkpoint");
  CHECK(town.without_epoch("POST", path, R"({"data":1})").verdict() == fenced);
  REQUIRE(eventually([&] { return town.state()["container"]["live"] == false; }));
  CHECK(town.without_epoch("POST", path, R"({"data":2})").verdict() == ok);

  // It was only silent: the first word brings it back, and no one else has its epoch.
  CHECK(town.container("POST", path, R"({"data":3})").verdict() == ok);
  CHECK(town.state()["container"]["live"] == true);
}

TEST_CASE("whatever a container says with its epoch keeps it live") {
  session town{fast_town(200)};
  town.boot("i1");
  const auto heard = [&] { return town.state()["container"]["heardAt"].string(); };
  const auto at_boot = heard();
  REQUIRE(town.desired_state()["epoch"] == 1);
  CHECK(heard() > at_boot);
  const auto at_read = heard();
  REQUIRE(town.container("POST", "/container-heartbeat", "[]").verdict() == invalid_body);
  CHECK(heard() > at_read);
  const auto at_refused = heard();
  REQUIRE(town.without_epoch("GET", "/desired-state").verdict() == ok);
  REQUIRE(town.as_epoch(2, "POST", "/container-heartbeat", heartbeat_body("i1", "a1", 0)).verdict() == fenced);
  CHECK(heard() == at_refused);
}
