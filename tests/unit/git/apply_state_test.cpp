// A worktree that was saved, lost and woken is what it was, whatever its state.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <chrono>

#include "apply_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const tree_paths start{{"a", tree_path::file("a\n")},           {"b", tree_path::file("b\n")},
                       {"dir/c", tree_path::file("c\n")},       {"dir/d", tree_path::file("d\n")},
                       {"run", tree_path::executable("#!\n")},  {"link", tree_path::link("a")},
                       {".gitignore", tree_path::file("*.o\n")}};

/// Saves, loses the disk, wakes, and compares.
git::worktree_restored check_same_after_wake(apply_rig& rig) {
  CAPTURE(rig.with_our_own);
  rig.save();
  const auto before = rig.picture();
  rig.lose_disk();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::applied);
  CHECK(done.reported.empty());
  CHECK(done.commit == rig.point.point.head.commit.value_or(""));
  CHECK(rig.picture() == before);
  // Nor does the index owe that to git's caution about files as young as itself.
  fs::last_write_time(rig.registration() / "index", fs::file_time_type::clock::now() + std::chrono::hours{1});
  CHECK(rig.picture() == before);
  const auto fsck = try_git(rig.worktree(), {"fsck", "--no-dangling"});
  INFO(fsck.err << fsck.out);
  CHECK(fsck.status == 0);
  const auto mark = read(rig.registration() / "townkeeper-point");
  CHECK(mark == "1 1 " + rig.point.point.commit + '\n');
  return done;
}

} // namespace

TEST_CASE("staged, unstaged and untracked work is as it was") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  rig.put("a", "staged\n");
  rig.git({"add", "a"});
  rig.put("a", "staged, then changed\n");
  rig.put("b", "changed\n");
  rig.git({"rm", "-q", "--cached", "dir/c"}); // still on the disk
  fs::remove(rig.worktree() / "dir/d");
  rig.put("new", "staged new\n");
  rig.git({"add", "new"});
  rig.put("un/tracked/x", "1\n");
  rig.put("un/tracked/empty", "");
  rig.put("ignored.o", "not saved");
  fs::permissions(rig.worktree() / "b", fs::perms::owner_exec, fs::perm_options::add);
  fs::create_symlink("nowhere", rig.worktree() / "dangling");
  rig.git({"mv", "run", "moved"});
  fs::remove(rig.worktree() / "link");
  rig.put("link/now-a-directory", "x");
  fs::remove(rig.worktree() / "ignored.o");
  const auto done = check_same_after_wake(rig);
  // a, b, dir/c, dir/d, new, two below un, dangling, run, moved, link and what is below it
  CHECK(done.applied_files == 12);
  CHECK(done.unpushed_commits == 0);
}

TEST_CASE("a clean worktree wakes clean, with nothing applied") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  const auto done = check_same_after_wake(rig);
  CHECK(done.applied_files == 0);
  CHECK(flaws_of(rig, rig.point.point.commit.empty() ? "" : *rig.point.point.head.commit) == "");
}

TEST_CASE("flags of the index are as they were") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  SECTION("assume-unchanged hides a change") {
    rig.git({"update-index", "--assume-unchanged", "a"});
    rig.put("a", "hidden\n");
  }
  SECTION("skip-worktree, the file absent") {
    rig.git({"update-index", "--skip-worktree", "b"});
    fs::remove(rig.worktree() / "b");
  }
  SECTION("intent to add") {
    rig.put("later", "content\n");
    rig.git({"add", "-N", "later"});
  }
  SECTION("all of them, beside ordinary work") {
    rig.git({"update-index", "--skip-worktree", "b"});
    rig.git({"update-index", "--assume-unchanged", "dir/c"});
    rig.put("later", "content\n");
    rig.git({"add", "-N", "later"});
    rig.put("dir/d", "changed\n");
    rig.git({"add", "dir/d"});
  }
  check_same_after_wake(rig);
}

TEST_CASE("HEAD is where it was") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  rig.put("a", "one\n");
  rig.git({"commit", "-qam", "one"});
  SECTION("ahead of the remote") {}
  SECTION("amended") {
    rig.git({"commit", "-q", "--amend", "-m", "another"});
  }
  SECTION("reset to before the remote's commit, its content staged") {
    rig.git({"reset", "-q", "--soft", "HEAD~2"});
  }
  SECTION("reset hard to before the remote's commit") {
    rig.git({"reset", "-q", "--hard", "HEAD~2"});
  }
  SECTION("detached") {
    rig.git({"checkout", "-q", "--detach"});
    rig.put("b", "detached\n");
    rig.git({"commit", "-qam", "on no branch"});
    rig.put("b", "dirty\n");
  }
  SECTION("on a branch of the agent's own") {
    rig.git({"checkout", "-q", "-b", "other/x"});
    rig.put("b", "there\n");
    rig.git({"commit", "-qam", "there"});
    rig.put("c", "untracked\n");
  }
  SECTION("unborn on another branch") {
    rig.git({"checkout", "-q", "--orphan", "other"});
    rig.git({"rm", "-q", "--cached", "b"});
  }
  check_same_after_wake(rig);
}

