// A worktree that changes while its snapshot is taken: each change is made at exactly one moment of it.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <chrono>
#include <fstream>

#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;
using git::snapshot_step;

namespace {

/// Counts the looks a snapshot takes, and does something the first times it comes to a step.
struct disturbed {
  git::snapshot_job job;
  int looks = 0, disturbances = 0;

  disturbed(const snapshot_rig& rig, snapshot_step at, int times, std::function<void(int)> disturb)
      : job(rig.snapshot_job()) {
    job.observe = [this, at, times, disturb = std::move(disturb)](snapshot_step step) {
      if (step == snapshot_step::head_read) ++looks;
      if (step == at && disturbances < times) disturb(++disturbances);
    };
  }
  git::snapshot taken() const { return snapshot_rig::taken(job); }
};

void append(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::app) << text;
}

/// Something staged, something not, and something untracked.
void make_dirty(const snapshot_rig& rig) {
  write(rig.worktree() / "a", "changed\n");
  write(rig.worktree() / "b", "staged\n");
  rig.agent_git({"add", "b"});
  write(rig.worktree() / "new", "untracked\n");
}

/// W is of HEAD as it is now, of its own index, and of the files.
void check_is_of_now(const snapshot_rig& rig, const git::snapshot& taken) {
  const auto head = rig.agent_git({"rev-parse", "HEAD"});
  CHECK(taken.head.commit == head);
  CHECK(rig.private_git({"rev-parse", taken.stash_commit + "^1"}) == head);
  CHECK(rig.private_git({"rev-parse", taken.stash_commit + "^2^{tree}"}) == rig.agent_git({"write-tree"}));
  CHECK(taken.branch_commit == run_git(rig.repository(), {"rev-parse", "refs/heads/work"}));
  CHECK(rig.private_git({"fsck", "--connectivity-only", "--no-dangling", taken.stash_commit, taken.extras_tree}) == "");
  CHECK(rig.difference_in_plain_git(taken) == "");
}

} // namespace

TEST_CASE("HEAD, a branch or the index that moves in the middle of a snapshot has it taken again") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto at =
      GENERATE(snapshot_step::head_read, snapshot_step::index_read, snapshot_step::walked, snapshot_step::files_read);
  CAPTURE(static_cast<int>(at));
  std::function<void(int)> move;
  SECTION("a commit") {
    move = [&](int) { rig.agent_git({"commit", "-q", "-m", "what is staged"}); };
  }
  SECTION("a commit of everything") {
    move = [&](int) { rig.agent_git({"commit", "-q", "-a", "-m", "all"}); };
  }
  SECTION("another branch") {
    move = [&](int) { rig.agent_git({"switch", "-q", "-c", "other"}); };
  }
  SECTION("a reset") {
    rig.agent_git({"commit", "-q", "-m", "to be undone"});
    move = [&](int) { rig.agent_git({"reset", "-q", "--soft", "HEAD^"}); };
  }
  SECTION("the branch alone, by another process") {
    const auto other = rig.agent_git({"commit-tree", "-m", "other", "-p", "HEAD", "HEAD^{tree}"});
    move = [&rig, other](int) { run_git(rig.repository(), {"update-ref", "refs/heads/work", other}); };
  }
  SECTION("what is staged") {
    move = [&](int) { rig.agent_git({"add", "a", "new"}); };
  }
  SECTION("the index alone: something is not staged any more") {
    move = [&](int) { rig.agent_git({"reset", "-q", "b"}); };
  }
  disturbed snapshot(rig, at, 1, move);
  const auto taken = snapshot.taken();
  REQUIRE(snapshot.disturbances == 1);
  // An index that is read only after it has moved is of one moment with HEAD, where HEAD stands.
  CHECK(snapshot.looks <= 2);
  if (at != snapshot_step::head_read) CHECK(snapshot.looks == 2);
  check_is_of_now(rig, taken);
}

TEST_CASE("a branch that moves after the last look does not come apart from HEAD, which is on it") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto before = rig.agent_git({"rev-parse", "HEAD"});
  disturbed snapshot(rig, snapshot_step::checked, 1, [&](int) { rig.agent_git({"commit", "-q", "-a", "-m", "late"}); });
  const auto taken = snapshot.taken();
  REQUIRE(snapshot.disturbances == 1);
  CHECK(taken.head.commit == before);
  CHECK(taken.branch_commit == before);
  CHECK(rig.private_git({"rev-parse", taken.stash_commit + "^1"}) == before);
  check_is_of_now(rig, rig.taken());
}

