#include "scenario.hpp"

#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/support/fault_proxy.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

constexpr int agents = 8;
constexpr int changed_files = 50;

std::string agent_name(int i) {
  return "agent" + std::to_string(i);
}

void put_agents(const test::town_admin& admin, const test::remote& server, const std::string& rig, int first,
                int last) {
  for (int i = first; i < last; ++i) {
    const auto branch = "work/" + agent_name(i);
    server.commit(rig, {branch, {{"begin", "begin\n"}}, {}, "begin", "main"});
    admin.put_agent(rig, agent_name(i), branch, R"(,"headCommit":")" + server.tip(rig, branch) + "\"");
  }
}

void make_big_repository(test::remote& server, const std::string& name, int files) {
  server.make_repository(name);
  test::file_contents all;
  for (int i = 0; i < files; ++i)
    all["dir" + std::to_string(i % 50) + "/file" + std::to_string(i)] = "content " + std::to_string(i) + "\n";
  server.commit(name, {"main", all});
}

void change_files(const std::filesystem::path& worktree) {
  for (int i = 0; i < changed_files; ++i)
    std::ofstream{worktree / ("dir" + std::to_string(i % 50)) / ("file" + std::to_string(i))} << "changed\n";
}

double seconds_of_drain(test::container& box, int expected_exit) {
  const auto begun = std::chrono::steady_clock::now();
  box.terminate();
  CHECK(box.wait_for_exit() == expected_exit);
  return std::chrono::duration<double>{std::chrono::steady_clock::now() - begun}.count();
}

/// What the files of an agent's point are, by one command: path → blob.
std::map<std::string, std::string> saved_files(const test::remote& server, const std::string& rig,
                                               const std::string& agent) {
  std::istringstream tree{test::run_git(server.repository_path(rig), {"ls-tree", "-r", ref_of(agent) + ":worktree"})};
  std::map<std::string, std::string> files;
  std::string mode, type, blob, path;
  while (tree >> mode >> type >> blob >> path)
    files[path] = blob;
  return files;
}

bool is_saved(const test::remote& server, const std::string& rig, const std::string& agent, const std::string& file) {
  const auto blob =
      test::try_git(server.repository_path(rig), {"cat-file", "blob", ref_of(agent) + ":worktree/" + file});
  return blob.status == 0 && blob.out == "changed\n";
}

} // namespace

