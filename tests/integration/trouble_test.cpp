#include "scenario.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;

TEST_CASE("one remote hangs, one answers 404: the third's agents are dispatched meanwhile, and the others heal by "
          "themselves") {
  test::remote fine, hanging, strange;
  test::town town;
  const test::town_admin admin{town, town_id};
  const struct {
    const char *rig, *agent;
    test::remote& server;
  } rigs[]{{"fine", "ada", fine}, {"hanging", "bob", hanging}, {"missing", "cyd", strange}};
  for (const auto& r : rigs) {
    r.server.make_repository(r.rig);
    r.server.commit(r.rig, {"work", {{"a", "b"}}, {}, "begin", "main"});
    admin.put_rig(r.rig, r.server.url(r.rig));
    admin.put_agent(r.rig, r.agent, "work", R"(,"headCommit":")" + r.server.tip(r.rig, "work") + "\"");
  }
  hanging.hang();
  strange.answer_with("missing", {404, {}, "no such repository"});

  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  box.start();
  CHECK(test::wait_until([&] { return workers.all("ada", "start").size() == 1; }));
  // Not a matter of time alone: the hanging rig has not settled yet, or settled as failed.
  CHECK(workers.all("bob", "start").empty());

  INFO(box.log());
  REQUIRE(box.wait_for_phase("degraded"));
  auto health = box.health();
  CHECK(text(agent_in(health, "ada"), "outcome") == "restored");
  CHECK(text(agent_in(health, "bob"), "outcome") == "failed");
  CHECK(text(agent_in(health, "cyd"), "outcome") == "failed");
  CHECK(text(rig_in(health, "hanging"), "phase") == "failed");
  CHECK(text(rig_in(health, "missing"), "phase") == "failed");
  CHECK(rig_in(health, "hanging")->HasMember("error"));
  CHECK(rig_in(health, "missing")->HasMember("error"));
  CHECK(box.get("/readyz").status == 200);
  CHECK(box.get("/readyz?strict").status == 503);
  CHECK(test::wait_until([&] {
    const auto state = admin.state();
    return text(&state["container"], "outcome") == "degraded";
  }));
  const auto state = admin.state();
  for (const auto& rig : state["rigs"].GetArray())
    CHECK(text(&rig["report"], "outcome") == (rig["rigId"] == "fine" ? "ready" : "failed"));

  hanging.resume();
  strange.answer_normally("missing");
  REQUIRE(box.wait_for_phase("ready"));
  CHECK(test::wait_until(
      [&] { return workers.all("bob", "start").size() == 1 && workers.all("cyd", "start").size() == 1; }));
  check_restored(box.worktree("hanging", "bob"), "work", hanging.tip("hanging", "work"));
  check_restored(box.worktree("missing", "cyd"), "work", strange.tip("missing", "work"));
  CHECK(workers.all("ada", "start").size() == 1);
  CHECK(test::wait_until([&] {
    const auto now = admin.state();
    return text(&now["container"], "outcome") == "ready";
  }));
}

TEST_CASE("the town is down at boot: live, not ready, then converged") {
  test::remote server;
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  server.commit("api", {"work", {{"a", "b"}}, {}, "begin", "main"});
  admin.put_agent("api", "ada", "work", R"(,"headCommit":")" + server.tip("api", "work") + "\"");
  town.kill();

  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  box.start();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  int asked = 0;
  while (std::chrono::steady_clock::now() < until) {
    REQUIRE(box.get("/livez").status == 200);
    const auto readiness = box.get("/readyz");
    REQUIRE(readiness.status == 503);
    REQUIRE(readiness.headers.contains("retry-after"));
    const auto health = box.health();
    REQUIRE(health["recovery"]["rigs"].Empty());
    ++asked;
  }
  CHECK(asked > 10);
  town.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  CHECK(box.get("/readyz").status == 200);
  check_restored(box.worktree("api", "ada"), "work", server.tip("api", "work"));
  CHECK(test::wait_until([&] { return workers.all("ada", "start").size() == 1; }));
}

TEST_CASE("a branch that is missing on the remote is branch_missing, and no other branch stands in for it") {
  test::remote server;
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "gone", R"(,"headCommit":")" + server.tip("api", "main") + "\"");
  admin.put_agent("api", "bob", "fresh", R"(,"baseRef":"main")");
  test::container box{container_for(town, configuration())};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("degraded"));
  const auto health = box.health();
  CHECK(text(agent_in(health, "ada"), "outcome") == "branch_missing");
  CHECK_FALSE(std::filesystem::exists(box.worktree("api", "ada")));
  CHECK(text(agent_in(health, "bob"), "outcome") == "restored");
  CHECK(test::run_git(box.worktree("api", "bob"), {"symbolic-ref", "HEAD"}) == "refs/heads/fresh");
  CHECK(test::run_git(box.worktree("api", "bob"), {"rev-parse", "HEAD"}) == server.tip("api", "main"));
  REQUIRE(test::wait_until(
      [&] { return admin.call("GET", "/rigs/api/agents/ada/prime")["recovery"]["outcome"] == "branch_missing"; }));
  CHECK(std::string{admin.call("GET", "/rigs/api/agents/ada/prime")["recovery"]["note"].GetString()}.find("gone") !=
        std::string::npos);
}

TEST_CASE("a container that was overtaken by a newer one is fenced, stops its agents, and exits with 75") {
  test::remote server;
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "main");
  witness workers;
  test::container first{container_for(town, configuration(workers.command()))};
  test::container second{container_for(town, configuration(workers.command()))};
  first.start();
  REQUIRE(first.wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] { return workers.all("ada", "start").size() == 1; }));
  second.start();
  INFO(first.log());
  REQUIRE(first.wait_for_phase("fenced"));
  CHECK(first.get("/livez").status == 200);
  CHECK(first.get("/readyz").status == 503);
  REQUIRE(second.wait_for_phase("ready"));
  CHECK(test::wait_until([&] { return workers.all("ada", "start").size() == 2; }));
  first.terminate();
  CHECK(first.wait_for_exit() == 75);
  CHECK(second.get("/readyz").status == 200);
}
