#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

session booted(const std::vector<std::string>& agents) {
  session town{shared_town()};
  town.put_rig();
  for (const auto& agent : agents)
    town.put_agent(agent);
  town.boot("i1");
  return town;
}

/// As the container that booted last.
answer numbered(const session& town, std::int64_t number, const std::string& outcome,
                const std::vector<std::string>& reports, const std::string& nonce = {}) {
  auto body = with(ready_body(town.instance(), outcome, reports), "/report", std::to_string(number));
  if (!nonce.empty()) body = with(body, "/nonce", json_string(nonce));
  return town.container("POST", "/container-ready", body);
}

} // namespace

TEST_CASE("ready is answered with what is pending and the version to converge to") {
  const auto town = booted({"a1", "a2"});
  const auto given = town.ready("ready", {report("a1", "restored"), report("a2", "restored")});
  CHECK(given.keys() == words("cleared pending desiredVersion"));
  CHECK(given["cleared"] == true);
  CHECK(given["pending"] == 2);
  CHECK(given["desiredVersion"] == town.desired_state()["version"].integer());
}

TEST_CASE("every outcome with a verified worktree makes an agent pending") {
  const auto town = booted({"a1", "a2", "a3"});
  town.ready("ready", {report("a1", "restored"), report("a2", "recovered"), report("a3", "diverged")});
  for (const auto* agent : {"a1", "a2", "a3"})
    CHECK(town.status_of(agent) == "pending");
}

TEST_CASE("no outcome without one does, and its reason is on the record") {
  const auto town = booted({"a1", "a2", "a3"});
  const auto failed =
      with(with(report("a1", "failed"), "/code", R"("unavailable")"), "/error", R"("git.example refused")");
  const auto given = town.ready("degraded", {failed, report("a2", "branch_missing"), report("a3", "restoring")});
  CHECK(given["pending"] == 0);
  for (const auto* agent : {"a1", "a2", "a3"})
    CHECK(town.status_of(agent) == "restoring");
  CHECK(town.agent_state("a1")["report"]["code"] == "unavailable");
  CHECK(town.agent_state("a1")["report"]["error"] == "git.example refused");
  CHECK(town.state()["container"]["outcome"] == "degraded");
}

TEST_CASE("partial moves those that settled, and the later ones follow") {
  const auto town = booted({"a1", "a2"});
  CHECK(town.ready("partial", {report("a1", "restored"), report("a2", "restoring")})["pending"] == 1);
  CHECK(town.status_of("a2") == "restoring");
  CHECK(town.state()["container"]["readyAt"] == nullptr);
  CHECK(town.ready("ready", {report("a1", "restored"), report("a2", "restored")})["pending"] == 2);
  CHECK(town.state()["container"]["readyAt"].string().size() > 0);
}

TEST_CASE("a late success after degraded heals the agent") {
  const auto town = booted({"a1"});
  town.ready("degraded", {report("a1", "failed")});
  REQUIRE(town.status_of("a1") == "restoring");
  town.ready("ready", {report("a1", "restored")});
  CHECK(town.status_of("a1") == "pending");
  CHECK(town.state()["container"]["outcome"] == "ready");
}

TEST_CASE("a report said twice changes nothing more") {
  const auto town = booted({"a1"});
  // A failed one: the alarm has no part in it, and nothing else can change the state between two looks.
  town.ready("degraded", {report("a1", "failed")});
  const auto without_time = [&] { return without(town.state().text(), "/container/heardAt"); };
  const auto before = without_time();
  town.ready("degraded", {report("a1", "failed")});
  CHECK(without_time() == before);
}

TEST_CASE("agents unknown to the town, or done meanwhile, are ignored") {
  const auto town = booted({"a1", "a2"});
  REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})").verdict() == ok);
  const auto given =
      town.ready("ready", {report("a1", "restored"), report("nobody", "restored"), report("a2", "restored")});
  CHECK(given["pending"] == 1);
  CHECK(town.status_of("a1") == "idle");
  CHECK(town.agent_state("a1")["report"] == nullptr);
}

TEST_CASE("an agent that was added meanwhile is told by the newer version") {
  const auto town = booted({"a1"});
  const auto version = town.desired_state()["version"].integer();
  town.put_agent("a2");
  const auto given = town.ready("ready", {report("a1", "restored")});
  CHECK(given["desiredVersion"].integer() > version);
  CHECK(given["pending"] == 1);
  CHECK(town.status_of("a2") == "restoring");
}

TEST_CASE("an agent that was restored and then could not be is not left pending") {
  const auto town = booted({"a1"});
  town.ready("partial", {report("a1", "restored")});
  REQUIRE(town.status_of("a1") == "pending");
  town.ready("degraded", {report("a1", "failed")});
  CHECK(town.status_of("a1") == "restoring");
}

TEST_CASE("reports of rigs are shown with the rig") {
  const auto town = booted({"a1"});
  const auto rig =
      R"({"rigId":"rig","outcome":"failed","fetchedBytes":0,"durationMs":60000,"attempts":5,"error":"404"})";
  const auto body = with(ready_body("i1", "degraded", {report("a1", "failed")}), "/rigs", "[" + std::string{rig} + "]");
  REQUIRE(town.container("POST", "/container-ready", body).verdict() == ok);
  CHECK(town.state()["rigs"][0]["report"] == json::parse(rig));
}

