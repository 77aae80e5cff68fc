#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"
#include "town/codec.hpp"
#include "town/routes.hpp"

/// What the daemon's own code says of its points, as the real town takes it.
using namespace townkeeper::contract;
namespace calls = townkeeper::town::calls;

namespace {

session booted() {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1");
  return town;
}

/// A point in which every field that may be null is.
townkeeper::town::recovery_point bare_point(const session& town, std::int64_t seq) {
  townkeeper::town::recovery_point p;
  p.epoch = 1;
  p.seq = seq;
  p.ref = "refs/townkeeper/" + town.town_id() + "/a1/1";
  p.commit = commit_c;
  p.git_url = "https://git.example/rig.git";
  p.branch = "gt/a1";
  p.saved_at = "2026-11-24T12:00:00Z";
  p.kind = "drain";
  return p;
}

townkeeper::town::recovery_point full_point(const session& town, std::int64_t seq) {
  auto p = bare_point(town, seq);
  p.remote_commit = p.branch_commit = commit_a;
  p.head = {"refs/heads/gt/a1", commit_b};
  p.clean = true;
  p.kind = "auto";
  p.files = {1, 2, 3, 4};
  return p;
}

answer say(const session& town, const townkeeper::town::call& what) {
  return town.container(what.method, what.path, what.body);
}

} // namespace

TEST_CASE("the town takes the daemon's points, bare and full, and gives them back as they were") {
  const auto town = booted();
  std::int64_t seq = 0;
  for (const auto& point : {bare_point(town, 1), full_point(town, 2)}) {
    CAPTURE(++seq);
    REQUIRE(say(town, calls::recovery_point("rig", "a1", point)).verdict() == ok);
    CHECK(town.desired_agent("a1")["recovery"] == json::parse(encode(point)));
  }
}

TEST_CASE("the town lists what the daemon keeps, until the daemon's own call drops it") {
  const auto town = booted();
  auto point = full_point(town, 3);
  point.ref = "refs/townkeeper/" + town.town_id() + "/a1/kept/1-3";
  REQUIRE(say(town, calls::kept("rig", "a1", point)).verdict() == ok);
  REQUIRE(town.desired_agent("a1")["kept"].size() == 1);
  CHECK(town.desired_agent("a1")["kept"][0] == json::parse(encode(point)));
  REQUIRE(say(town, calls::drop_kept("rig", "a1", point.commit)).verdict() == ok);
  CHECK(town.desired_agent("a1")["kept"].size() == 0);
}

TEST_CASE("what a fenced daemon saves is refused and listed, under its own ref or a kept one") {
  auto town = booted();
  const auto late = full_point(town, 4);
  auto kept = full_point(town, 5);
  kept.ref = "refs/townkeeper/" + town.town_id() + "/a1/kept/1-5";
  kept.commit = commit_b;
  town.boot("i2");
  for (const auto& point : {late, kept}) {
    const auto what = calls::recovery_point("rig", "a1", point);
    CHECK(town.as_epoch(1, what.method, what.path, what.body).verdict() == fenced);
  }
  const auto listed = town.desired_agent("a1")["kept"];
  REQUIRE(listed.size() == 2);
  CHECK(listed[0] == json::parse(encode(kept)));
  CHECK(listed[1] == json::parse(encode(late)));
}

TEST_CASE("the call that accepts a loss is an operator's") {
  const auto town = booted();
  REQUIRE(say(town, calls::recovery_point("rig", "a1", full_point(town, 1))).verdict() == ok);
  const auto what = calls::accept_loss("rig", "a1");
  CHECK(say(town, what).status == 403);
  CHECK(town.admin(what.method, what.path).verdict() == ok);
  CHECK(town.desired_agent("a1")["recovery"].missing());
}
