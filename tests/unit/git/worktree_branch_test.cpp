// Which commit and which branch a worktree comes to, and what becomes of one that is missing.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// A job for a branch that the agent record says was never pushed, to be started from `base`.
git::worktree_job unpushed_job(const worktree_rig& rig, const std::string& branch, const std::string& base) {
  auto job = rig.job(branch);
  job.ever_pushed = false;
  job.base_ref = base;
  job.base_tip = rig.job(base).remote_tip;
  return job;
}

} // namespace

TEST_CASE("a branch that was pushed once and is gone from the remote is branch_missing, and nothing is made") {
  worktree_rig rig;
  rig.fetch({"gone"});
  auto job = rig.job("gone");
  job.base_ref = "main";
  job.base_tip = rig.job("main").remote_tip;
  const auto done = test::restore(job);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::branch_missing);
  CHECK(done.error().object == "gone");
  CHECK_FALSE(fs::exists(rig.worktree()));
  CHECK_FALSE(fs::exists(rig.registration()));
  CHECK(id_of(rig.repository(), "refs/heads/gone").empty());
}

TEST_CASE("a branch that was never pushed starts at its base, and says so") {
  worktree_rig rig;
  const auto base = rig.commit("develop", {{"a", tree_path::file("1")}});
  rig.fetch({"fresh", "develop"});
  const auto done = test::restore(unpushed_job(rig, "fresh", "develop"));
  REQUIRE(done);
  CHECK(done->created_from_base);
  CHECK(done->commit == base);
  CHECK(done->unpushed_commits == 0);
  CHECK(flaws_of(rig, base, "fresh") == "");
  SECTION("it is pushed under its own name by a plain git push, and the base stays what it was") {
    write(rig.worktree() / "b", "2");
    in(rig.worktree(), {"add", "b"});
    in(rig.worktree(), {"commit", "-q", "-m", "mine"});
    in(rig.worktree(), {"push", "-q"});
    CHECK(id_of(rig.remote(), "refs/heads/fresh") == id_of(rig.worktree(), "HEAD"));
    CHECK(id_of(rig.remote(), "refs/heads/develop") == base);
  }
  SECTION("a restart that finds it untouched leaves it, though the base has moved on") {
    rig.commit("develop", {{"a", tree_path::file("2")}});
    rig.fetch({"fresh", "develop"});
    const auto again = test::restore(unpushed_job(rig, "fresh", "develop"));
    REQUIRE(again);
    CHECK(again->commit == base);
    CHECK(again->files_written == 0);
    CHECK(again->created_from_base);
  }
}

TEST_CASE("a branch that was never pushed and whose base is missing is branch_missing, never the default branch") {
  worktree_rig rig;
  rig.fetch({"fresh", "no-such-base"});
  const auto done = test::restore(unpushed_job(rig, "fresh", "no-such-base"));
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::branch_missing);
  CHECK(done.error().object == "no-such-base");
  CHECK_FALSE(fs::exists(rig.worktree()));
}

TEST_CASE("a branch checked out by another agent is refused with that agent's name") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1")}});
  rig.restored("work", "a1");
  const auto second = rig.restore("work", "a2");
  REQUIRE_FALSE(second);
  CHECK(second.error().code == error_code::conflict);
  CHECK(second.error().message.find("a1") != std::string::npos);
  CHECK_FALSE(fs::exists(rig.worktree("a2")));

  SECTION("also while that agent rebases it") {
    write(rig.worktree() / "a", "mine");
    in(rig.worktree(), {"commit", "-q", "-am", "mine"});
    rig.commit("other", {{"a", tree_path::file("theirs")}});
    rig.fetch({"work", "other"});
    try_git(rig.worktree(), {"rebase", "-q", "origin/other"});
    REQUIRE(fs::exists(rig.registration() / "rebase-merge"));
    CHECK(rig.restore("work", "a2").error().code == error_code::conflict);
  }
  SECTION("but not when that agent's directory is gone") {
    fs::remove_all(rig.worktree("a1"));
    CHECK(rig.restore("work", "a2"));
  }
}

