#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

const auto recovery_point = agent_path("a1", "/recovery-point");
const std::string commit_d(40, 'd');

session booted() {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1");
  return town;
}

void save(const session& town, std::int64_t epoch, std::int64_t seq, const std::string& commit) {
  const auto given = town.container("POST", recovery_point, point(town.town_id(), "a1", epoch, seq, commit));
  REQUIRE(given.verdict() == ok);
  CHECK(given.data() == json::parse(R"({"recorded":true})"));
}

json recovery(const session& town) {
  return town.desired_agent("a1")["recovery"];
}

json kept(const session& town) {
  return town.desired_agent("a1")["kept"];
}

/// The point under a kept ref of its own, as a container pushes one.
std::string kept_point(const session& town, std::int64_t epoch, std::int64_t seq, const std::string& commit) {
  const auto ref =
      "refs/townkeeper/" + town.town_id() + "/a1/kept/" + std::to_string(epoch) + "-" + std::to_string(seq);
  return with(point(town.town_id(), "a1", epoch, seq, commit), "/ref", json_string(ref));
}

std::string report_of(const std::string& outcome, const session& town, const std::string& commit, bool applied) {
  auto body = with(report("a1", outcome), "/recovery/ref", json_string("refs/townkeeper/" + town.town_id() + "/a1/1"));
  body = with(body, "/recovery/commit", json_string(commit));
  return with(body, "/recovery/applied", applied ? "true" : "false");
}

} // namespace

TEST_CASE("a recovery point is kept whole") {
  const auto town = booted();
  save(town, 1, 1, commit_a);
  CHECK(recovery(town) == json::parse(point(town.town_id(), "a1", 1, 1, commit_a)));
}

TEST_CASE("the greatest (epoch, seq) is the recovery point, whatever comes when") {
  auto town = booted();
  save(town, 1, 5, commit_a);
  save(town, 1, 4, commit_b);
  CHECK(recovery(town)["commit"] == commit_a);
  save(town, 1, 5, commit_b);
  CHECK(recovery(town)["commit"] == commit_a);
  save(town, 1, 6, commit_b);
  CHECK(recovery(town)["commit"] == commit_b);
  town.boot("i2");
  save(town, 2, 1, commit_c);
  CHECK(recovery(town)["commit"] == commit_c);
  save(town, 1, 9, commit_d);
  CHECK(recovery(town)["commit"] == commit_c);
}

TEST_CASE("order is never taken from the wall clock") {
  const auto town = booted();
  save(town, 1, 2, commit_a);
  const auto older = with(point(town.town_id(), "a1", 1, 1, commit_b), "/savedAt", R"("2099-01-01T00:00:00Z")");
  REQUIRE(town.container("POST", recovery_point, older).verdict() == ok);
  CHECK(recovery(town)["commit"] == commit_a);
}

TEST_CASE("a point from an epoch that is still to come is refused") {
  const auto town = booted();
  const auto given = town.container("POST", recovery_point, point(town.town_id(), "a1", 2, 1));
  CHECK(given.verdict() == invalid_body);
  CHECK(given.paths() == words("epoch"));
}

TEST_CASE("a point lies under a ref of its own town and agent") {
  const auto town = booted();
  for (const auto& ref : {std::string{"refs/heads/main"}, "refs/townkeeper/" + town.town_id() + "/a2/1",
                          std::string{"refs/townkeeper/other/a1/1"}, "refs/townkeeper/" + town.town_id() + "/a1",
                          "refs/townkeeper/" + town.town_id() + "/a1/../a2/1"}) {
    CAPTURE(ref);
    for (const auto* route : {"/recovery-point", "/kept"}) {
      const auto given = town.container("POST", agent_path("a1", route),
                                        with(point(town.town_id(), "a1", 1, 1), "/ref", json_string(ref)));
      CHECK(given.verdict() == invalid_body);
      CHECK(given.paths() == words("ref"));
    }
  }
}

TEST_CASE("every field of a point is required, and those that may be null are") {
  const auto town = booted();
  const auto good = point(town.town_id(), "a1", 1, 1);
  for (const auto* field : {"epoch", "seq", "ref", "commit", "gitUrl", "branch", "remoteCommit", "branchCommit", "head",
                            "clean", "savedAt", "kind", "files"}) {
    CAPTURE(field);
    const auto given = town.container("POST", recovery_point, without(good, "/" + std::string{field}));
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == std::vector<std::string>{field});
  }
  for (const auto* pointer : {"/remoteCommit", "/branchCommit", "/head/ref", "/head/commit"}) {
    CAPTURE(pointer);
    CHECK(town.container("POST", recovery_point, with(good, pointer, "null")).verdict() == ok);
    CHECK(town.container("POST", recovery_point, with(good, pointer, R"("x")")).verdict() == invalid_body);
  }
  CHECK(town.container("POST", recovery_point, with(good, "/kind", R"("hourly")")).paths() == words("kind"));
  CHECK(town.container("POST", recovery_point, with(good, "/files/staged", "-1")).paths() == words("files.staged"));
  CHECK(town.container("POST", recovery_point, with(good, "/clean", "0")).paths() == words("clean"));
}

