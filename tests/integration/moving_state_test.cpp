#include "scenario.hpp"

#include <fstream>

using namespace townkeeper;
using namespace townkeeper::integration;

TEST_CASE("a desired state that moves on is converged to without a restart") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  for (const auto* rig : {"api", "web"}) {
    server.make_repository(rig);
    for (const auto* branch : {"work/ada", "work/bob", "work/cyd", "other"})
      server.commit(rig, {branch, {{"branch", branch}}, {}, "begin", "main"});
  }
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "work/ada");
  admin.put_agent("api", "bob", "work/bob");
  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto pid = box.process()->pid();

  SECTION("an agent and a rig are added") {
    admin.put_rig("web", server.url("web"));
    admin.put_agent("web", "cyd", "work/cyd");
    REQUIRE(box.wait_for_health([&](const auto& h) { return text(agent_in(h, "cyd"), "outcome") == "restored"; }));
    check_restored(box.worktree("web", "cyd"), "work/cyd", server.tip("web", "work/cyd"));
    CHECK(test::wait_until([&] { return workers.all("cyd", "start").size() == 1; }));
  }
  SECTION("an agent is removed: it is stopped, and a clean worktree goes with it") {
    REQUIRE(test::wait_until([&] { return workers.all("bob", "start").size() == 1; }));
    admin.remove_agent("api", "bob");
    CHECK(test::wait_until([&] { return !std::filesystem::exists(box.worktree("api", "bob")); }));
    CHECK(box.wait_for_health([&](const auto& h) { return agent_in(h, "bob") == nullptr && h["agents"].Size() <= 1; }));
    CHECK(std::filesystem::exists(box.worktree("api", "ada")));
  }
  SECTION("an agent with unsaved work is removed: its worktree is kept") {
    std::ofstream{box.worktree("api", "bob") / "unsaved"} << "work\n";
    admin.remove_agent("api", "bob");
    REQUIRE(box.wait_for_health([&](const auto& h) { return agent_in(h, "bob") == nullptr; }));
    REQUIRE(test::wait_until([&] { return box.log().find("worktree kept") != std::string::npos; }));
    CHECK(std::filesystem::exists(box.worktree("api", "bob") / "unsaved"));
  }
  SECTION("a rig's URL changes: its agents come from the new one") {
    test::remote elsewhere;
    elsewhere.make_repository("api");
    elsewhere.commit("api", {"work/ada", {{"elsewhere", "yes"}}, {}, "begin", "main"});
    elsewhere.commit("api", {"work/bob", {{"elsewhere", "yes"}}, {}, "begin", "main"});
    workers.finish();
    admin.put_rig("api", elsewhere.url("api"));
    REQUIRE(test::wait_until([&] {
      return std::filesystem::exists(box.worktree("api", "ada") / "elsewhere") &&
             std::filesystem::exists(box.worktree("api", "bob") / "elsewhere");
    }));
    REQUIRE(box.wait_for_phase("ready"));
    check_restored(box.worktree("api", "ada"), "work/ada", elsewhere.tip("api", "work/ada"));
  }
  SECTION("the branch of an idle agent changes") {
    workers.finish();
    REQUIRE(box.wait_for_health([&](const auto& h) {
      for (const auto& a : h["agents"].GetArray())
        if (text(&a, "status") == "running" || text(&a, "status") == "starting") return false;
      return true;
    }));
    admin.put_agent("api", "ada", "other");
    REQUIRE(test::wait_until([&] {
      const auto head = test::try_git(box.worktree("api", "ada"), {"symbolic-ref", "HEAD"});
      return head.status == 0 && head.out.starts_with("refs/heads/other");
    }));
    CHECK(box.wait_for_health([&](const auto& h) { return text(agent_in(h, "ada"), "outcome") == "restored"; }));
    check_restored(box.worktree("api", "ada"), "other", server.tip("api", "other"));
  }
  CHECK(box.process()->pid() == pid);
  CHECK(box.process()->running());
}

TEST_CASE("SIGTERM stops the agents, tells the town, and exits with 0") {
  test::remote server;
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "main");
  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] { return workers.all("ada", "start").size() == 1; }));
  box.terminate();
  INFO(box.log());
  CHECK(box.wait_for_exit() == 0);
  const auto state = admin.state();
  CHECK(state["container"]["evictedAt"].IsString());
  CHECK_FALSE(std::filesystem::exists(box.workspace() / ".townkeeper" / "control.json"));
}