TEST_CASE("an agent that never stands still is saved all the same, and the next snapshot is of one moment") {
  snapshot_rig rig;
  make_dirty(rig);
  disturbed snapshot(rig, snapshot_step::walked, 100, [&](int n) {
    append(rig.worktree() / "a", std::to_string(n) + "\n");
    // Older than the index that lists it, or whether it is clean could be told by its bytes alone.
    fs::last_write_time(rig.worktree() / "a", fs::file_time_type::clock::now() - std::chrono::seconds{10 - n});
    rig.agent_git({"commit", "-q", "-a", "-m", "step " + std::to_string(n)});
  });
  const auto taken = snapshot.taken();
  CHECK(snapshot.looks == 4);
  CHECK(rig.private_git({"fsck", "--connectivity-only", "--no-dangling", taken.stash_commit, taken.extras_tree}) == "");
  // As it was when the last look began: what is committed meanwhile was clean then, and is not read.
  CHECK(taken.head.commit == rig.agent_git({"rev-parse", "HEAD^"}));
  CHECK(taken.branch_commit == taken.head.commit);
  CHECK(rig.bytes(taken.stash_commit + ":a") == "changed\n1\n2\n3\n");
  CHECK(rig.bytes(taken.stash_commit + "^3:new") == "untracked\n");
  check_is_of_now(rig, rig.taken());
}

TEST_CASE("an agent that drops the commits it leaves is followed to where it has moved") {
  snapshot_rig rig;
  make_dirty(rig);
  rig.agent_git({"commit", "-q", "-m", "the first"});
  disturbed snapshot(rig, snapshot_step::checked, 8, [&](int n) {
    rig.agent_git({"commit", "-q", "--amend", "-m", "again " + std::to_string(n)});
    rig.agent_git({"reflog", "expire", "--expire=all", "--all"});
    rig.agent_git({"prune", "--expire=now"});
  });
#ifdef __SANITIZE_ADDRESS__
  // libgit2 1.8.4 does not free what a walk has listed when it meets a commit that is gone.
  const __lsan::ScopedDisabler leak_of_libgit2;
#endif
  const auto taken = snapshot.taken();
  REQUIRE(snapshot.disturbances == 8);
  CHECK(snapshot.looks == 9);
  check_is_of_now(rig, taken);
}

TEST_CASE("a history that is not whole where the agent stands still is looked at four times, then said") {
  snapshot_rig rig;
  write(rig.worktree() / "a", "only here\n");
  rig.agent_git({"commit", "-q", "-a", "-m", "of a file that is lost"});
  fs::remove(rig.loose_object(rig.agent_git({"rev-parse", "HEAD:a"})));
  disturbed snapshot(rig, snapshot_step::checked, 0, nullptr);
  const auto taken = git::take_snapshot(snapshot.job);
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code == error_code::corrupt);
  CHECK(snapshot.looks == 4);
}

TEST_CASE("what one look did not find is looked for by the next") {
  snapshot_rig rig;
  write(rig.worktree() / "a", "only here\n");
  rig.agent_git({"commit", "-q", "-a", "-m", "of a file that is away for a moment"});
  const auto object = rig.loose_object(rig.agent_git({"rev-parse", "HEAD:a"}));
  const auto away = object.parent_path() / "away";
  disturbed snapshot(rig, snapshot_step::checked, 2,
                     [&](int n) { n == 1 ? fs::rename(object, away) : fs::rename(away, object); });
  const auto taken = snapshot.taken();
  CHECK(snapshot.looks == 2);
  check_is_of_now(rig, taken);
}

TEST_CASE("a name whose commit git gc takes meanwhile costs one more look, once") {
  snapshot_rig rig;
  make_dirty(rig);
  rig.agent_git({"commit", "-q", "-m", "to be undone"});
  rig.agent_git({"reset", "-q", "--soft", "HEAD^"}); // ORIG_HEAD names it; to git gc that is nothing
  disturbed first(rig, snapshot_step::checked, 1, [&](int) {
    rig.agent_git({"reflog", "expire", "--expire=all", "--all"});
    rig.agent_git({"prune", "--expire=now"});
  });
#ifdef __SANITIZE_ADDRESS__
  // libgit2 1.8.4 does not free what a walk has listed when it meets a commit that is gone.
  const __lsan::ScopedDisabler leak_of_libgit2;
#endif
  check_is_of_now(rig, first.taken());
  CHECK(first.looks == 2);
  write(rig.worktree() / "new", "changed\n");
  disturbed second(rig, snapshot_step::checked, 0, nullptr);
  check_is_of_now(rig, second.taken());
  CHECK(second.looks == 1);
}

