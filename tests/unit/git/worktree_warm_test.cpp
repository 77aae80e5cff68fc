// A worktree that is still on the disk: intact it is not touched, broken it is mended, and never at the cost of work.
#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <thread>

#include "tests/support/child_process.hpp"
#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const tree_paths three_files{
    {"a", tree_path::file("1\n")}, {"dir/b", tree_path::executable("2\n")}, {"dir/link", tree_path::link("b")}};

/// A rig with one restored worktree of `three_files` on `work`.
struct warm_rig : worktree_rig {
  std::string tip = commit("work", three_files);
  warm_rig() { restored(); }

  /// What `git worktree list` and the files look like when nothing was lost.
  std::vector<std::string> files() const { return traces(worktree()); }
};

/// A child changes its directory after the fork.
void wait_until_in(pid_t pid, const fs::path& directory) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::error_code ignored;
  while (fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", ignored) != fs::canonical(directory)) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

} // namespace

TEST_CASE("an intact worktree is not touched: no inode, no time, no byte, neither in files nor in git's notes") {
  warm_rig rig;
  const auto files = rig.files();
  const auto notes = traces(rig.registration());
  const auto branches = traces(rig.repository() / "refs/heads");
  rig.fetch({"work"});
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(done->files_written == 0);
  CHECK(done->files_total == 3);
  CHECK(done->commit == rig.tip);
  CHECK(done->healed.empty());
  CHECK(done->reported.empty());
  CHECK_FALSE(done->left_dirty);
  CHECK(rig.files() == files);
  CHECK(traces(rig.registration()) == notes);
  CHECK(traces(rig.repository() / "refs/heads") == branches);
}

TEST_CASE("ignored files and empty directories do not make a worktree dirty, and stay") {
  warm_rig rig;
  rig.tip = rig.commit("work", {{".gitignore", tree_path::file("*.o\nbuild/\n")}, {"a", tree_path::file("1\n")}});
  rig.restored();
  write(rig.worktree() / "x.o", "object");
  write(rig.worktree() / "build/out", "product");
  fs::create_directories(rig.worktree() / "empty/er");
  const auto done = rig.restored();
  CHECK_FALSE(done.left_dirty);
  CHECK(done.files_written == 0);
  SECTION("also when the branch moves on") {
    rig.tip = rig.commit("work", {{".gitignore", tree_path::file("*.o\nbuild/\n")}, {"a", tree_path::file("2\n")}});
    CHECK(rig.restored().files_written == 1);
  }
  CHECK(read(rig.worktree() / "x.o") == "object");
  CHECK(read(rig.worktree() / "build/out") == "product");
  CHECK(flaws_of(rig, rig.tip) == "");
}

TEST_CASE("files whose times changed but not their bytes do not make a worktree dirty") {
  warm_rig rig;
  fs::last_write_time(rig.worktree() / "a", fs::file_time_type::clock::now() - std::chrono::hours(1));
  CHECK_FALSE(rig.restored().left_dirty);
}

TEST_CASE("a worktree whose directory was deleted is written anew") {
  warm_rig rig;
  fs::remove_all(rig.worktree());
  const auto done = rig.restored();
  CHECK(done.files_written == 3);
  CHECK(mentions(done.healed, "directory was gone"));
  CHECK(done.reported.empty());
  CHECK(flaws_of(rig, rig.tip) == "");
  CHECK_FALSE(fs::exists(rig.rig() / "worktrees/.kept"));
}

TEST_CASE("of a worktree whose directory was deleted, what only git's notes know is kept") {
  warm_rig rig;
  SECTION("staged changes") {
    write(rig.worktree() / "a", "staged\n");
    in(rig.worktree(), {"add", "a"});
  }
  SECTION("commits on a detached HEAD") {
    in(rig.worktree(), {"checkout", "-q", "--detach"});
    write(rig.worktree() / "a", "mine\n");
    in(rig.worktree(), {"commit", "-q", "-am", "mine"});
  }
  SECTION("a merge in progress") {
    rig.commit("other", {{"c", tree_path::file("3\n")}});
    rig.fetch({"work", "other"});
    in(rig.worktree(), {"merge", "-q", "--no-commit", "--no-ff", "origin/other"});
  }
  fs::remove_all(rig.worktree());
  const auto index = read(rig.registration() / "index");
  const auto head = read(rig.registration() / "HEAD");
  const auto done = rig.restored();
  CHECK(flaws_of(rig, rig.tip) == "");
  REQUIRE(mentions(done.reported, ".kept/a1-1"));
  CHECK(read(rig.rig() / "worktrees/.kept/a1-1/index") == index);
  CHECK(read(rig.rig() / "worktrees/.kept/a1-1/HEAD") == head);
}