TEST_CASE("a local branch with commits the remote lacks is what a lost worktree comes back to") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1")}});
  rig.restored();
  write(rig.worktree() / "a", "mine");
  in(rig.worktree(), {"commit", "-q", "-am", "mine"});
  const auto mine = id_of(rig.worktree(), "HEAD");
  fs::remove_all(rig.worktree());
  SECTION("ahead of the remote") {
    const auto done = rig.restored();
    CHECK(done.commit == mine);
    CHECK(done.unpushed_commits == 1);
    CHECK(flaws_of(rig, mine) == "");
  }
  SECTION("diverged, after a force-push to the remote") {
    const auto theirs = rig.commit("work", {{"a", tree_path::file("theirs")}});
    const auto done = rig.restored();
    CHECK(done.commit == mine);
    CHECK(done.unpushed_commits == 1);
    CHECK(mentions(done.reported, "diverged"));
    CHECK(mentions(done.reported, theirs));
  }
}

TEST_CASE("a local branch that names a commit the disk lacks counts as absent, and is healed") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"a", tree_path::file("1")}});
  rig.fetch({"work"});
  const auto ref = rig.repository() / "refs/heads/work";
  SECTION("a commit that is nowhere") {
    write(ref, "0123456789012345678901234567890123456789\n");
  }
  SECTION("no id at all") {
    write(ref, "garbage\n");
  }
  SECTION("cut short") {
    write(ref, "");
  }
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(done->commit == tip);
  CHECK(mentions(done->healed, "local branch work"));
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("a lock a dead process left on the branch is removed") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"a", tree_path::file("1")}});
  rig.fetch({"work"});
  write(rig.repository() / "refs/heads/work.lock", "");
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(flaws_of(rig, tip) == "");
  CHECK_FALSE(fs::exists(rig.repository() / "refs/heads/work.lock"));
}

TEST_CASE("an empty remote gives an unborn branch, and work in it begins as in any clone") {
  worktree_rig rig;
  run_git(rig.remote(), {"update-ref", "-d", "refs/heads/main"});
  fs::remove_all(rig.rig());
  rig.fetch({"work"});
  auto job = rig.job();
  job.ever_pushed = false;
  const auto done = test::restore(job);
  REQUIRE(done);
  CHECK(done->commit.empty());
  CHECK(done->branch == "work");
  CHECK(mentions(done->reported, "empty"));
  CHECK(status_of(rig.worktree()) == "");
  CHECK(try_git(rig.worktree(), {"symbolic-ref", "HEAD"}).out == "refs/heads/work\n");
  SECTION("a restart finds it as it is") {
    const auto again = test::restore(job);
    REQUIRE(again);
    CHECK_FALSE(again->left_dirty);
    CHECK(again->commit.empty());
  }
  SECTION("the first commit is pushed") {
    write(rig.worktree() / "a", "1");
    in(rig.worktree(), {"add", "a"});
    in(rig.worktree(), {"commit", "-q", "-m", "first"});
    in(rig.worktree(), {"push", "-q"});
    CHECK_FALSE(id_of(rig.remote(), "refs/heads/work").empty());
  }
  SECTION("what was staged before the first commit is left alone") {
    write(rig.worktree() / "a", "1");
    in(rig.worktree(), {"add", "a"});
    const auto again = test::restore(job);
    REQUIRE(again);
    CHECK(again->left_dirty);
    CHECK(status_of(rig.worktree()) == "A  a");
  }
  SECTION("somebody else's first commit is moved to") {
    const auto tip = rig.commit("work", {{"a", tree_path::file("1")}});
    const auto again = rig.restored();
    CHECK(again.commit == tip);
    CHECK(again.files_written == 1);
    CHECK(flaws_of(rig, tip) == "");
  }
}

TEST_CASE("branch names with slashes, dots, letters beyond ASCII and great length all work") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"a", tree_path::file("1")}});
  int n = 0;
  for (const std::string& branch :
       {std::string("gt/mayor/task-1"), std::string("v1.2.x"), std::string("gr\xc3\xbc\xc3\x9f"), std::string("a__b"),
        std::string("a/b"), std::string(100, 'x') + '/' + std::string(99, 'y')}) {
    run_git(rig.remote(), {"branch", branch, "work"});
    const auto agent = "a" + std::to_string(++n);
    REQUIRE(rig.restore(branch, agent));
    CHECK(flaws_of(rig, tip, branch, agent) == "");
  }
}

