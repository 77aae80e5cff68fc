// Work that exists only on this disk: a restore leaves it exactly as it is, and says so.
#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

struct working_rig : worktree_rig {
  std::string tip;
  working_rig() {
    tip = commit("work", {{".gitignore", tree_path::file("*.o\n")},
                          {"a", tree_path::file("1\n")},
                          {"b", tree_path::file("2\n")},
                          {"dir/c", tree_path::file("3\n")}});
    restored();
  }
  std::string agent_git(std::vector<std::string> arguments) const { return in(worktree(), std::move(arguments)); }
  void commit_mine(const std::string& file = "a", const std::string& content = "mine\n") const {
    write(worktree() / file, content);
    agent_git({"add", "--", file});
    agent_git({"commit", "-q", "-m", "mine"});
  }
};

/// Everything of a worktree that a restore could spoil.
struct everything {
  std::vector<std::string> files, notes;
  std::string branches;
  explicit everything(const worktree_rig& rig)
      : files(traces(rig.worktree()))
      , notes(traces(rig.registration()))
      , branches(run_git(rig.repository(), {"for-each-ref", "refs/heads"})) {}
  bool operator==(const everything&) const = default;
};

} // namespace

TEST_CASE("uncommitted work is left exactly as it is, whether the remote moved or not") {
  working_rig rig;
  std::string what;
  SECTION("a modified file") {
    write(rig.worktree() / "a", "mine\n");
    what = "1 modified or deleted file";
  }
  SECTION("a deleted file") {
    fs::remove(rig.worktree() / "dir/c");
    what = "1 modified or deleted file";
  }
  SECTION("a mode") {
    REQUIRE(::chmod((rig.worktree() / "a").c_str(), 0755) == 0);
    what = "1 modified or deleted file";
  }
  SECTION("a file turned into a link") {
    fs::remove(rig.worktree() / "a");
    fs::create_symlink("b", rig.worktree() / "a");
    what = "1 modified or deleted file";
  }
  SECTION("a staged change") {
    write(rig.worktree() / "a", "mine\n");
    rig.agent_git({"add", "a"});
    what = "1 staged change";
  }
  SECTION("a staged removal whose file is still there") {
    rig.agent_git({"rm", "-q", "--cached", "a"});
    what = "1 staged change";
  }
  SECTION("a change that is staged and taken back in the file") {
    write(rig.worktree() / "a", "mine\n");
    rig.agent_git({"add", "a"});
    write(rig.worktree() / "a", "1\n");
    what = "1 staged change";
  }
  SECTION("an untracked file") {
    write(rig.worktree() / "new/er", "n");
    what = "1 untracked path";
  }
  SECTION("an untracked repository") {
    run_git(rig.workspace(), {"init", "-q", rig.worktree() / "nested"});
    write(rig.worktree() / "nested/file", "n");
    what = "1 untracked path";
  }
  SECTION("an intention to add") {
    write(rig.worktree() / "new", "n");
    rig.agent_git({"add", "-N", "new"});
    what = "1 ";
  }
  const everything before(rig);
  auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(done.files_written == 0);
  CHECK(done.commit == rig.tip);
  CHECK(done.unpushed_commits == 0);
  CHECK(mentions(done.reported, what));
  CHECK(everything(rig) == before);

  const auto moved = rig.commit("work", {{"a", tree_path::file("theirs\n")}});
  done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(done.commit == rig.tip);
  CHECK(mentions(done.reported, what));
  CHECK(mentions(done.reported, moved));
  CHECK(everything(rig) == before);
}

TEST_CASE("commits that were not pushed are left, counted and said") {
  working_rig rig;
  rig.commit_mine("a");
  rig.commit_mine("b");
  const auto mine = id_of(rig.worktree(), "HEAD");
  SECTION("ahead of the remote") {
    const everything before(rig);
    const auto done = rig.restored();
    CHECK(done.left_dirty);
    CHECK(done.unpushed_commits == 2);
    CHECK(done.commit == mine);
    CHECK(everything(rig) == before);
  }
  SECTION("diverged from the remote") {
    rig.commit("work", {{"a", tree_path::file("theirs\n")}});
    const everything before(rig);
    const auto done = rig.restored();
    CHECK(done.left_dirty);
    CHECK(done.unpushed_commits == 2);
    CHECK(mentions(done.reported, "diverged"));
    CHECK(everything(rig) == before);
  }
  SECTION("with uncommitted work on top") {
    write(rig.worktree() / "new", "n");
    const everything before(rig);
    const auto done = rig.restored();
    CHECK(done.left_dirty);
    CHECK(done.unpushed_commits == 2);
    CHECK(everything(rig) == before);
  }
  SECTION("amended after the push") {
    rig.agent_git({"push", "-q"});
    rig.agent_git({"commit", "-q", "--amend", "-m", "better"});
    const everything before(rig);
    const auto done = rig.restored();
    CHECK(done.left_dirty);
    CHECK(done.unpushed_commits == 1);
    CHECK(everything(rig) == before);
  }
}