TEST_CASE("a file that vanishes before it is read is simply absent") {
  snapshot_rig rig;
  make_dirty(rig);
  write(rig.worktree() / "under/one", "1\n");
  write(rig.worktree() / "under/two", "2\n");
  write(rig.worktree() / "dir/sub/e", "changed\n");
  std::vector<std::string> gone;
  SECTION("an untracked one") {
    gone = {"new"};
  }
  SECTION("a tracked one") {
    gone = {"a"};
  }
  SECTION("a directory of untracked ones") {
    gone = {"under"};
  }
  SECTION("a directory of tracked ones") {
    gone = {"dir"};
  }
  disturbed snapshot(rig, snapshot_step::walked, 1, [&](int) {
    for (const auto& path : gone)
      fs::remove_all(rig.worktree() / path);
  });
  const auto taken = snapshot.taken();
  REQUIRE(snapshot.disturbances == 1);
  CHECK(snapshot.looks == 1);
  CHECK(taken.left_out.empty());
  const auto next = rig.taken();
  // What stood unchanged when it was passed is seen to be gone by the next look.
  for (const auto* one : {"new", "a", "under/one", "under/two", "dir/sub/e"}) {
    CAPTURE(one);
    const bool there = fs::exists(rig.worktree() / one);
    const auto& commit = taken.stash_commit;
    const bool is_saved = rig.tree(commit).contains(one) || rig.tree(commit + "^3").contains(one);
    CHECK(is_saved == there);
  }
  check_is_of_now(rig, next);
}

TEST_CASE("a file that changes between the look at it and its reading is saved as it was read") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto at = GENERATE(snapshot_step::walked, snapshot_step::reading);
  CAPTURE(static_cast<int>(at));
  std::string path, content;
  std::function<void(int)> change;
  SECTION("a tracked one grows") {
    path = "a";
    change = [&](int) { append(rig.worktree() / "a", std::string(100'000, 'x')); };
  }
  SECTION("a tracked one shrinks") {
    path = "a";
    write(rig.worktree() / "a", std::string(100'000, 'y'));
    change = [&](int) { write(rig.worktree() / "a", "y"); };
  }
  SECTION("one of the same size is written over") {
    path = "a";
    change = [&](int) { write(rig.worktree() / "a", "CHANGED\n"); };
  }
  SECTION("an untracked one is replaced by another") {
    path = "new";
    change = [&](int) {
      write(rig.worktree() / ".next", "the next\n");
      fs::rename(rig.worktree() / ".next", rig.worktree() / "new");
    };
  }
  disturbed snapshot(rig, at, 1, change);
  const auto taken = snapshot.taken();
  REQUIRE(snapshot.disturbances == 1);
  CHECK(taken.left_out.empty());
  const auto saved = rig.bytes(taken.stash_commit + (path == "new" ? "^3:new" : ":a"));
  // One that was replaced while it was open has been read whole: the next snapshot has the other.
  if (path == "new" && at == snapshot_step::reading)
    CHECK((saved == "untracked\n" || saved == "the next\n"));
  else
    CHECK(saved == read(rig.worktree() / path));
  check_is_of_now(rig, rig.taken());
}

TEST_CASE("a file that becomes a link or a directory before it is read is never followed, and saved next time") {
  snapshot_rig rig;
  make_dirty(rig);
  const auto outside = rig.workspace() / "outside";
  write(outside, "not the agent's\n");
  std::function<void(int)> change;
  SECTION("a link") {
    change = [&](int) {
      fs::remove(rig.worktree() / "new");
      fs::create_symlink(outside, rig.worktree() / "new");
    };
  }
  SECTION("a directory") {
    change = [&](int) {
      fs::remove(rig.worktree() / "new");
      write(rig.worktree() / "new/inside", "in it\n");
    };
  }
  disturbed snapshot(rig, snapshot_step::walked, 1, change);
  const auto taken = snapshot.taken();
  for (const auto& [path, entry] : rig.tree(taken.stash_commit + "^{tree}"))
    CHECK(rig.bytes(entry.substr(entry.find(' ') + 1)).find("not the agent's") == std::string::npos);
  check_is_of_now(rig, rig.taken());
}

TEST_CASE(
    "a file that changes whenever it is read is left out by name, and nothing else is; it is saved when it rests") {
  snapshot_rig rig;
  make_dirty(rig);
  write(rig.worktree() / "log", "first\n");
  // `a`, `b`, `log`, `new`: whichever is read, the log grows.
  disturbed snapshot(rig, snapshot_step::reading, 1000, [&](int) { append(rig.worktree() / "log", "more\n"); });
  const auto taken = snapshot.taken();
  REQUIRE(taken.left_out.size() == 1);
  CHECK(taken.left_out[0].path == "log");
  CHECK(taken.left_out[0].reason == "kept changing while it was read");
  CHECK(rig.bytes(taken.stash_commit + ":a") == "changed\n");
  CHECK(rig.bytes(taken.stash_commit + "^3:new") == "untracked\n");
  const auto next = rig.taken();
  CHECK(next.left_out.empty());
  CHECK(rig.bytes(next.stash_commit + "^3:log") == read(rig.worktree() / "log"));
  check_is_of_now(rig, next);
}
