#include "scenario.hpp"

#include <fstream>

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

/// One rig, one agent with staged, unstaged and untracked work and an unpushed commit, drained and gone.
struct asleep {
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  test::container box{container_for(town, configuration())};
  std::string begin; ///< the branch on the remote
  std::string ref;   ///< of the point

  asleep() {
    server.make_repository("api");
    begin = server.commit("api", {"work/ada", {{"a", "1\n"}, {"b", "1\n"}}, {}, "begin", "main"});
    admin.put_rig("api", server.url("api"));
    admin.put_agent("api", "ada", "work/ada", R"(,"headCommit":")" + begin + "\"");
    ref = "refs/townkeeper/" + town_id + "/ada/1";
  }

  std::filesystem::path worktree() const { return box.worktree("api", "ada"); }
  std::filesystem::path repository() const { return server.repository_path("api"); }

  void wake() {
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
  }
  void work() const {
    test::run_git(worktree(), {"commit", "-q", "--allow-empty", "-m", "not pushed"});
    std::ofstream{worktree() / "a"} << "staged\n";
    test::run_git(worktree(), {"add", "a"});
    std::ofstream{worktree() / "a"} << "staged and edited\n";
    std::ofstream{worktree() / "b"} << "edited\n";
    std::ofstream{worktree() / "new"} << "untracked\n";
  }
  void sleep() {
    box.terminate();
    INFO(box.log());
    CHECK(box.wait_for_exit() == 0);
    box.wipe_disk();
  }
  std::string outcome() const { return text(agent_in(box.health(), "ada"), "outcome"); }
  std::string recorded(const char* member) const {
    const auto state = admin.state();
    return text(recovery_of(state, "ada"), member);
  }
  rapidjson::Document kept() const {
    rapidjson::Document out;
    const auto state = admin.state();
    out.CopyFrom((*record_of(state, "ada"))["kept"], out.GetAllocator());
    return out;
  }
  void check_work_is_back() const {
    CHECK(test::run_git(worktree(), {"status", "--porcelain"}) == "MM a\n M b\n?? new");
    CHECK(test::bytes_of(worktree() / "a") == "staged and edited\n");
    CHECK(test::run_git(worktree(), {"show", ":a"}) == "staged");
    CHECK(test::bytes_of(worktree() / "new") == "untracked\n");
    CHECK(test::run_git(worktree(), {"log", "-1", "--format=%s"}) == "not pushed");
  }
};

} // namespace