TEST_CASE("SIGTERM: eight agents with 5,000 files and 50 changes each are saved before the container ends", "[timed]") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  make_big_repository(server, "api", 5'000);
  admin.put_rig("api", server.url("api"));
  put_agents(admin, server, "api", 0, agents);
  // Nothing is saved before the signal comes.
  test::container box{container_for(town, configuration({}, {}, {}, R"("quiet":"1m","latest":"10m")"))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  for (int i = 0; i < agents; ++i)
    change_files(box.worktree("api", agent_name(i)));

  SECTION("and that is quick") {
    std::printf("drained 8 agents x 5,000 files, 50 changed each, in %.2f s\n", seconds_of_drain(box, 0));
  }
  SECTION("whatever the hooks of the repository do") {
    const auto hooks = box.workspace() / "rigs" / "api" / "repo.git" / "hooks";
    std::filesystem::create_directories(hooks);
    for (const auto* name : {"pre-commit", "pre-push", "reference-transaction", "post-commit"}) {
      std::ofstream{hooks / name} << "#!/bin/sh\ntouch " << (box.workspace() / "hook-ran").string()
                                  << "\nsleep 600\nexit 1\n";
      std::filesystem::permissions(hooks / name, std::filesystem::perms::all);
    }
    seconds_of_drain(box, 0);
    CHECK_FALSE(std::filesystem::exists(box.workspace() / "hook-ran"));
  }
  SECTION("also while the town is down") {
    town.kill();
    std::printf("the same with the town down: %.2f s\n", seconds_of_drain(box, 0));
  }
  for (int i = 0; i < agents; ++i) {
    CAPTURE(agent_name(i));
    REQUIRE(is_saved(server, "api", agent_name(i), "dir0/file0"));
    const auto saved = saved_files(server, "api", agent_name(i));
    const auto changed = saved.at("dir0/file0");
    for (int file = 0; file < changed_files; ++file)
      REQUIRE(saved.at("dir" + std::to_string(file % 50) + "/file" + std::to_string(file)) == changed);
  }
}

TEST_CASE("SIGTERM while one agent's save hangs: the other seven are saved, and the exit code says what is not",
          "[timed]") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  make_big_repository(server, "api", 500);
  make_big_repository(server, "web", 50);
  test::fault_proxy proxy{server.port()};
  admin.put_rig("api", server.url("api"));
  admin.put_rig("web", proxy.url("web"));
  put_agents(admin, server, "api", 0, agents - 1);
  put_agents(admin, server, "web", agents - 1, agents);
  test::container box{
      container_for(town, configuration({}, {}, {}, R"("quiet":"1m","latest":"10m","save_deadline":"4s")"))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  for (int i = 0; i < agents - 1; ++i)
    change_files(box.worktree("api", agent_name(i)));
  change_files(box.worktree("web", agent_name(agents - 1)));
  proxy.set({test::fault::kind::hang});
  box.terminate();
  // Before the one that hangs is given up, the others are on the remote.
  CHECK(test::wait_until([&] {
    for (int i = 0; i < agents - 1; ++i)
      if (!is_saved(server, "api", agent_name(i), "dir0/file0")) return false;
    return true;
  }));
  CHECK(box.process()->running());
  CHECK(box.wait_for_exit() == 75);
  const auto log = box.log();
  CHECK(log.find("stopped with unsaved work") != std::string::npos);
  const auto state = admin.state();
  for (const auto& each : state["container"]["drainedAgents"].GetArray())
    CHECK(each["saved"].GetBool() == (each["agentId"].GetString() != agent_name(agents - 1)));
}

TEST_CASE("SIGTERM while it still restores: nothing is lost, and the exit is clean", "[timed]") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  make_big_repository(server, "api", 200);
  test::fault_proxy proxy{server.port()};
  admin.put_rig("api", server.url("api"));
  admin.put_rig("web", proxy.url("api"));
  put_agents(admin, server, "api", 0, 1);
  admin.put_agent("web", "late", "work/" + agent_name(0));
  proxy.set({test::fault::kind::hang});
  test::container box{container_for(town, configuration())};
  box.start();
  INFO(box.log());
  REQUIRE(
      box.wait_for_health([&](const auto& h) { return text(agent_in(h, agent_name(0)), "outcome") == "restored"; }));
  change_files(box.worktree("api", agent_name(0)));
  box.terminate();
  CHECK(box.wait_for_exit() == 0);
  CHECK(is_saved(server, "api", agent_name(0), "dir1/file1"));
}

TEST_CASE("SIGTERM with agents that work until the end: what they do after the first save is saved as well",
          "[timed]") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  admin.put_rig("api", server.url("api"));
  put_agents(admin, server, "api", 0, 1);
  const auto* const last_words =
      R"(["/bin/sh","-c","trap 'echo changed >last; exit 0' TERM; while :; do sleep 0.05; done"])";
  test::container box{container_for(town, configuration(last_words))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_health([&](const auto& h) { return h["agents"].Size() == 1; }));
  REQUIRE(test::wait_until([&] { return text(&box.health()["agents"][0], "status") == "running"; }));
  box.terminate();
  CHECK(box.wait_for_exit() == 0);
  const auto ref = ref_of(agent_name(0));
  CHECK(test::run_git(server.repository_path("api"), {"cat-file", "blob", ref + ":untracked/last"}) == "changed");
  const auto state = admin.state();
  CHECK(state["container"]["drainedAgents"].Size() == 1);
}
