#include "scenario.hpp"

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/support/command.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {
const std::string control_token = "an-operator-of-this-town";
}

TEST_CASE("snapshots are unseen by an agent that commits, rebases, switches branches and collects garbage meanwhile") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  test::file_contents files;
  for (int i = 0; i < 200; ++i)
    files["file" + std::to_string(i)] = "content " + std::to_string(i) + "\n";
  server.commit("api", {"work/ada", files, {}, "begin", "main"});
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "work/ada", R"(,"headCommit":")" + server.tip("api", "work/ada") + "\"");
  auto options = container_for(town, configuration({}, {}, {}, R"("push_interval":"100ms")"));
  options.environment["TOWNKEEPER_CONTROL_TOKEN"] = control_token;
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto worktree = box.worktree("api", "ada");

  // Every command must succeed: `set -e`, and git waits for no lock.
  std::atomic<bool> stop{false};
  test::command_outcome worked;
  const std::string script = R"(
set -e
n=0
while [ ! -e "$1" ]; do
  n=$((n + 1))
  echo "$n" >file1; git add file1; echo "$n again" >file2; git commit -q -a -m "edit $n"
  git switch -q -c "side-$n" HEAD~1; echo "$n" >file3; git commit -q -a -m "side $n"
  git switch -q work/ada; git rebase -q "side-$n"; git branch -q -D "side-$n"
  echo "$n" >untracked; rm -f untracked-before; mv untracked untracked-before
  [ $((n % 5)) -ne 0 ] || git gc -q --prune=now
  git fsck --no-progress --connectivity-only >/dev/null
done
git rev-parse HEAD; git status --porcelain)";
  const auto stop_file = box.workspace() / "stop";
  std::thread worker{[&] {
    test::command command{{"sh", "-c", script, "sh", stop_file.string()}, worktree, test::git_environment()};
    command.timeout = std::chrono::minutes{10};
    worked = test::try_run(command);
  }};
  const int snapshots = count_of("TOWNKEEPER_SNAPSHOTS", 60);
  int taken = 0;
  std::string refused;
  for (int i = 0; i < snapshots && !stop; ++i) {
    const auto answer = box.post("/snapshot", R"({"agentId":"ada"})", control_token);
    if (answer.status == 200) {
      ++taken;
    } else {
      refused += answer.body + "\n";
    }
  }
  std::ofstream{stop_file} << "";
  worker.join();
  INFO(worked.out << worked.err);
  INFO(refused);
  CHECK(taken == snapshots);
  CHECK(worked.status == 0);
  check_sound(worktree);
  // And what was saved last is what is there.
  REQUIRE(box.post("/snapshot", R"({"agentId":"ada"})", control_token).status == 200);
  const auto ref = "refs/townkeeper/" + town_id + "/ada/1";
  CHECK(test::id_of(server.repository_path("api"), ref + "^1^1") == test::run_git(worktree, {"rev-parse", "HEAD"}));
}