TEST_CASE("which recovery point, and on top of what: every branch of the rule") {
  asleep a;
  a.wake();
  a.work();

  SECTION("the branch stands where it stood: everything is back, and is saved again under the new epoch's ref") {
    a.sleep();
    REQUIRE(a.recorded("ref") == a.ref);
    a.wake();
    CHECK(a.outcome() == "recovered");
    a.check_work_is_back();
    const auto second = "refs/townkeeper/" + town_id + "/ada/2";
    CHECK(test::wait_until([&] { return a.recorded("ref") == second; }));
    CHECK(test::wait_until([&] { return test::id_of(a.repository(), a.ref).empty(); }));
    CHECK(test::id_of(a.repository(), second) == a.recorded("commit"));
  }
  SECTION("the report was lost after the push: the ref is found") {
    const auto before = a.recorded("commit");
    a.town.kill();
    a.box.terminate();
    CHECK(a.box.wait_for_exit() == 0);
    a.box.wipe_disk();
    a.town.start();
    REQUIRE(test::id_of(a.repository(), a.ref) != before);
    a.wake();
    CHECK(a.outcome() == "recovered");
    a.check_work_is_back();
  }
  SECTION("a record without its ref: nothing older is used, and an operator accepts the loss") {
    a.sleep();
    test::run_git(a.repository(), {"update-ref", "-d", a.ref});
    test::run_git(a.repository(), {"gc", "-q", "--prune=now"});
    a.box.start();
    REQUIRE(a.box.wait_for_phase("degraded"));
    CHECK(a.outcome() == "failed");
    CHECK(text(agent_in(a.box.health(), "ada"), "code") == "recovery_point_missing");
    a.admin.call("DELETE", "/rigs/api/agents/ada/recovery");
    CHECK(a.box.wait_for_phase("ready"));
    CHECK(a.outcome() == "restored");
  }
  SECTION("an unreadable ref of a greater epoch: nothing older is used") {
    a.sleep();
    test::run_git(a.repository(), {"update-ref", "refs/townkeeper/" + town_id + "/ada/7", a.begin});
    a.box.start();
    REQUIRE(a.box.wait_for_phase("degraded"));
    CHECK(a.outcome() == "failed");
    CHECK_FALSE(test::id_of(a.repository(), a.ref).empty());
  }
  SECTION("the branch moved on and holds all of it: restored at its tip") {
    test::run_git(a.worktree(), {"checkout", "-q", "-f", "."});
    test::run_git(a.worktree(), {"reset", "-q", "--hard"});
    test::run_git(a.worktree(), {"clean", "-fdq"});
    a.sleep();
    const auto saved = a.recorded("branchCommit");
    test::run_git(a.repository(), {"update-ref", "refs/heads/work/ada", saved});
    const auto tip = a.server.commit("api", {"work/ada", {{"later", "1\n"}}, {}, "later"});
    a.wake();
    CHECK(a.outcome() == "restored");
    check_restored(a.worktree(), "work/ada", tip);
  }
  SECTION("the branch moved otherwise: the point is kept until it is dropped, whatever is saved later") {
    a.sleep();
    const auto point = a.recorded("commit");
    SECTION("moved on") {
      a.server.commit("api", {"work/ada", {{"other", "1\n"}}, {}, "by somebody else"});
    }
    SECTION("force-pushed") {
      a.server.delete_branch("api", "work/ada");
      a.server.commit("api", {"work/ada", {{"other", "1\n"}}, {}, "anew", "main"});
    }
    const auto tip = a.server.tip("api", "work/ada");
    for (int cycle = 0; cycle < 3; ++cycle) {
      CAPTURE(cycle);
      a.wake();
      CHECK(a.outcome() == (cycle == 0 ? "diverged" : "recovered"));
      if (cycle == 0) check_restored(a.worktree(), "work/ada", tip);
      std::ofstream{a.worktree() / "other"} << "edit " << cycle << "\n";
      a.sleep();
      CHECK(test::id_of(a.repository(), a.ref) == point);
      const auto kept = a.kept();
      REQUIRE(kept.Size() == 1);
      CHECK(kept[0]["commit"].GetString() == point);
    }
    a.admin.call("DELETE", "/rigs/api/agents/ada/kept/" + point);
    CHECK(a.kept().Empty());
  }
  SECTION("the branch moved otherwise and nothing is done since: the point is kept, and not weighed again") {
    a.sleep();
    const auto tip = a.server.commit("api", {"work/ada", {{"other", "1\n"}}, {}, "by somebody else"});
    for (const auto* outcome : {"diverged", "restored"}) {
      a.wake();
      CHECK(a.outcome() == outcome);
      check_restored(a.worktree(), "work/ada", tip);
      a.sleep();
      REQUIRE(a.kept().Size() == 1);
      CHECK_FALSE(test::id_of(a.repository(), a.ref).empty());
    }
  }
  SECTION("the branch is gone from the remote: as it was, without upstream") {
    SECTION("deleted") {
      a.sleep();
      a.server.delete_branch("api", "work/ada");
    }
    SECTION("renamed") {
      a.sleep();
      a.server.commit("api", {"work/renamed", {}, {}, "renamed", "work/ada"});
      a.server.delete_branch("api", "work/ada");
    }
    a.wake();
    CHECK(a.outcome() == "diverged");
    a.check_work_is_back();
    CHECK(test::try_git(a.worktree(), {"rev-parse", "@{upstream}"}).status != 0);
  }
  SECTION("discarded edits stay discarded") {
    a.sleep();
    a.wake();
    test::run_git(a.worktree(), {"reset", "-q", "--hard"});
    test::run_git(a.worktree(), {"clean", "-fdq"});
    a.sleep();
    a.wake();
    CHECK(test::run_git(a.worktree(), {"status", "--porcelain"}) == "");
    CHECK(test::run_git(a.worktree(), {"log", "-1", "--format=%s"}) == "not pushed");
  }
}

TEST_CASE("a warm disk of before the point: its work is kept for somebody to look at, and the point applied") {
  asleep a;
  a.wake();
  std::ofstream{a.worktree() / "old"} << "of the old disk\n";
  // The old disk: saved elsewhere as a platform's snapshot, then put back after a later container worked.
  a.box.terminate();
  CHECK(a.box.wait_for_exit() == 0);
  const test::temp_dir shelf{"shelf"};
  std::filesystem::copy(a.box.workspace(), shelf.path() / "disk",
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  a.box.wipe_disk();
  a.wake();
  a.work();
  a.sleep();
  std::ofstream{shelf.path() / "disk" / "rigs" / "api" / "worktrees" / "ada" / "old"} << "edited on the old disk\n";
  std::filesystem::copy(shelf.path() / "disk", a.box.workspace(),
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  a.wake();
  CHECK(a.outcome() == "recovered");
  CHECK(test::bytes_of(a.worktree() / "a") == "staged and edited\n");
  const auto kept = a.kept();
  REQUIRE(kept.Size() == 1);
  const std::string commit = kept[0]["commit"].GetString();
  CHECK(test::run_git(a.repository(), {"cat-file", "blob", commit + ":untracked/old"}) == "edited on the old disk");
}

TEST_CASE("a warm disk that stands at the point is left alone, and nothing of it is kept") {
  asleep a;
  a.wake();
  a.work();
  a.box.terminate();
  CHECK(a.box.wait_for_exit() == 0);
  REQUIRE(a.recorded("ref") == a.ref);
  const auto index = test::run_git(a.worktree(), {"rev-parse", "--git-path", "index"});
  const auto written = std::filesystem::last_write_time(index);
  a.wake();
  CHECK(a.outcome() == "restored");
  CHECK(std::filesystem::last_write_time(index) == written); // before git itself refreshes it
  a.check_work_is_back();
  CHECK(a.kept().Empty());
}
