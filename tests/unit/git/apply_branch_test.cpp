// "On top of the branch": what becomes of a point when the branch is not where the point says it was.
#include <catch2/catch_test_macros.hpp>

#include "apply_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const tree_paths start{{"a", tree_path::file("a\n")}, {"b", tree_path::file("b\n")}};
const tree_paths later{{"a", tree_path::file("a\n")}, {"b", tree_path::file("moved\n")}};

void remove_remote_branch(const apply_rig& rig) {
  run_git(rig.remote(), {"update-ref", "-d", "refs/heads/work"});
}

/// The worktree is at the branch and clean, and the point is still under its ref.
void check_at_branch(const apply_rig& rig, const std::string& tip) {
  CHECK(flaws_of(rig, tip) == "");
  CHECK(id_of(rig.remote(), rig.point.point.ref) == rig.point.point.commit);
}

} // namespace

TEST_CASE("the branch moved on and the point holds changes: the worktree is at the branch, nothing is merged") {
  apply_rig rig(start);
  SECTION("an unstaged change") {
    rig.put("a", "mine\n");
  }
  SECTION("a staged one") {
    rig.put("a", "mine\n");
    rig.git({"add", "a"});
  }
  SECTION("an untracked file") {
    rig.put("new", "mine\n");
  }
  SECTION("a commit") {
    rig.put("a", "mine\n");
    rig.git({"commit", "-qam", "mine"});
  }
  SECTION("a commit on no branch") {
    rig.git({"checkout", "-q", "--detach"});
    rig.put("a", "mine\n");
    rig.git({"commit", "-qam", "mine"});
  }
  SECTION("an operation in progress") {
    rig.git({"checkout", "-q", "-b", "other"});
    rig.git({"commit", "-q", "--allow-empty", "-m", "theirs"});
    rig.git({"checkout", "-q", "work"});
    rig.git({"merge", "-q", "--no-ff", "--no-commit", "other"});
  }
  rig.save();
  const auto tip = rig.commit("work", later);
  rig.lose_disk();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::kept);
  CHECK(done.applied_files == 0);
  check_at_branch(rig, tip);
}

TEST_CASE("the branch moved on and has everything the point has: the worktree is at the branch") {
  apply_rig rig(start);
  SECTION("nothing was changed") {}
  SECTION("an edit was discarded before the point") {
    rig.put("a", "mine\n");
    rig.git({"checkout", "-q", "a"});
  }
  SECTION("HEAD was detached at a commit of the branch, and a reset left ORIG_HEAD behind") {
    rig.git({"checkout", "-q", "--detach"});
    rig.git({"reset", "-q", "--hard", "HEAD"});
    rig.git({"reset", "-q", "--hard", "HEAD~1"});
  }
  rig.save();
  const auto tip = rig.commit("work", later);
  rig.lose_disk();
  CHECK(rig.wake().recovery == git::point_outcome::held);
  check_at_branch(rig, tip);
}

TEST_CASE("the point's commits came to the remote after it was taken") {
  apply_rig rig(start);
  rig.put("a", "mine\n");
  rig.git({"commit", "-qam", "mine"});
  auto expected = git::point_outcome::held;
  SECTION("nothing else was in it") {}
  SECTION("there was more") {
    rig.put("b", "uncommitted\n");
    expected = git::point_outcome::kept;
  }
  rig.save();
  rig.git({"push", "-q", "origin", "work"});
  const auto tip = rig.git({"rev-parse", "HEAD"});
  rig.lose_disk();
  CHECK(rig.wake().recovery == expected);
  check_at_branch(rig, tip);
}

TEST_CASE("a branch that was forced elsewhere is left there") {
  apply_rig rig(start);
  rig.put("a", "pushed\n");
  rig.git({"commit", "-qam", "pushed"});
  rig.git({"push", "-q", "origin", "work"});
  rig.save(); // clean
  run_git(rig.remote(), {"update-ref", "refs/heads/work", "refs/heads/main"});
  rig.lose_disk();
  CHECK(rig.wake().recovery == git::point_outcome::kept);
  check_at_branch(rig, id_of(rig.remote(), "refs/heads/main"));
}

TEST_CASE("the branch was never pushed when the point was taken, and is on the remote now") {
  apply_rig rig;
  rig.put("README", "mine\n");
  rig.save();
  const auto tip = rig.commit("work", later);
  rig.lose_disk();
  CHECK(rig.wake().recovery == git::point_outcome::kept);
  check_at_branch(rig, tip);
}

TEST_CASE("the branch is gone from the remote: everything is as it was, without upstream") {
  apply_rig rig(start);
  rig.put("a", "committed\n");
  rig.git({"commit", "-qam", "mine"});
  rig.put("a", "changed\n");
  rig.put("new", "untracked\n");
  rig.save();
  const auto commit = rig.git({"rev-parse", "HEAD"});
  remove_remote_branch(rig);
  rig.lose_disk();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::unpublished);
  CHECK(done.commit == commit);
  CHECK(done.unpushed_commits == 2);
  CHECK(done.applied_files == 2);
  CHECK(rig.git({"--no-optional-locks", "status", "--porcelain", "--branch"}) == "## work\n M a\n?? new");
  CHECK(try_git(rig.worktree(), {"config", "branch.work.merge"}).status == 1);
}

TEST_CASE("without a point a missing branch stays a missing branch") {
  apply_rig rig(start);
  rig.save();
  remove_remote_branch(rig);
  rig.lose_disk();
  const auto done = test::restore(rig.job());
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::branch_missing);
}

TEST_CASE("a point whose objects are not here fails the wake, and nothing older takes its place") {
  apply_rig rig(start);
  rig.put("a", "mine\n");
  rig.save();
  run_git(rig.remote(), {"update-ref", "-d", rig.point.point.ref});
  fs::remove_all(rig.rig());
  rig.fetch({"work"});
  const auto done = test::restore(rig.wake_job());
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::recovery_point_missing);
  CHECK_FALSE(fs::exists(rig.worktree()));
}

TEST_CASE("HEAD's branch is in use by another worktree: HEAD is detached at the same commit") {
  apply_rig rig(start);
  rig.git({"checkout", "-q", "-b", "other"});
  rig.put("a", "mine\n");
  rig.save();
  rig.lose_disk();
  run_git(rig.repository(), {"worktree", "add", "-q", "-b", "other", rig.workspace() / "elsewhere", "main"});
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::applied);
  CHECK(done.branch.empty());
  CHECK(done.commit == *rig.point.point.head.commit);
  CHECK(mentions(done.reported, "HEAD was on branch other"));
  CHECK(status_of(rig.worktree()) == " M a");
  CHECK(id_of(rig.repository(), "refs/heads/other") == id_of(rig.remote(), "refs/heads/main"));
}

TEST_CASE("a local branch that is elsewhere on a disk without the worktree is not lost") {
  apply_rig rig(start);
  rig.put("a", "mine\n");
  rig.save();
  rig.git({"commit", "-qam", "newer than the point"});
  const auto newer = rig.git({"rev-parse", "HEAD"});
  fs::remove_all(rig.worktree());
  fs::remove_all(rig.registration());
  rig.look_again();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::applied);
  CHECK(status_of(rig.worktree()) == " M a");
  CHECK(mentions(done.reported, newer));
  CHECK(id_of(rig.repository(), "refs/heads/kept-a1-" + newer.substr(0, 12)) == newer);
}
