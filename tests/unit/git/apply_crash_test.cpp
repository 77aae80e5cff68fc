// SIGKILL between any two durable steps of putting a recovery point on a disk: the next start converges.
#include <catch2/catch_test_macros.hpp>

#include "apply_rig.hpp"
#include "crash_point.hpp"
#include "tests/support/command.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// For each step at which the wake may die: the disk as it was before, the crash, and then `check`.
void at_each_step(const apply_rig& rig, int least, const git::worktree_job& job, const std::function<void()>& check) {
  const temp_dir copy{"before"};
  run({.argv = {"cp", "-a", rig.rig(), copy.path() / "rig"}});
  for (int step = 1;; ++step) {
    INFO("killed before step " << step);
    fs::remove_all(rig.rig());
    run({.argv = {"cp", "-a", copy.path() / "rig", rig.rig()}});
    const auto outcome = die_before(step, [&] { test::restore(job).value(); });
    if (outcome == crash_outcome::not_allowed) SKIP("ptrace is not allowed here");
    check();
    if (outcome == crash_outcome::died) continue;
    CHECK(step > least);
    return;
  }
}

/// A commit that is not pushed, work of every kind, and a merge in progress.
void work(const apply_rig& rig) {
  rig.git({"checkout", "-q", "-b", "other"});
  rig.put("b", "theirs\n");
  rig.git({"commit", "-qam", "theirs"});
  rig.git({"checkout", "-q", "work"});
  rig.put("b", "ours\n");
  rig.git({"commit", "-qam", "ours"});
  CHECK(rig.try_to({"merge", "other"}).status == 1);
  rig.put("a", "staged\n");
  rig.git({"add", "a"});
  rig.put("dir/new", "untracked\n");
  fs::remove(rig.worktree() / "gone");
}

} // namespace

TEST_CASE("killed at any step of a wake from an empty disk, the next one brings everything") {
  apply_rig rig({{"a", tree_path::file("a\n")}, {"b", tree_path::file("b\n")}, {"gone", tree_path::link("a")}});
  work(rig);
  rig.save();
  const auto before = rig.picture();
  rig.lose_disk();
  at_each_step(rig, 30, rig.wake_job(), [&] {
    const auto done = rig.wake();
    // Killed after the registration was in its place: the worktree remembers the point.
    CHECK((done.recovery == git::point_outcome::applied || done.recovery == git::point_outcome::disk_newer));
    CHECK(rig.picture() == before);
    CHECK_FALSE(fs::exists(rig.rig() / "worktrees/.kept"));
    const auto staging = rig.rig() / "worktrees/.new";
    CHECK((!fs::exists(staging) || fs::is_empty(staging)));
  });
}

TEST_CASE("killed at any step of replacing an older disk that is kept, the next one brings everything") {
  apply_rig rig({{"a", tree_path::file("a\n")}, {"b", tree_path::file("b\n")}, {"gone", tree_path::link("a")}});
  work(rig);
  rig.save(2, 1);
  const auto before = rig.picture();
  rig.git({"reset", "-q", "--hard", "origin/work"});
  rig.git({"clean", "-fdq"});
  rig.put("older", "work\n");
  rig.look_again();
  auto job = rig.wake_job();
  job.disk_is_kept = true;
  at_each_step(rig, 30, job, [&] {
    const auto done = test::restore(job);
    REQUIRE(done);
    CHECK((done->recovery == git::point_outcome::applied || done->recovery == git::point_outcome::disk_newer));
    CHECK(rig.picture() == before);
    CHECK(fs::exists(rig.rig() / "worktrees/.kept/a1-1/older"));
  });
}
