// The layout of a recovery point itself (docs/recovery.md), made by git's commands alone: whatever an agent's worktree
// was like, plain git brings it back in any clone.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "keep_states.hpp"
#include "tests/support/plain_point.hpp"

using namespace townkeeper::test;
namespace fs = std::filesystem;

TEST_CASE("the layout of a recovery point gives plain git everything back") {
  // A rig holds few worktrees, for stashes and tags of all of them are part of every point.
  constexpr std::size_t worktrees_per_rig = 6;
  const auto seeds = seeds_of_states(24);
  for (std::size_t first = 0; first < seeds.size(); first += worktrees_per_rig) {
    const temp_dir dir{"layout"};
    const auto remote = dir.path() / "remote.git", rig = dir.path() / "rig";
    run_git(dir.path(), {"init", "-q", "--bare", "--template=", remote});
    seed_history(remote, {"work"});
    run_git(dir.path(), {"clone", "-q", "--template=", "-b", "main", remote, rig});
    for (std::size_t i = first; i < std::min(first + worktrees_per_rig, seeds.size()); ++i) {
      const auto name = "w" + std::to_string(seeds[i]);
      const auto worktree = dir.path() / name;
      run_git(rig, {"worktree", "add", "-q", "-b", name, worktree, "origin/work"});
      const auto done = make_state(worktree, seeds[i]);
      INFO(report_of(seeds[i], done));
      const auto before = describe(worktree);
      const auto point = plain_point(worktree);
      CHECK(differences(before, describe(worktree)) == "");
      run_git(rig, {"push", "-q", remote, point + ":refs/townkeeper/t1/" + name + "/1"});
      CHECK(flaws_of_plain_recovery(remote, "refs/townkeeper/t1/" + name + "/1", before) == "");
    }
  }
}
