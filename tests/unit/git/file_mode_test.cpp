// `core.fileMode=false`: an agent whose git does not look at executable bits.
#include <catch2/catch_test_macros.hpp>

#include "apply_rig.hpp"
#include "git/recovery.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const tree_paths start{
    {"a", tree_path::file("a\n")}, {"b", tree_path::file("b\n")}, {"run", tree_path::executable("#!\n")}};

/// Every bit is the other way round from what the index says; one file is changed besides, one is staged.
void turn_modes(const apply_rig& rig) {
  rig.git({"config", "core.fileMode", "false"});
  rig.put("a", "changed\n");
  rig.put("new", "staged\n");
  rig.put("script", "#!\n");
  for (const auto* path : {"a", "b", "new", "script"})
    fs::permissions(rig.worktree() / path, fs::perms::owner_exec, fs::perm_options::add);
  fs::permissions(rig.worktree() / "run", fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec,
                  fs::perm_options::remove);
  rig.git({"add", "new"});
}

std::string what_git_says(const apply_rig& rig) {
  return rig.git({"status", "--porcelain"}) + '\n' + rig.git({"ls-files", "-s"}) + '\n' + rig.git({"diff"}) + '\n' +
         rig.git({"diff", "--cached"});
}

} // namespace

TEST_CASE("with core.fileMode=false a snapshot has the modes of the index, and an executable bit is no change") {
  apply_rig rig(start);
  turn_modes(rig);
  git::snapshot_job job;
  job.rig_id = "r1";
  job.agent_id = "a1";
  job.repository = rig.repository();
  job.worktree = rig.worktree();
  job.branch = "work";
  job.identity = "Ada <ada@example.invalid>";
  const auto taken = git::take_snapshot(job);
  REQUIRE(taken);
  CHECK(taken->files.staged == 1);
  CHECK(taken->files.modified == 1);
  CHECK(taken->files.untracked == 1);
  const auto listed =
      try_git(rig.repository(), {"ls-tree", "--format=%(objectmode) %(path)", taken->stash_commit},
              {{"GIT_ALTERNATE_OBJECT_DIRECTORIES", (rig.repository() / "townkeeper/recovery/a1/objects").string()}});
  CHECK(listed.out == "100644 a\n100644 b\n100644 new\n100755 run\n");

  // Once everything else is undone, nothing is left.
  rig.git({"reset", "-q", "--hard"});
  fs::remove(rig.worktree() / "script");
  fs::permissions(rig.worktree() / "b", fs::perms::owner_exec, fs::perm_options::add);
  const auto clean = git::take_snapshot(job);
  REQUIRE(clean);
  CHECK_FALSE(clean->uncommitted);
}

TEST_CASE("with core.fileMode=false git says the same after a wake") {
  apply_rig rig(start);
  rig.with_our_own = true;
  turn_modes(rig);
  rig.save();
  const auto before = what_git_says(rig);
  REQUIRE(before.starts_with(" M a\nA  new\n?? script\n"));
  SECTION("on an empty disk, where nobody has said core.fileMode=false yet") {
    rig.lose_disk();
  }
  SECTION("where the worktree alone is lost") {
    fs::remove_all(rig.worktree());
    rig.look_again();
    REQUIRE(run_git(rig.repository(), {"config", "core.fileMode"}) == "false");
  }
  SECTION("on a warm disk") {
    rig.look_again();
    rig.wake();
    CHECK(what_git_says(rig) == before);
    return;
  }
  CHECK(rig.wake().recovery == git::point_outcome::applied);
  CHECK(what_git_says(rig) == before);
  CHECK(read(rig.worktree() / "script") == "#!\n");
}
