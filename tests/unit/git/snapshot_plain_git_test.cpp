// Every state an agent can leave its worktree in, brought back by `git stash apply --index` in a plain clone.
#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>

#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

TEST_CASE("plain git brings a snapshot's files, index and status back") {
  snapshot_rig rig;
  const auto tree = rig.worktree();
  SECTION("a modified file") {
    write(tree / "a", "mine\n");
  }
  SECTION("a staged change") {
    write(tree / "a", "mine\n");
    rig.agent_git({"add", "a"});
  }
  SECTION("a file staged and changed again") {
    write(tree / "a", "mine\n");
    rig.agent_git({"add", "a"});
    write(tree / "a", "mine, later\n");
  }
  SECTION("a staged change taken back in the file") {
    write(tree / "a", "mine\n");
    rig.agent_git({"add", "a"});
    write(tree / "a", "1\n");
  }
  SECTION("a deleted file") {
    fs::remove(tree / "dir/d");
  }
  SECTION("a deleted directory") {
    fs::remove_all(tree / "dir");
  }
  SECTION("a staged deletion") {
    rig.agent_git({"rm", "-q", "dir/d"});
  }
  SECTION("everything deleted and staged") {
    rig.agent_git({"rm", "-rq", "."});
  }
  SECTION("a staged rename, and the new name changed") {
    rig.agent_git({"mv", "a", "dir/renamed"});
    write(tree / "dir/renamed", "1\nmore\n");
  }
  SECTION("a new file staged, and deleted again") {
    write(tree / "fresh", "new\n");
    rig.agent_git({"add", "fresh"});
    fs::remove(tree / "fresh");
  }
  SECTION("executable bits") {
    REQUIRE(::chmod((tree / "a").c_str(), 0755) == 0);
    REQUIRE(::chmod((tree / "tool").c_str(), 0644) == 0);
    rig.agent_git({"add", "tool"});
  }
  SECTION("links") {
    fs::remove(tree / "link");
    fs::create_symlink("b", tree / "link");
    fs::remove(tree / "a");
    fs::create_symlink("nowhere", tree / "a");
    fs::create_symlink("dir", tree / "link to a directory");
  }
  SECTION("a link that became a file") {
    fs::remove(tree / "link");
    write(tree / "link", "a");
  }
  SECTION("untracked files, deep, empty, binary and executable") {
    write(tree / "new/deep/er/file", "n");
    write(tree / "empty", "");
    write(tree / "noise", noise(300'000));
    write(tree / "run", "#!/bin/sh\n");
    REQUIRE(::chmod((tree / "run").c_str(), 0755) == 0);
    write(tree / "dir/beside", "tracked files\n");
  }
  SECTION("names of all kinds") {
    write(tree / "with space and \"quote\"", "1");
    write(tree / "caf\xC3\xA9", "2");
    write(tree / "latin\xE9", "3");
    write(tree / "-dash", "4");
    write(tree / "a-b", "5");
    write(tree / "a.b", "6");
    write(tree / "dir.x", "7");
    write(tree / "dir0", "8");
    write(tree / "dir-/x", "9");
    rig.agent_git({"add", "dir.x", "dir-"});
  }
  SECTION("ignored files stay out") {
    write(tree / "x.o", "object");
    write(tree / "build/out", "built");
    write(tree / "dir/y.o", "object");
    write(tree / "dir/seen", "s");
  }
  SECTION("a file that is ignored and staged all the same") {
    write(tree / "x.o", "object");
    rig.agent_git({"add", "-f", "x.o"});
    write(tree / "x.o", "object, later");
  }
  SECTION("taken out of the index, with the file still there") {
    rig.agent_git({"rm", "-q", "--cached", "a", "dir/d"});
    write(tree / "a", "changed too\n");
  }
  SECTION("a file replaced by a directory") {
    fs::remove(tree / "a");
    write(tree / "a/inside", "i");
  }
  SECTION("a file replaced by a directory, staged") {
    fs::remove(tree / "a");
    write(tree / "a/inside", "i");
    rig.agent_git({"add", "-A"});
  }
  SECTION("a directory replaced by a file") {
    fs::remove_all(tree / "dir");
    write(tree / "dir", "f");
  }
  SECTION("a directory replaced by a file, staged") {
    fs::remove_all(tree / "dir");
    write(tree / "dir", "f");
    rig.agent_git({"add", "-A"});
  }
  SECTION("a directory replaced by a link") {
    fs::remove_all(tree / "dir");
    fs::create_symlink("build", tree / "dir");
  }
  SECTION("a submodule entry, staged") {
    fs::create_directory(tree / "module");
    rig.agent_git({"update-index", "--add", "--cacheinfo", "160000," + std::string(40, 'a') + ",module"});
  }
  SECTION("commits the remote lacks, and an amended one") {
    write(tree / "a", "mine\n");
    rig.agent_git({"commit", "-qam", "mine"});
    rig.agent_git({"commit", "-q", "--amend", "-m", "mine, amended"});
    write(tree / "b", "more\n");
  }
  SECTION("reset to an older commit, mixed") {
    write(tree / "a", "mine\n");
    rig.agent_git({"commit", "-qam", "mine"});
    rig.agent_git({"reset", "-q", "HEAD^"});
  }
  SECTION("a detached HEAD") {
    rig.agent_git({"checkout", "-q", "--detach", "HEAD^"});
    write(tree / "loose", "l");
  }
  SECTION("nothing at all") {}

  const auto snapshot = rig.taken();
  CHECK(rig.difference_in_plain_git(snapshot) == "");
  CHECK(snapshot.uncommitted == !status_of(tree).empty());
  CHECK(snapshot.left_out.empty());
}

TEST_CASE("a file that git's own stash cannot restore applies cleanly") {
  snapshot_rig rig;
  rig.agent_git({"rm", "-q", "--cached", "a"});
  const auto snapshot = rig.taken();
  CHECK(rig.tree(snapshot.stash_commit).count("a") == 0);
  CHECK(rig.tree(snapshot.stash_commit + "^3").count("a") == 1);
  CHECK(rig.difference_in_plain_git(snapshot) == "");
}

TEST_CASE("a snapshot's commits read as git stash writes them") {
  snapshot_rig rig;
  write(rig.worktree() / "a", "mine\n");
  write(rig.worktree() / "new", "n\n");
  auto where = rig.agent_git({"log", "-1", "--format=%h %s", "--abbrev=7"});
  std::string on = "work: ";
  SECTION("on a branch") {}
  SECTION("detached") {
    rig.agent_git({"checkout", "-q", "--detach"});
    on = "(no branch): ";
  }
  const auto w = rig.taken().stash_commit;
  CHECK(rig.private_git({"log", "-1", "--format=%B%an <%ae>%n%cn <%ce>", w}) ==
        "WIP on " + on + where + "\nAda <ada@example.invalid>\nAda <ada@example.invalid>");
  CHECK(rig.private_git({"log", "-1", "--format=%s", w + "^2"}) == "index on " + on + where);
  CHECK(rig.private_git({"log", "-1", "--format=%s", w + "^3"}) == "untracked files on " + on + where);
  CHECK(rig.private_git({"log", "-1", "--format=%P", w + "^3"}) == "");
  CHECK(rig.private_git({"rev-parse", w + "^1", w + "^2^1"}) ==
        rig.agent_git({"rev-parse", "HEAD"}) + "\n" + rig.agent_git({"rev-parse", "HEAD"}));
}

TEST_CASE("an unborn HEAD gets an empty commit in its place") {
  snapshot_rig rig;
  rig.agent_git({"checkout", "-q", "--orphan", "fresh"});
  write(rig.worktree() / "loose", "l");
  const auto snapshot = rig.taken();
  CHECK(snapshot.head.ref == "refs/heads/fresh");
  CHECK_FALSE(snapshot.head.commit);
  CHECK(snapshot.uncommitted);
  CHECK(snapshot.files.staged == 8);
  CHECK(rig.tree(snapshot.stash_commit + "^1").empty());
  CHECK(rig.tree(snapshot.stash_commit + "^2").size() == 8);
  CHECK(rig.difference_in_plain_git(snapshot) == "");
}
