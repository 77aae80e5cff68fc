// SIGKILL between any two durable steps of a restore or a removal: the next start converges.
#include <catch2/catch_test_macros.hpp>

#include "crash_point.hpp"
#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const std::string sub = "0123456789012345678901234567890123456789";

const tree_paths old_paths{{"same", tree_path::file("same\n")},    {"changed", tree_path::file("1\n")},
                           {"gone/x", tree_path::file("x\n")},     {"to-dir", tree_path::file("x\n")},
                           {"from-dir/a", tree_path::file("x\n")}, {"link", tree_path::link("same")},
                           {"sub", tree_path::submodule(sub)}};
const tree_paths new_paths{{"same", tree_path::file("same\n")},  {"changed", tree_path::file("2\n")},
                           {"to-dir/a", tree_path::file("x\n")}, {"from-dir", tree_path::file("x\n")},
                           {"link", tree_path::executable("x")}, {"sub", tree_path::file("x")}};

/// Puts the rig's directory back to what it was, at the same path, before each crash.
class snapshot {
public:
  explicit snapshot(fs::path directory)
      : directory_(std::move(directory)) {
    copy(directory_, copy_.path() / "rig");
  }
  void put_back() const {
    fs::remove_all(directory_);
    copy(copy_.path() / "rig", directory_);
  }

private:
  static void copy(const fs::path& from, const fs::path& to) { run({.argv = {"cp", "-a", from, to}}); }
  fs::path directory_;
  temp_dir copy_{"snapshot"};
};

/// For each step at which `body` may die: the state before, the crash, and then `check`. At least `least` steps.
void at_each_step(const worktree_rig& rig, int least, const std::function<void()>& body,
                  const std::function<void()>& check) {
  const snapshot before(rig.rig());
  for (int step = 1;; ++step) {
    INFO("killed before step " << step);
    before.put_back();
    const auto outcome = die_before(step, body);
    if (outcome == crash_outcome::not_allowed) SKIP("ptrace is not allowed here");
    check();
    if (outcome == crash_outcome::died) continue;
    CHECK(step > least);
    return;
  }
}

bool is_registered(const worktree_rig& rig) {
  return run_git(rig.repository(), {"worktree", "list", "--porcelain"})
             .find(rig.worktree().filename().string() + "\n") != std::string::npos;
}

/// The worktree is at `commit`, clean, and nothing of the dead attempt is left.
void check_converged(const worktree_rig& rig, const std::string& commit) {
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(done->commit == commit);
  CHECK_FALSE(done->left_dirty);
  CHECK(done->reported.empty());
  const auto status = run_git(rig.worktree(), {"--no-optional-locks", "status", "--porcelain=v2", "--branch"});
  CHECK(status.starts_with("# branch.oid " + commit + "\n# branch.head work\n"));
  CHECK(status.find("\n1 ") == std::string::npos);
  CHECK(status.find("\n? ") == std::string::npos);
  CHECK_FALSE(fs::exists(rig.rig() / "worktrees/.kept"));
  CHECK_FALSE(fs::exists(rig.registration() / "townkeeper-move"));
  const auto staging = rig.rig() / "worktrees/.new";
  CHECK((!fs::exists(staging) || fs::is_empty(staging)));
}

} // namespace

TEST_CASE("killed at any step of the creation, git sees no worktree or a whole one, and the next restore converges") {
  worktree_rig rig;
  const auto tip = rig.commit("work", old_paths);
  rig.fetch({"work"});
  at_each_step(
      rig, 30, [&] { test::restore(rig.job()).value(); },
      [&] {
        if (is_registered(rig)) CHECK(status_of(rig.worktree()) == "");
        check_converged(rig, tip);
      });
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("killed at any step of a move to another commit, the next restore completes it") {
  worktree_rig rig;
  rig.commit("work", old_paths);
  rig.restored();
  const auto after = rig.commit("work", new_paths);
  rig.fetch({"work"});
  at_each_step(
      rig, 30, [&] { test::restore(rig.job()).value(); }, [&] { check_converged(rig, after); });
  CHECK(flaws_of(rig, after) == "");
}

TEST_CASE("killed at any step of the mending, the next restore mends the rest") {
  worktree_rig rig;
  const auto tip = rig.commit("work", old_paths);
  rig.restored();
  SECTION("of a registration that was lost") {
    fs::remove_all(rig.registration());
  }
  SECTION("of everything that can be broken at once") {
    for (const std::string name : {"index", "HEAD", "commondir", "gitdir", "locked"})
      fs::remove(rig.registration() / name);
    fs::remove(rig.repository() / "refs/heads/work");
    write(rig.registration() / "index.lock", "");
    write(rig.worktree() / ".git", "gitdir: /nowhere\n");
  }
  at_each_step(
      rig, 5, [&] { test::restore(rig.job()).value(); }, [&] { check_converged(rig, tip); });
}

TEST_CASE("killed at any step of a removal, the next removal completes it") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1")}, {"dir/b", tree_path::file("2")}});
  rig.restored();
  at_each_step(
      rig, 8, [&] { git::remove_worktree(rig.job()).value(); },
      [&] {
        const auto again = git::remove_worktree(rig.job());
        REQUIRE(again);
        CHECK(again->removed);
        CHECK(again->kept_because.empty());
        CHECK_FALSE(fs::exists(rig.worktree()));
        CHECK_FALSE(fs::exists(rig.registration()));
        CHECK(fs::is_empty(rig.rig() / "worktrees/.new"));
        CHECK_FALSE(fs::exists(rig.rig() / "worktrees/.kept"));
      });
}