TEST_CASE("a kept point is listed until it is dropped") {
  const auto town = booted();
  const auto path = agent_path("a1", "/kept");
  for (const auto& [seq, commit] : {std::pair{1, commit_c}, std::pair{2, commit_d}}) {
    const auto given = town.container("POST", path, kept_point(town, 1, seq, commit));
    REQUIRE(given.verdict() == ok);
    CHECK(given.data() == json::parse(R"({"recorded":true})"));
  }
  REQUIRE(town.container("POST", path, kept_point(town, 1, 2, commit_d)).verdict() == ok);
  REQUIRE(kept(town).size() == 2);
  CHECK(kept(town)[0]["commit"] == commit_d);
  CHECK(recovery(town).missing());

  const auto dropped = town.container("DELETE", path + "/" + commit_c);
  CHECK(dropped.data() == json::parse(R"({"dropped":true})"));
  CHECK(town.container("DELETE", path + "/" + commit_c).verdict() == ok);
  CHECK(kept(town).size() == 1);
  CHECK(town.container("DELETE", path + "/abc").paths() == words("commit"));
}

TEST_CASE("of two kept points under one ref only the one that can still be fetched is listed") {
  const auto town = booted();
  const auto path = agent_path("a1", "/kept");
  const auto under_one_ref = [&](int seq, const std::string& commit) {
    return point(town.town_id(), "a1", 1, seq, commit);
  };
  REQUIRE(town.container("POST", path, under_one_ref(1, commit_a)).verdict() == ok);
  REQUIRE(town.container("POST", path, under_one_ref(3, commit_c)).verdict() == ok);
  REQUIRE(town.container("POST", path, under_one_ref(2, commit_d)).verdict() == ok);
  REQUIRE(kept(town).size() == 1);
  CHECK(kept(town)[0]["commit"] == commit_c);
}

TEST_CASE("an operator accepts a loss: the point is no longer asked for") {
  const auto town = booted();
  save(town, 1, 1, commit_a);
  const auto version = town.desired_state()["version"].integer();
  CHECK(town.admin("DELETE", agent_path("a1", "/recovery")).data() == json::parse(R"({"deleted":true})"));
  CHECK(recovery(town).missing());
  CHECK(kept(town).size() == 0);
  CHECK(town.desired_state()["version"].integer() > version);
  CHECK(town.admin("DELETE", agent_path("a1", "/recovery")).data() == json::parse(R"({"deleted":false})"));
}

TEST_CASE("a point that was not applied is kept before another can replace it") {
  auto town = booted();
  save(town, 1, 3, commit_a);
  town.boot("i2");
  town.ready("ready", {report_of("diverged", town, commit_a, false)});
  CHECK(recovery(town).missing());
  REQUIRE(kept(town).size() == 1);
  CHECK(kept(town)[0] == json::parse(point(town.town_id(), "a1", 1, 3, commit_a)));
  save(town, 2, 1, commit_c);
  CHECK(kept(town).size() == 1);
  town.ready("ready", {report_of("diverged", town, commit_a, false)});
  CHECK(recovery(town)["commit"] == commit_c);
  CHECK(kept(town).size() == 1);
}

TEST_CASE("a failed restore that names the point it could not apply keeps it as well") {
  auto town = booted();
  save(town, 1, 3, commit_a);
  town.boot("i2");
  town.ready("degraded", {report_of("failed", town, commit_a, false)});
  CHECK(kept(town)[0]["commit"] == commit_a);
  CHECK(town.status_of("a1") == "restoring");
}

TEST_CASE("a point that was applied stays the recovery point until the next is saved upon it") {
  auto town = booted();
  save(town, 1, 3, commit_a);
  town.boot("i2");
  town.ready("ready", {report_of("recovered", town, commit_a, true)});
  CHECK(recovery(town)["commit"] == commit_a);
  save(town, 2, 1, commit_c);
  CHECK(recovery(town)["commit"] == commit_c);
  CHECK(kept(town).size() == 0);
}

TEST_CASE("a point nobody has reported on is kept when a new container saves over it, until it is said to be applied") {
  auto town = booted();
  save(town, 1, 3, commit_a);
  town.boot("i2");
  save(town, 2, 1, commit_c);
  CHECK(recovery(town)["commit"] == commit_c);
  REQUIRE(kept(town).size() == 1);
  CHECK(kept(town)[0]["commit"] == commit_a);
  town.ready("ready", {report_of("recovered", town, commit_a, true)});
  CHECK(kept(town).size() == 0);
}

TEST_CASE("a report does not take away what a container said is to be kept") {
  auto town = booted();
  REQUIRE(town.container("POST", agent_path("a1", "/kept"), kept_point(town, 1, 1, commit_c)).verdict() == ok);
  town.ready("ready", {report_of("recovered", town, commit_c, true)});
  CHECK(kept(town)[0]["commit"] == commit_c);
}

TEST_CASE("recovery and kept points outlive done") {
  const auto town = booted();
  save(town, 1, 1, commit_a);
  REQUIRE(town.container("POST", agent_path("a1", "/kept"), kept_point(town, 1, 2, commit_c)).verdict() == ok);
  REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})").verdict() == ok);
  CHECK(town.agent_state("a1")["recovery"]["commit"] == commit_a);
  CHECK(town.agent_state("a1")["kept"][0]["commit"] == commit_c);
}
