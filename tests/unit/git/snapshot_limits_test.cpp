// What is left out of a snapshot, and that it says so.
#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

std::string reason_for(const git::snapshot& s, const std::string& path) {
  for (const auto& each : s.left_out)
    if (each.path == path) return each.reason;
  return {};
}
bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("files beyond the limits are left out, by name") {
  snapshot_rig rig;
  auto job = rig.snapshot_job();
  const auto tree = rig.worktree();
  SECTION("a large untracked file") {
    job.limits.file_bytes = 1000;
    write(tree / "large", noise(1001));
    write(tree / "just", noise(1000));
    const auto s = snapshot_rig::taken(job);
    CHECK(has(reason_for(s, "large"), "1000"));
    CHECK(s.files.untracked == 1);
    CHECK(s.files.left_out == 1);
    CHECK(s.uncommitted);
  }
  SECTION("a large tracked file stays as the index has it") {
    job.limits.file_bytes = 1000;
    write(tree / "a", noise(1001));
    const auto s = snapshot_rig::taken(job);
    CHECK(has(reason_for(s, "a"), "1000"));
    CHECK(rig.bytes(s.stash_commit + ":a") == "1\n");
  }
  SECTION("a large staged file stays as HEAD has it") {
    job.limits.file_bytes = 1000;
    write(tree / "a", noise(1001));
    rig.agent_git({"add", "a"});
    const auto s = snapshot_rig::taken(job);
    CHECK(has(reason_for(s, "a"), "1000"));
    CHECK(s.files.left_out == 1);
    CHECK(rig.bytes(s.stash_commit + "^2:a") == "1\n");
    CHECK(rig.bytes(s.stash_commit + ":a") == "1\n");
  }
  SECTION("the whole point, tracked files first") {
    job.limits.point_bytes = 1500;
    write(tree / "tool", noise(1000));
    write(tree / "anew", noise(1000));
    const auto s = snapshot_rig::taken(job);
    CHECK(has(reason_for(s, "anew"), "1500"));
    CHECK(rig.tree(s.stash_commit).size() == 8);
    CHECK(s.files.modified == 1);
    CHECK(s.files.left_out == 1);
  }
  SECTION("too many untracked files") {
    job.limits.untracked_files = 300;
    for (int i = 0; i < 600; ++i)
      write(tree / ("u" + std::to_string(1000 + i)), "x");
    const auto s = snapshot_rig::taken(job);
    CHECK(s.files.untracked == 300);
    CHECK(s.files.left_out == 300);
    CHECK(s.left_out.size() == 201);
    CHECK(has(s.left_out.back().reason, "100 more"));
  }
  SECTION("all untracked files, when the remote refuses them") {
    job.without_untracked = true;
    write(tree / "secret", "s");
    write(tree / "a", "mine\n");
    const auto s = snapshot_rig::taken(job);
    CHECK(has(reason_for(s, "secret"), "refused"));
    CHECK(s.files.untracked == 0);
    CHECK(rig.bytes(s.stash_commit + ":a") == "mine\n");
  }
}

TEST_CASE("ignored files are saved where they are asked for") {
  snapshot_rig rig;
  auto job = rig.snapshot_job();
  const auto tree = rig.worktree();
  for (const auto* path : {"x.o", "dir/y.o", "build/keep/one", "build/keep/two", "build/other", "plain"})
    write(tree / path, path);
  const auto untracked = [&] { return rig.tree(snapshot_rig::taken(job).stash_commit + "^3"); };
  CHECK(untracked().size() == 1);
  SECTION("by name") {
    job.limits.include = {"y.o"};
    CHECK(untracked().count("dir/y.o") == 1);
    CHECK(untracked().size() == 2);
  }
  SECTION("a directory in an ignored one") {
    job.limits.include = {"build/keep/", "!two"};
    CHECK(untracked().count("build/keep/one") == 1);
    CHECK(untracked().size() == 2);
  }
  SECTION("below any directory") {
    job.limits.include = {"**/keep/*"};
    CHECK(untracked().count("build/keep/two") == 1);
    CHECK(untracked().size() == 3);
  }
}