TEST_CASE("an index that is missing or broken is built again, and no file is touched") {
  warm_rig rig;
  const auto files = rig.files();
  const auto index = rig.registration() / "index";
  SECTION("missing") {
    fs::remove(index);
  }
  SECTION("cut short") {
    fs::resize_file(index, 40);
  }
  SECTION("empty") {
    fs::resize_file(index, 0);
  }
  SECTION("a flipped bit") {
    flip_byte(index, 70);
  }
  SECTION("a directory in its place") {
    fs::remove(index);
    fs::create_directory(index);
  }
  const auto done = rig.restored();
  CHECK(mentions(done.healed, "index rebuilt"));
  CHECK(done.files_written == 0);
  CHECK_FALSE(done.left_dirty);
  CHECK(rig.files() == files);
  CHECK(flaws_of(rig, rig.tip) == "");
  CHECK(in(rig.worktree(), {"diff-files", "--name-only"}) == "");
}

TEST_CASE("an index built again shows what the agent changed") {
  warm_rig rig;
  write(rig.worktree() / "a", "0\n"); // the same size
  write(rig.worktree() / "new", "n");
  fs::remove(rig.worktree() / "dir/link");
  fs::remove(rig.registration() / "index");
  // Long before the new index: nothing but the stamp could give it away.
  fs::last_write_time(rig.worktree() / "a", fs::file_time_type::clock::now() - std::chrono::hours(1));
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(status_of(rig.worktree()) == " M a\n D dir/link\n?? new");
  CHECK(read(rig.worktree() / "a") == "0\n");
}

TEST_CASE("a lost registration is made again around the files that are there") {
  warm_rig rig;
  const auto b = traces(rig.worktree() / "dir");
  fs::remove_all(rig.registration());
  SECTION("untouched files: clean, and none is written") {
    const auto done = rig.restored();
    CHECK(mentions(done.healed, "registration restored"));
    CHECK(done.files_written == 0);
    CHECK(traces(rig.worktree() / "dir") == b);
    CHECK(flaws_of(rig, rig.tip) == "");
  }
  SECTION("changed files: they are the agent's, and stay") {
    write(rig.worktree() / "a", "mine\n");
    const auto done = rig.restored();
    CHECK(done.left_dirty);
    CHECK(status_of(rig.worktree()) == " M a");
  }
  SECTION("with the branch gone as well, the remote's tip says what the files are") {
    run_git(rig.repository(), {"update-ref", "-d", "refs/heads/work"});
    const auto done = rig.restored();
    CHECK(done.files_written == 0);
    CHECK(flaws_of(rig, rig.tip) == "");
  }
  SECTION("something else in its place is set aside") {
    write(rig.registration(), "a file");
    const auto done = rig.restored();
    CHECK(mentions(done.reported, ".kept"));
    CHECK(flaws_of(rig, rig.tip) == "");
  }
}

TEST_CASE("each broken link between a worktree and its registration is mended") {
  warm_rig rig;
  const auto a = traces(rig.worktree() / "dir");
  std::string what;
  SECTION("a .git file that points nowhere") {
    write(rig.worktree() / ".git", "gitdir: /nowhere/repo.git/worktrees/a1\n");
    what = ".git file";
  }
  SECTION("a .git file with nonsense in it") {
    write(rig.worktree() / ".git", "nonsense");
    what = ".git file";
  }
  SECTION("no .git file") {
    fs::remove(rig.worktree() / ".git");
    what = ".git file";
  }
  SECTION("gitdir that points nowhere") {
    write(rig.registration() / "gitdir", "/nowhere/.git\n");
    what = "gitdir";
  }
  SECTION("no gitdir") {
    fs::remove(rig.registration() / "gitdir");
    what = "gitdir";
  }
  SECTION("no commondir") {
    fs::remove(rig.registration() / "commondir");
    what = "commondir";
  }
  SECTION("commondir that leads elsewhere") {
    write(rig.registration() / "commondir", "/tmp\n");
    what = "commondir";
  }
  SECTION("no HEAD") {
    fs::remove(rig.registration() / "HEAD");
    what = "HEAD";
  }
  SECTION("an empty HEAD") {
    write(rig.registration() / "HEAD", "");
    what = "HEAD";
  }
  SECTION("HEAD at a commit the disk lacks") {
    write(rig.registration() / "HEAD", "0123456789012345678901234567890123456789\n");
    what = "HEAD";
  }
  SECTION("no lock against prune") {
    fs::remove(rig.registration() / "locked");
    what = "lock";
  }
  const auto done = rig.restored();
  CHECK(mentions(done.healed, what));
  CHECK(done.files_written == 0);
  CHECK_FALSE(done.left_dirty);
  CHECK(traces(rig.worktree() / "dir") == a);
  CHECK(flaws_of(rig, rig.tip) == "");
  CHECK(rig.restored().healed.empty());
}