TEST_CASE("a branch that was force-pushed to something older keeps the local commits") {
  working_rig rig;
  rig.commit_mine();
  rig.agent_git({"push", "-q"});
  run_git(rig.remote(), {"update-ref", "refs/heads/work", rig.tip});
  const everything before(rig);
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(done.unpushed_commits == 1);
  CHECK(everything(rig) == before);
}

TEST_CASE("a branch deleted on the remote is branch_missing, and the worktree stays as it is") {
  working_rig rig;
  rig.commit_mine();
  run_git(rig.remote(), {"update-ref", "-d", "refs/heads/work"});
  rig.fetch({"work"});
  const everything before(rig);
  const auto done = test::restore(rig.job());
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::branch_missing);
  CHECK(everything(rig) == before);
}

TEST_CASE("an operation in progress is left exactly as it is, and named") {
  working_rig rig;
  rig.commit("other", {{"a", tree_path::file("theirs\n")}});
  rig.fetch({"work", "other"});
  std::string what;
  SECTION("a rebase that stopped at a conflict") {
    rig.commit_mine();
    try_git(rig.worktree(), {"rebase", "-q", "origin/other"});
    what = "a rebase in progress";
  }
  SECTION("a merge with conflict markers") {
    rig.commit_mine();
    try_git(rig.worktree(), {"merge", "-q", "origin/other"});
    REQUIRE(read(rig.worktree() / "a").find("<<<<<<<") != std::string::npos);
    what = "a merge in progress, 1 conflicted file";
  }
  SECTION("a merge that only waits for its commit") {
    rig.agent_git({"merge", "-q", "--no-commit", "--no-ff", "-s", "ours", "origin/other"});
    what = "a merge in progress";
  }
  SECTION("a cherry-pick") {
    rig.commit_mine();
    try_git(rig.worktree(), {"cherry-pick", "origin/other"});
    what = "a cherry-pick in progress";
  }
  SECTION("a revert") {
    rig.commit_mine();
    rig.commit_mine("a", "again\n");
    try_git(rig.worktree(), {"revert", "--no-edit", "HEAD~1"});
    what = "a revert in progress";
  }
  SECTION("a bisection") {
    rig.agent_git({"bisect", "start"});
    what = "a bisection in progress";
  }
  const everything before(rig);
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(mentions(done.reported, what));
  CHECK(everything(rig) == before);
}

TEST_CASE("a detached HEAD with commits of its own is left, and said") {
  working_rig rig;
  rig.agent_git({"checkout", "-q", "--detach"});
  rig.commit_mine();
  const everything before(rig);
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(done.branch.empty());
  CHECK(done.commit == id_of(rig.worktree(), "HEAD"));
  CHECK(done.unpushed_commits == 1);
  CHECK(mentions(done.reported, "HEAD is detached"));
  CHECK(everything(rig) == before);
}

TEST_CASE("a detached HEAD at a commit the remote has goes back to its branch") {
  working_rig rig;
  rig.agent_git({"checkout", "-q", "--detach", "HEAD~1"});
  const auto done = rig.restored();
  CHECK_FALSE(done.left_dirty);
  CHECK(flaws_of(rig, rig.tip) == "");
}

TEST_CASE("another branch that the agent is on is left while it holds work, and else is changed for the agent's own") {
  working_rig rig;
  rig.agent_git({"checkout", "-q", "-b", "side"});
  SECTION("commits") {
    rig.commit_mine();
    const everything before(rig);
    const auto done = rig.restored();
    CHECK(done.left_dirty);
    CHECK(done.branch == "side");
    CHECK(done.unpushed_commits == 1);
    CHECK(mentions(done.reported, "HEAD is on branch side"));
    CHECK(everything(rig) == before);
  }
  SECTION("none") {
    const auto done = rig.restored();
    CHECK_FALSE(done.left_dirty);
    CHECK(flaws_of(rig, rig.tip) == "");
    CHECK_FALSE(id_of(rig.worktree(), "refs/heads/side").empty());
  }
}

TEST_CASE("a branch without history that the agent began is left") {
  working_rig rig;
  rig.agent_git({"checkout", "-q", "--orphan", "anew"});
  const everything before(rig);
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(done.branch == "anew");
  CHECK(everything(rig) == before);
}

TEST_CASE("a sparse checkout without a sparse index stays as it is, also when its branch moves on") {
  working_rig rig;
  rig.agent_git({"sparse-checkout", "set", "--no-cone", "/a"});
  REQUIRE_FALSE(fs::exists(rig.worktree() / "b"));
  rig.commit("work", {{"a", tree_path::file("9\n")}, {"b", tree_path::file("9\n")}});
  rig.fetch({"work"});
  const everything before(rig);
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(done->left_dirty);
  CHECK(everything(rig) == before);
}

TEST_CASE("sockets, FIFOs and files nobody may read in a worktree hold nothing up") {
  working_rig rig;
  REQUIRE(::mkfifo((rig.worktree() / "fifo.o").c_str(), 0600) == 0);
  REQUIRE(::mkfifo((rig.worktree() / "dir/pipe").c_str(), 0600) == 0);
  const everything before(rig);
  CHECK(rig.restored().files_written == 0);
  CHECK(everything(rig) == before);
}