TEST_CASE("a branch whose name needs the place of an older one that nobody uses gets it") {
  worktree_rig rig;
  rig.commit("gt/x", {{"a", tree_path::file("1")}});
  rig.restored("gt/x", "a1");
  const auto job = rig.job("gt/x", "a1");
  run_git(rig.remote(), {"branch", "-m", "gt/x", "gt/x-old"});
  run_git(rig.remote(), {"branch", "gt/x/y", "gt/x-old"});
  SECTION("when its worktree is gone and the remote has its commits") {
    fs::remove_all(rig.worktree("a1"));
    fs::remove_all(rig.registration("a1"));
    REQUIRE(rig.restore("gt/x/y", "a2"));
    CHECK(flaws_of(rig, *rig.job("gt/x/y").remote_tip, "gt/x/y", "a2") == "");
  }
  SECTION("but not while a worktree is on it") {
    const auto done = rig.restore("gt/x/y", "a2");
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::conflict);
    CHECK(done.error().message.find("gt/x") != std::string::npos);
  }
  SECTION("nor when it has commits of its own") {
    write(rig.worktree("a1") / "a", "mine");
    in(rig.worktree("a1"), {"commit", "-q", "-am", "mine"});
    fs::remove_all(rig.worktree("a1"));
    fs::remove_all(rig.registration("a1"));
    CHECK(rig.restore("gt/x/y", "a2").error().code == error_code::conflict);
    CHECK_FALSE(id_of(rig.repository(), "refs/heads/gt/x").empty());
  }
}

TEST_CASE("hostile agent ids, branches and paths are refused before anything is touched") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1")}});
  rig.fetch({"work"});
  const auto before = traces(rig.workspace());
  const auto refused = [&](auto change) {
    auto job = rig.job();
    change(job);
    const auto done = test::restore(job);
    return !done && done.error().code == error_code::invalid_argument;
  };
  for (const std::string id : {"../a1", "..", ".new", ".git", "a/b", "", "-rf", "a\nb", "a.lock"})
    CHECK(refused([&](auto& job) {
      job.agent_id = id;
      job.worktree = rig.rig() / "worktrees" / id;
    }));
  for (const std::string branch : {"-x", "../main", "a..b", "a\nb", "HEAD", "a.lock", "", "@{-1}"})
    CHECK(refused([&](auto& job) { job.branch = branch; }));
  CHECK(refused([&](auto& job) { job.worktree = "worktrees/a1"; }));
  CHECK(refused([&](auto& job) { job.worktree = rig.rig() / "a1"; }));
  CHECK(refused([&](auto& job) { job.worktree = rig.rig() / "worktrees" / ".." / "worktrees" / "a1"; }));
  CHECK(refused([&](auto& job) { job.worktree = "/tmp/elsewhere/rigs/r1/worktrees/a1"; }));
  CHECK(refused([&](auto& job) { job.repository = rig.remote(); }));
  CHECK(traces(rig.workspace()) == before);
}

TEST_CASE("nothing is written through a symbolic link in the place of a directory of ours") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1")}});
  rig.fetch({"work"});
  const temp_dir elsewhere("elsewhere");
  SECTION("the directory of the worktrees") {
    fs::create_directory_symlink(elsewhere.path(), rig.rig() / "worktrees");
  }
  SECTION("the directory of the registrations") {
    fs::create_directory_symlink(elsewhere.path(), rig.repository() / "worktrees");
  }
  SECTION("the rig itself") {
    fs::rename(rig.rig(), rig.workspace() / "moved");
    fs::create_directory_symlink(rig.workspace() / "moved", rig.rig());
  }
  const auto done = test::restore(rig.job());
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::invalid_argument);
  CHECK(fs::is_empty(elsewhere.path()));
}

TEST_CASE("a link in the place of the worktree itself is set aside, and nothing is written through it") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"a", tree_path::file("1")}});
  rig.fetch({"work"});
  const temp_dir elsewhere("elsewhere");
  fs::create_directories(rig.rig() / "worktrees");
  fs::create_directory_symlink(elsewhere.path(), rig.worktree());
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(fs::is_empty(elsewhere.path()));
  CHECK_FALSE(fs::is_symlink(rig.worktree()));
  CHECK(flaws_of(rig, tip) == "");
  CHECK(mentions(done->reported, ".kept"));
}