TEST_CASE("a report's shape is checked to the last field") {
  const auto town = booted({"a1"});
  for (const auto* field :
       {"agentId", "outcome", "branch", "unpushedCommits", "appliedFiles", "leftOut", "note", "durationMs"}) {
    CAPTURE(field);
    const auto body = ready_body("i1", "ready", {without(report("a1", "restored"), "/" + std::string{field})});
    CHECK(town.container("POST", "/container-ready", body).paths() ==
          std::vector<std::string>{"agents.0." + std::string{field}});
  }
  for (const auto* field : {"instanceId", "desiredVersion", "outcome", "durationMs", "rigs", "agents"}) {
    CAPTURE(field);
    const auto body = without(ready_body("i1", "ready"), "/" + std::string{field});
    CHECK(town.container("POST", "/container-ready", body).paths() == std::vector<std::string>{field});
  }
  CHECK(town.status_of("a1") == "restoring");
}

TEST_CASE("one bad report among good ones refuses the whole, so that it is never half applied") {
  const auto town = booted({"a1", "a2"});
  const auto body =
      ready_body("i1", "ready", {report("a1", "restored"), with(report("a2", "restored"), "/commit", R"("x")")});
  CHECK(town.container("POST", "/container-ready", body).verdict() == invalid_body);
  CHECK(town.status_of("a1") == "restoring");
}

// -- reports with a number (docs/architecture.md, "Decisions that differ from the first design") ----------------------

TEST_CASE("a report that is delivered once more, after a later one, changes nothing, and is answered like that one") {
  const auto town = booted({"a1", "a2"});
  const auto early = [&] { return numbered(town, 1, "partial", {report("a1", "failed"), report("a2", "restoring")}); };
  REQUIRE(early().verdict() == ok);
  const auto later = numbered(town, 4, "ready", {report("a1", "restored"), report("a2", "restored")});
  REQUIRE(later.data()["pending"] == 2);
  const auto once_more = early();
  CHECK(once_more.verdict() == ok);
  CHECK(once_more.data() == later.data());
  CHECK(town.status_of("a1") == "pending");
  CHECK(town.agent_state("a1")["report"]["outcome"] == "restored");
  CHECK(town.state()["container"]["outcome"] == "ready");
  // One that has failed late is not healed by a report of before, either.
  numbered(town, 5, "degraded", {report("a1", "failed"), report("a2", "restored")});
  REQUIRE(town.status_of("a1") == "restoring");
  numbered(town, 4, "ready", {report("a1", "restored"), report("a2", "restored")});
  CHECK(town.status_of("a1") == "restoring");
  CHECK(town.state()["container"]["outcome"] == "degraded");
}

TEST_CASE("a late report takes no eviction back, and hears that there is one") {
  const auto town = booted({"a1"});
  const auto evicted = town.container("POST", "/container-eviction", "{}");
  const auto nonce = evicted.data()["drainNonce"].string();
  REQUIRE(numbered(town, 2, "ready", {report("a1", "restored")}).data()["cleared"] == false);
  CHECK(numbered(town, 1, "partial", {}, nonce).data()["cleared"] == false);
  CHECK(town.state()["container"]["evictedAt"].string() != "");
  CHECK(numbered(town, 2, "ready", {report("a1", "restored")}, nonce).data()["cleared"] == true);
}

TEST_CASE("a report of the same number is the same one said again: taken, and the second time nothing changes") {
  const auto town = booted({"a1"});
  const auto said = [&] { return numbered(town, 7, "degraded", {report("a1", "failed")}); };
  const auto without_time = [&] { return without(town.state().text(), "/container/heardAt"); };
  REQUIRE(said().verdict() == ok);
  const auto before = without_time();
  CHECK(said().verdict() == ok);
  CHECK(without_time() == before);
}

TEST_CASE("each container counts its reports from 1, and a report without a number is always taken") {
  auto town = booted({"a1"});
  numbered(town, 9, "degraded", {report("a1", "failed")});
  town.ready("ready", {report("a1", "restored")}); // as a daemon says it that has no numbers
  CHECK(town.state()["container"]["outcome"] == "ready");
  numbered(town, 8, "degraded", {report("a1", "failed")});
  CHECK(town.state()["container"]["outcome"] == "ready");
  town.boot("i2");
  numbered(town, 1, "degraded", {report("a1", "failed")});
  CHECK(town.state()["container"]["outcome"] == "degraded");
}

TEST_CASE("a report's number is an integer from 1") {
  const auto town = booted({});
  for (const auto* number : {"0", "-1", "1.5", "\"1\"", "9007199254740993"}) {
    CAPTURE(number);
    const auto body = with(ready_body("i1", "ready"), "/report", number);
    CHECK(town.container("POST", "/container-ready", body).paths() == std::vector<std::string>{"report"});
  }
}
