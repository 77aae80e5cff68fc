// A snapshot is not seen by the agent, costs nothing while nothing changes, and survives what the agent's git does.
#include <catch2/catch_test_macros.hpp>
#include <utime.h>

#include "git/private_objects.hpp"
#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// All of the agent's repository and worktree but the private objects.
std::vector<std::string> agent_traces(const snapshot_rig& rig) {
  auto all = traces(rig.rig());
  std::erase_if(all, [](const std::string& line) { return line.find("repo.git/townkeeper") != std::string::npos; });
  return all;
}

void make_dirty(const snapshot_rig& rig) {
  write(rig.worktree() / "a", "mine\n");
  write(rig.worktree() / "b", "staged\n");
  rig.agent_git({"add", "b"});
  write(rig.worktree() / "new/file", "n\n");
  fs::remove(rig.worktree() / "c");
}

} // namespace

TEST_CASE("nothing of the agent's is touched") {
  snapshot_rig rig;
  make_dirty(rig);
  rig.taken(); // the store's own directories are made once
  const auto before = agent_traces(rig);
  const auto index = read(rig.registration() / "index");
  write(rig.worktree() / "hook-bait", "x\n");
  const auto traces_before = agent_traces(rig);
  rig.taken();
  CHECK(agent_traces(rig) == traces_before);
  CHECK(read(rig.registration() / "index") == index);
  CHECK(before.size() + 1 == traces_before.size());
}

TEST_CASE("an index lock, and a repository that cannot be written, are in nobody's way") {
  snapshot_rig rig;
  make_dirty(rig);
  write(rig.registration() / "index.lock", "");
  write(rig.registration() / "HEAD.lock", "");
  CHECK(git::take_snapshot(rig.snapshot_job()));
}

TEST_CASE("an unchanged worktree gives the same snapshot and writes no object") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto first = rig.taken();
  const auto before = traces(rig.private_objects());
  SECTION("at once") {}
  SECTION("with a refreshed index") {
    rig.agent_git({"update-index", "-q", "--refresh"});
  }
  const auto second = rig.taken();
  CHECK(second.fingerprint == first.fingerprint);
  CHECK(second.stash_commit == first.stash_commit);
  CHECK(second.extras_tree == first.extras_tree);
  CHECK(changes_since(before, rig.private_objects()) == "");
}

TEST_CASE("every change shows in the fingerprint") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto before = rig.taken().fingerprint;
  auto job = rig.snapshot_job();
  SECTION("a file's content") {
    write(rig.worktree() / "a", "mine2");
  }
  SECTION("a file's mode") {
    fs::permissions(rig.worktree() / "a", fs::perms::owner_exec, fs::perm_options::add);
  }
  SECTION("what is staged") {
    rig.agent_git({"add", "a"});
  }
  SECTION("a flag") {
    rig.agent_git({"update-index", "--assume-unchanged", "tool"});
  }
  SECTION("an untracked file's name") {
    fs::rename(rig.worktree() / "new/file", rig.worktree() / "new/other");
  }
  SECTION("HEAD alone") {
    rig.agent_git({"checkout", "-q", "--detach"});
  }
  SECTION("a commit without a change") {
    rig.agent_git({"commit", "-q", "--allow-empty", "-m", "x"});
  }
  SECTION("the branch alone") {
    run_git(rig.repository(), {"update-ref", "refs/heads/work", "main"});
  }
  SECTION("a tag") {
    rig.agent_git({"tag", "t"});
  }
  SECTION("the stash list") {
    run_git(rig.repository(), {"update-ref", "--create-reflog", "refs/stash", "work"});
  }
  SECTION("an operation") {
    write(rig.registration() / "MERGE_MSG", "m\n");
  }
  CHECK(rig.taken().fingerprint != before);
}

TEST_CASE("a file written again within a clock tick is read again") {
  snapshot_rig rig;
  for (int round = 0; round < 20; ++round) {
    const std::string content = round % 2 == 0 ? "xxxx" : "yyyy";
    write(rig.worktree() / "a", content);
    write(rig.worktree() / "new", content);
    const auto s = rig.taken();
    REQUIRE(rig.bytes(s.stash_commit + ":a") == content);
    REQUIRE(rig.bytes(s.stash_commit + "^3:new") == content);
  }
}

TEST_CASE("git gc in the agent's repository takes nothing from a snapshot") {
  snapshot_rig rig;
  make_dirty(rig);
  write(rig.worktree() / "d1", "staged once\n");
  rig.agent_git({"add", "d1"});
  rig.agent_git({"reset", "-q", "d1"}); // its blob is in the repository, and unreachable
  const auto first = rig.taken();
  rig.agent_git({"reset", "-q", "b"}); // and so is this one now
  rig.agent_git({"gc", "-q", "--prune=now"});
  CHECK(rig.private_git({"fsck", "--connectivity-only", first.stash_commit, first.extras_tree}) == "");
  const auto second = rig.taken();
  CHECK(second.fingerprint != first.fingerprint);
  CHECK(rig.difference_in_plain_git(second) == "");
  CHECK(rig.pushed(first) != "");
}

TEST_CASE("a snapshot whose private objects vanished is made anew") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto first = rig.taken();
  fs::remove_all(rig.private_objects());
  const auto second = rig.taken();
  CHECK(second.fingerprint == first.fingerprint);
  CHECK(rig.difference_in_plain_git(second) == "");
}

TEST_CASE("the point a worktree was saved to is remembered beside it") {
  snapshot_rig rig;
  CHECK_FALSE(git::read_point_mark(rig.repository(), "a1"));
  const git::point_mark mark{7, 42, std::string(40, 'c')};
  write(rig.registration() / "townkeeper-point.lock", "left by a dead process");
  REQUIRE(git::write_point_mark(rig.repository(), "a1", mark));
  const auto back = git::read_point_mark(rig.repository(), "a1");
  REQUIRE(back);
  CHECK(back->epoch == 7);
  CHECK(back->seq == 42);
  CHECK(back->commit == mark.commit);
  CHECK(read(rig.registration() / "townkeeper-point") == "7 42 " + mark.commit + "\n");
  write(rig.registration() / "townkeeper-point", "7 42 nonsense\n");
  CHECK_FALSE(git::read_point_mark(rig.repository(), "a1"));
  CHECK_FALSE(git::write_point_mark(rig.repository(), "nobody", mark));
}
