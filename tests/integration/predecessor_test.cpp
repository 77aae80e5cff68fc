#include "scenario.hpp"

#include <fstream>

using namespace townkeeper;
using namespace townkeeper::integration;

TEST_CASE("two containers at once: the old one drains while the new one boots, and nothing of either is lost") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  admin.put_rig("api", server.url("api"));
  for (const auto* agent : {"ada", "bob"}) {
    const auto branch = std::string{"work/"} + agent;
    server.commit("api", {branch, {{"begin", "begin\n"}}, {}, "begin", "main"});
    admin.put_agent("api", agent, branch, R"(,"headCommit":")" + server.tip("api", branch) + "\"");
  }
  // The agents of the old one take their time after SIGTERM and write until the end.
  const int seconds = count_of("TOWNKEEPER_DRAIN_SECONDS", 4);
  const auto slow =
      R"(["/bin/sh","-c","trap 'i=0; while [ $i -lt )" + std::to_string(seconds) +
      R"( ]; do sleep 1; i=$((i + 1)); echo $i >late; done; exit 0' TERM; echo early >early; while :; do sleep 0.05; done"])";
  test::container old{container_for(town, configuration(slow))};
  old.start();
  INFO(old.log());
  REQUIRE(old.wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] {
    return std::filesystem::exists(old.worktree("api", "ada") / "early") &&
           std::filesystem::exists(old.worktree("api", "bob") / "early");
  }));
  witness workers;
  test::container young{container_for(town, configuration(workers.command()))};

  SECTION("it was told to stop first: the new one waits for what it saves last, or keeps to what it has after 15 s") {
    old.terminate();
    REQUIRE(test::wait_until([&] { return admin.state()["container"]["evictedAt"].IsString(); }));
    young.start();
    INFO(young.log());
    REQUIRE(young.wait_for_phase("ready"));
    REQUIRE(old.wait_for_exit(std::chrono::seconds{60}).has_value());
    for (const auto* agent : {"ada", "bob"}) {
      CAPTURE(agent);
      const auto worktree = young.worktree("api", agent);
      CHECK(std::filesystem::exists(worktree / "early"));
      const auto last = std::to_string(seconds);
      const auto is_here = [&] {
        std::string late;
        std::ifstream{worktree / "late"} >> late;
        return late == last;
      };
      // Either it came in time, or it lies under the old epoch's ref and is listed.
      const auto state = admin.state();
      const auto& kept = (*record_of(state, agent))["kept"];
      const auto old_ref = "refs/townkeeper/" + town_id + "/" + agent + "/1";
      CHECK((is_here() || (kept.Size() == 1 && text(&kept[0], "ref") == old_ref &&
                           test::run_git(server.repository_path("api"),
                                         {"cat-file", "blob", old_ref + ":untracked/late"}) == last)));
    }
  }
  SECTION("it was told nothing: it is fenced, saves what it has under its own epoch, and ends so") {
    young.start();
    INFO(young.log());
    REQUIRE(young.wait_for_phase("ready"));
    REQUIRE(old.wait_for_phase("fenced"));
    for (const auto* agent : {"ada", "bob"}) {
      CAPTURE(agent);
      const auto old_ref = "refs/townkeeper/" + town_id + "/" + agent + "/1";
      // What its agents wrote after they were told to end, until their grace was over.
      CHECK(test::wait_until([&] {
        return test::try_git(server.repository_path("api"), {"cat-file", "-e", old_ref + ":untracked/late"}).status ==
               0;
      }));
      CHECK(test::wait_until([&] {
        const auto state = admin.state();
        return (*record_of(state, agent))["kept"].Size() >= 1;
      }));
    }
    CHECK(old.process()->running());
    old.terminate();
    CHECK(old.wait_for_exit(std::chrono::seconds{60}) == 75);
  }
  // Dispatched once in each epoch.
  CHECK(test::wait_until(
      [&] { return workers.all("ada", "start").size() == 1 && workers.all("bob", "start").size() == 1; }));
  for (const auto* agent : {"ada", "bob"}) {
    CAPTURE(agent);
    // The answer to a start is recorded a moment after the agent runs.
    CHECK(test::wait_until([&] { return dispatched(admin.dispatches(), agent, 2) >= 1; }));
    CHECK(dispatched(admin.dispatches(), agent, 1) == 1);
    CHECK(dispatched(admin.dispatches(), agent, 2) == 1);
  }
}