TEST_CASE("ignore rules are git's own") {
  snapshot_rig rig;
  const auto tree = rig.worktree();
  write(rig.repository() / "info/exclude", "*.private\n");
  write(tree / "dir/.gitignore", "*\n!kept\n!.gitignore\n");
  for (const auto* path : {"x.private", "dir/thrown", "dir/kept", "dir/sub/kept", "build/x", "other/build/x"})
    write(tree / path, "x");
  const auto listed = rig.agent_git({"ls-files", "-o", "--exclude-standard"});
  std::string ours;
  for (const auto& [path, item] : rig.tree(rig.taken().stash_commit + "^3"))
    ours += (ours.empty() ? "" : "\n") + path;
  CHECK(ours == listed);
}

TEST_CASE("what cannot be saved is named, and nothing else is lost by it") {
  snapshot_rig rig;
  const auto tree = rig.worktree();
  write(tree / "other", "o");
  SECTION("names no checkout would write") {
    write(tree / "sub/.GIT/config", "[core]\n");
    write(tree / "sub/git~1", "x");
    const auto s = rig.taken();
    CHECK(has(reason_for(s, "sub/.GIT"), "git"));
    CHECK_FALSE(reason_for(s, "sub/git~1").empty());
    CHECK(s.files.left_out == 2);
    CHECK(s.files.untracked == 1);
  }
  SECTION("a FIFO in the place of a tracked file") {
    fs::remove(tree / "a");
    REQUIRE(::mkfifo((tree / "a").c_str(), 0644) == 0);
    REQUIRE(::mkfifo((tree / "pipe").c_str(), 0644) == 0);
    const auto s = rig.taken();
    CHECK_FALSE(reason_for(s, "a").empty());
    CHECK(rig.tree(s.stash_commit).count("a") == 0);
    CHECK(s.files.untracked == 1);
  }
  SECTION("a staged file whose content is gone") {
    write(tree / "a", "mine\n");
    rig.agent_git({"add", "a"});
    const auto id = rig.agent_git({"rev-parse", ":a"});
    fs::remove(rig.repository() / "objects" / id.substr(0, 2) / id.substr(2));
    write(tree / "a", "later\n");
    const auto s = rig.taken();
    CHECK(has(reason_for(s, "a"), "gone"));
    CHECK(rig.bytes(s.stash_commit + ":a") == "later\n");
    CHECK(rig.bytes(s.stash_commit + "^2:a") == "1\n");
  }
}

TEST_CASE("an index that libgit2 cannot read is unsupported, by name") {
  snapshot_rig rig;
  std::string feature;
  SECTION("a split index") {
    rig.agent_git({"update-index", "--split-index"});
    feature = "split index";
  }
  SECTION("a sparse index") {
    rig.agent_git({"sparse-checkout", "set", "--cone", "--sparse-index", "nowhere"});
    feature = "sparse index";
  }
  const auto done = git::take_snapshot(rig.snapshot_job());
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::unsupported);
  CHECK(has(done.error().message, feature));
}

TEST_CASE("other ways to fail are errors, not empty snapshots") {
  snapshot_rig rig;
  auto job = rig.snapshot_job();
  SECTION("no worktree") {
    fs::remove_all(rig.worktree());
    CHECK(git::take_snapshot(job).error().code == error_code::not_found);
  }
  SECTION("a damaged index") {
    flip_byte(rig.registration() / "index", 40);
    CHECK(git::take_snapshot(job).error().code == error_code::corrupt);
  }
  SECTION("cancelled") {
    job.cancel = std::make_shared<std::atomic<bool>>(true);
    CHECK(git::take_snapshot(job).error().code == error_code::cancelled);
  }
  SECTION("no index counts as empty") {
    fs::remove(rig.registration() / "index");
    const auto s = rig.taken();
    CHECK(s.files.staged == 8);
    CHECK(s.files.untracked == 8);
  }
}
