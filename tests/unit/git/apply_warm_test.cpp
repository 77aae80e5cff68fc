// A recovery point beside a worktree that is still there.
#include <catch2/catch_test_macros.hpp>

#include "apply_rig.hpp"
#include "git/recovery.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const tree_paths start{{"a", tree_path::file("a\n")}, {"b", tree_path::file("b\n")}};
const tree_paths later{{"a", tree_path::file("a\n")}, {"b", tree_path::file("moved\n")}};

void remember(const apply_rig& rig, std::int64_t epoch, std::int64_t seq) {
  git::write_point_mark(rig.repository(), "a1", {epoch, seq, rig.point.point.commit}).value();
}

/// The worktree as it was before the work that the point holds.
void go_back(const apply_rig& rig) {
  rig.git({"reset", "-q", "--hard", "origin/work"});
  rig.git({"clean", "-fdq"});
}

} // namespace

TEST_CASE("a disk at or after the point is left alone") {
  apply_rig rig(start);
  rig.put("a", "saved\n");
  rig.save(2, 5);
  rig.put("a", "newer\n");
  rig.put("new", "newer\n");
  SECTION("the same point") {
    remember(rig, 2, 5);
  }
  SECTION("a later one") {
    remember(rig, 2, 6);
  }
  SECTION("one of a later epoch") {
    remember(rig, 3, 1);
  }
  rig.look_again();
  const auto before = traces(rig.worktree());
  const auto picture = rig.picture();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::disk_newer);
  CHECK(done.left_dirty);
  CHECK(changes_since(before, rig.worktree()) == "");
  CHECK(rig.picture() == picture);
}

TEST_CASE("a clean disk after the point follows the branch; discarded edits stay discarded") {
  apply_rig rig(start);
  rig.put("a", "discarded\n");
  rig.save(2, 5);
  go_back(rig);
  remember(rig, 2, 6);
  const auto tip = rig.commit("work", later);
  rig.look_again();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::disk_newer);
  CHECK_FALSE(done.left_dirty);
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("a disk after the point keeps its work when the branch is gone from the remote") {
  apply_rig rig(start);
  rig.put("a", "mine\n");
  rig.save(1, 1);
  remember(rig, 1, 1);
  run_git(rig.remote(), {"update-ref", "-d", "refs/heads/work"});
  rig.look_again();
  const auto picture = read(rig.worktree() / "a");
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::disk_newer);
  CHECK(read(rig.worktree() / "a") == picture);
}

TEST_CASE("a clean disk from before the point is replaced by it") {
  apply_rig rig(start);
  rig.put("a", "saved\n");
  rig.put("new", "saved\n");
  rig.save(2, 5);
  const auto before = rig.picture();
  go_back(rig);
  SECTION("that remembers nothing") {}
  SECTION("that remembers an older point") {
    remember(rig, 2, 4);
  }
  SECTION("that remembers an older epoch") {
    remember(rig, 1, 9);
  }
  rig.look_again();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::applied);
  CHECK(rig.picture() == before);
  CHECK(git::read_point_mark(rig.repository(), "a1")->seq == 5);
}

TEST_CASE("a disk that is where a clean point says is not written again") {
  apply_rig rig(start);
  rig.save(2, 5);
  rig.look_again();
  const auto before = traces(rig.worktree());
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::applied);
  CHECK(done.files_written == 0);
  CHECK(changes_since(before, rig.worktree()) == "");
  CHECK(git::read_point_mark(rig.repository(), "a1")->epoch == 2);
  CHECK(rig.wake().recovery == git::point_outcome::disk_newer);
}

TEST_CASE("older work that is saved nowhere is not touched until it is kept") {
  apply_rig rig(start);
  rig.put("a", "saved\n");
  rig.save(2, 5);
  const auto as_saved = rig.picture();
  go_back(rig);
  std::string what;
  SECTION("an uncommitted change") {
    rig.put("b", "older\n");
    what = "1 modified or deleted file";
  }
  SECTION("an untracked file") {
    rig.put("older", "older\n");
    what = "1 untracked path";
  }
  SECTION("a commit") {
    rig.git({"commit", "-q", "--allow-empty", "-m", "older"});
    what = "1 commit that origin lacks";
  }
  SECTION("a commit on the branch, HEAD elsewhere") {
    rig.git({"commit", "-q", "--allow-empty", "-m", "older"});
    rig.git({"checkout", "-q", "--detach", "HEAD~1"});
    what = "1 commit that origin lacks";
  }
  remember(rig, 1, 1);
  rig.look_again();
  const auto before = traces(rig.worktree());
  const auto picture = rig.picture();
  const auto first = rig.wake();
  CHECK(first.recovery == git::point_outcome::disk_older);
  CHECK(first.left_dirty);
  CHECK(mentions(first.reported, what));
  CHECK(changes_since(before, rig.worktree()) == "");
  CHECK(rig.picture() == picture);
  CHECK(git::read_point_mark(rig.repository(), "a1")->epoch == 1);

  auto job = rig.wake_job();
  job.disk_is_kept = true;
  const auto second = test::restore(job);
  REQUIRE(second);
  CHECK(second->recovery == git::point_outcome::applied);
  CHECK(rig.picture() == as_saved);
  CHECK(fs::exists(rig.rig() / "worktrees/.kept/a1-1/b"));
  CHECK_FALSE(fs::exists(rig.rig() / "worktrees/.kept/a1-1/.git"));
  CHECK(mentions(second->reported, ".kept/a1-1"));
}

TEST_CASE("older work beside a branch that moved: after it is kept, the worktree is at the branch") {
  apply_rig rig(start);
  rig.put("a", "saved\n");
  rig.save(2, 5);
  go_back(rig);
  rig.git({"commit", "-q", "--allow-empty", "-m", "older"});
  const auto tip = rig.commit("work", later);
  rig.look_again();
  CHECK(rig.wake().recovery == git::point_outcome::disk_older);
  auto job = rig.wake_job();
  job.disk_is_kept = true;
  const auto done = test::restore(job);
  REQUIRE(done);
  CHECK(done->recovery == git::point_outcome::kept);
  CHECK(flaws_of(rig, tip) == "");
  CHECK(rig.wake().recovery == git::point_outcome::disk_newer);
}

TEST_CASE("a clean disk from before the point follows the branch when the point stays under its ref") {
  apply_rig rig(start);
  rig.put("a", "saved\n");
  rig.save(2, 5);
  go_back(rig);
  const auto tip = rig.commit("work", later);
  rig.look_again();
  CHECK(rig.wake().recovery == git::point_outcome::kept);
  CHECK(flaws_of(rig, tip) == "");
  rig.put("a", "new work\n"); // from now on the disk is after the point
  const auto again = rig.wake();
  CHECK(again.recovery == git::point_outcome::disk_newer);
  CHECK(again.left_dirty);
}

TEST_CASE("without a point, work on the disk wins") {
  apply_rig rig(start);
  CHECK(test::restore(rig.job())->recovery == git::point_outcome::none);
  rig.put("a", "mine\n");
  CHECK(test::restore(rig.job())->recovery == git::point_outcome::disk_newer);
}