TEST_CASE("a workspace that was moved to another path is mended from both ends") {
  warm_rig rig;
  const auto dir = traces(rig.worktree() / "dir").size();
  const temp_dir other("moved");
  fs::rename(rig.rig().parent_path(), other.path() / "rigs");
  auto job = rig.job();
  job.repository = other.path() / "rigs/r1/repo.git";
  job.worktree = other.path() / "rigs/r1/worktrees/a1";
  const auto done = test::restore(job);
  REQUIRE(done);
  CHECK(done->files_written == 0);
  CHECK(mentions(done->healed, ".git file"));
  CHECK(mentions(done->healed, "gitdir"));
  CHECK(status_of(job.worktree) == "");
  CHECK(traces(job.worktree / "dir").size() == dir);
}

TEST_CASE("a lost branch is set to where the worktree was, pushed or not") {
  warm_rig rig;
  write(rig.worktree() / "a", "mine\n");
  in(rig.worktree(), {"commit", "-q", "-am", "mine"});
  const auto mine = id_of(rig.worktree(), "HEAD");
  const auto ref = rig.repository() / "refs/heads/work";
  SECTION("the ref is gone") {
    fs::remove(ref);
  }
  SECTION("the ref is empty") {
    write(ref, "");
  }
  SECTION("the ref is nonsense") {
    write(ref, "nonsense\n");
  }
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(id_of(rig.worktree(), "HEAD") == mine);
  CHECK(status_of(rig.worktree()) == "");
  CHECK(done->unpushed_commits == 1);
  CHECK(done->left_dirty);
  CHECK(mentions(done->healed, "branch work set to " + mine));
}

TEST_CASE("a stale index.lock goes with its dead owner, and stays with a living one") {
  warm_rig rig;
  const auto lock = rig.registration() / "index.lock";
  write(lock, "");
  SECTION("dead") {
    const auto done = rig.restored();
    CHECK(mentions(done.healed, "index.lock"));
    CHECK_FALSE(fs::exists(lock));
    CHECK(flaws_of(rig, rig.tip) == "");
  }
  SECTION("a process works in the worktree") {
    const child_process living({.argv = {"sleep", "60"}, .directory = rig.worktree()});
    wait_until_in(living.pid(), rig.worktree());
    const auto done = rig.restore();
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::conflict);
    CHECK(done.error().message.find(std::to_string(living.pid())) != std::string::npos);
    CHECK(fs::exists(lock));
  }
}

TEST_CASE("what is no worktree of the repository is set aside whole, and a worktree is made in its place") {
  worktree_rig rig;
  const auto tip = rig.commit("work", three_files);
  rig.fetch({"work"});
  fs::create_directories(rig.rig() / "worktrees");
  fs::path kept_file = "a1-1/precious";
  SECTION("a file") {
    write(rig.worktree(), "bytes");
    kept_file = "a1-1";
  }
  SECTION("a directory of files") {
    write(rig.worktree() / "precious", "bytes");
  }
  SECTION("a repository of its own") {
    run_git(rig.workspace(), {"init", "-q", rig.worktree()});
    write(rig.worktree() / "precious", "bytes");
  }
  SECTION("a worktree of another repository") {
    run_git(rig.workspace(), {"clone", "-q", rig.remote(), "other"});
    run_git(rig.workspace() / "other", {"worktree", "add", "-q", "--detach", rig.worktree()});
    write(rig.worktree() / "precious", "bytes");
  }
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(mentions(done->reported, ".kept/a1-1"));
  CHECK(read(rig.rig() / "worktrees/.kept" / kept_file) == "bytes");
  CHECK(done->files_written == 3);
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("an empty directory in the worktree's place is no obstacle") {
  worktree_rig rig;
  const auto tip = rig.commit("work", three_files);
  fs::create_directories(rig.worktree());
  const auto done = rig.restored();
  CHECK(done.reported.empty());
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("an index that cannot be read here fails its agent with the feature's name, and nobody else") {
  warm_rig rig;
  const auto other = rig.commit("other", three_files);
  std::string feature;
  SECTION("split index") {
    in(rig.worktree(), {"update-index", "--split-index"});
    feature = "split index";
  }
  SECTION("sparse index") {
    in(rig.worktree(), {"sparse-checkout", "init", "--cone", "--sparse-index"});
    feature = "sparse index";
  }
  const auto index = read(rig.registration() / "index");
  const auto done = rig.restore();
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::unsupported);
  CHECK(done.error().object == "a1");
  CHECK(done.error().message.find(feature) != std::string::npos);
  CHECK(read(rig.registration() / "index") == index);
  REQUIRE(rig.restore("other", "a2"));
  CHECK(flaws_of(rig, other, "other", "a2") == "");
  const auto removal = git::remove_worktree(rig.job());
  REQUIRE(removal);
  CHECK_FALSE(removal->removed);
  CHECK(removal->kept_because.find(feature) != std::string::npos);
}