TEST_CASE("an operation in progress goes on") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  rig.git({"checkout", "-q", "-b", "other"});
  rig.put("a", "theirs\n");
  fs::remove(rig.worktree() / "b");
  rig.put("dir/c", "theirs\n");
  rig.git({"add", "-A"});
  rig.git({"commit", "-qm", "theirs"});
  rig.git({"checkout", "-q", "work"});
  rig.put("a", "ours\n");
  rig.put("b", "ours\n");
  rig.git({"commit", "-qam", "ours"});
  std::vector<std::string> go_on;
  SECTION("a merge with conflicts") {
    CHECK(rig.try_to({"merge", "other"}).status == 1);
    go_on = {"commit", "-q", "--no-edit"};
  }
  SECTION("a merge that only waits for its commit") {
    rig.git({"reset", "-q", "--hard", "HEAD~1"});
    rig.git({"merge", "-q", "--no-ff", "--no-commit", "other"});
    go_on = {"commit", "-q", "--no-edit"};
  }
  SECTION("a rebase") {
    CHECK(rig.try_to({"rebase", "other"}).status == 1);
    go_on = {"rebase", "--continue"};
  }
  SECTION("a cherry-pick") {
    CHECK(rig.try_to({"cherry-pick", "other"}).status == 1);
    go_on = {"cherry-pick", "--continue"};
  }
  SECTION("a revert") {
    CHECK(rig.try_to({"revert", "other"}).status == 1);
    go_on = {"revert", "--continue"};
  }
  check_same_after_wake(rig);
  rig.git({"add", "-A"});
  const auto done = rig.try_to(go_on);
  INFO(done.out << done.err);
  CHECK(done.status == 0);
  CHECK(status_of(rig.worktree()) == "");
}

TEST_CASE("work on a branch that was never pushed is as it was") {
  apply_rig rig;
  rig.with_our_own = GENERATE(false, true);
  rig.put("README", "changed\n");
  rig.git({"commit", "-qam", "never pushed"});
  rig.put("README", "and again\n");
  const auto done = check_same_after_wake(rig);
  CHECK(done.unpushed_commits == 1);
}

TEST_CASE("bytes that a filter would not give back are written as they were") {
  apply_rig rig({{".gitattributes", tree_path::file("*.txt text eol=crlf\n")}, {"a.txt", tree_path::file("1\n2\n")}});
  rig.put("a.txt", "1\n2\r\n"); // git takes it for unchanged
  rig.put("b.txt", "1\r\n2\r\n");
  rig.put("c.txt", "1\n2\n");
  rig.git({"add", "b.txt"});
  rig.save(1, 1, {{"a.txt", "1\n2\r\n"}, {"c.txt", "1\n2\n"}});
  const auto before = rig.picture();
  rig.lose_disk();
  rig.wake();
  CHECK(rig.picture() == before);
  CHECK(read(rig.worktree() / "b.txt") == "1\r\n2\r\n");
}

TEST_CASE("an untracked repository inside the worktree is one again") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  const auto nested = rig.worktree() / "vendor/lib";
  fs::create_directories(nested);
  run_git(nested, {"init", "-q", "--template="});
  write(nested / "x", "1\n");
  run_git(nested, {"add", "x"});
  run_git(nested, {"commit", "-qm", "one"});
  run_git(nested, {"pack-refs", "--all"});
  write(nested / "x", "2\n");
  const auto before = run_git(nested, {"--no-optional-locks", "status", "--porcelain=v2", "--branch"});
  check_same_after_wake(rig);
  CHECK(run_git(nested, {"--no-optional-locks", "status", "--porcelain=v2", "--branch"}) == before);
}

TEST_CASE("names that are not UTF-8, and hostile ones") {
  apply_rig rig(start);
  rig.with_our_own = GENERATE(false, true);
  rig.put("caf\xe9", "latin\n");
  rig.git({"config", "core.protectNTFS", "false"}); // git would leave it out as well
  rig.put("git~1", "x");
  rig.save();
  fs::remove(rig.worktree() / "git~1");
  const auto before = rig.picture();
  rig.lose_disk();
  const auto done = rig.wake();
  CHECK(rig.picture() == before);
  // Taken by us, such a name is not in the point at all, and listed.
  CHECK(done.reported.size() == (rig.with_our_own ? 0 : 1));
  CHECK(rig.point.left_out.size() == (rig.with_our_own ? 1 : 0));
  CHECK(mentions(done.reported, "git~1") == !rig.with_our_own);
}

TEST_CASE("names with control characters are as they were") {
  apply_rig rig(tree_paths{{"tracked\tname", tree_path::file("1\n")}, {"dir\nof/a\x01", tree_path::file("2\n")}});
  rig.with_our_own = GENERATE(false, true);
  rig.put("tracked\tname", "changed\n");
  rig.put("staged\n\x1b[31m", "s\n");
  rig.git({"add", "staged\n\x1b[31m"});
  rig.put("flagged\x7f", "f\n");
  if (GENERATE(false, true)) rig.git({"add", "-N", "flagged\x7f"}); // by way of the index file itself
  rig.put("tab\there", "u\n");
  rig.put("new\ndirectory/x", "u\n");
  check_same_after_wake(rig);
}

TEST_CASE("a file that git calls modified by its size alone is so afterwards") {
  apply_rig rig(tree_paths{{".gitattributes", tree_path::file("*.txt text eol=crlf\n*.auto text=auto\n")},
                           {"a.txt", tree_path::file("one\n")},
                           {"b.auto", tree_path::file("one\ntwo\n")}});
  rig.with_our_own = true;
  rig.put("b.auto", "one\r\ntwo\n"); // not what a checkout gives
  if (GENERATE(false, true)) {
    rig.put("a.txt", "one\n");
    rig.git({"add", "a.txt"});
    rig.put("a.txt", "one\r\n"); // what a checkout gives, and not what the index remembers
  }
  REQUIRE(rig.git({"--no-optional-locks", "status", "--porcelain"}).find(" M b.auto") != std::string::npos);
  check_same_after_wake(rig);
}
