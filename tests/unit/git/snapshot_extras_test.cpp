// What a stash cannot carry: stages, flags, operations, refs, exact bytes, repositories in the worktree.
#include <catch2/catch_test_macros.hpp>

#include "git/point_meta.hpp"
#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// The object below the extras tree, by path; empty when there is none.
std::string extra(const snapshot_rig& rig, const git::snapshot& s, const std::string& path) {
  const auto all = rig.tree(s.extras_tree);
  const auto found = all.find(path);
  return found == all.end() ? std::string() : found->second.substr(7);
}
std::string extra_bytes(const snapshot_rig& rig, const git::snapshot& s, const std::string& path) {
  const auto id = extra(rig, s, path);
  return id.empty() ? "(absent)" : rig.bytes(id);
}

/// Two branches that both change `a`, and one of them merged into `work` without success.
void conflict(const snapshot_rig& rig) {
  rig.agent_git({"checkout", "-q", "-b", "other"});
  write(rig.worktree() / "a", "theirs\n");
  write(rig.worktree() / "both", "theirs\n");
  rig.agent_git({"rm", "-q", "b"});
  rig.agent_git({"add", "both"});
  rig.agent_git({"commit", "-qam", "theirs"});
  rig.agent_git({"checkout", "-q", "work"});
  write(rig.worktree() / "a", "ours\n");
  write(rig.worktree() / "b", "ours\n");
  write(rig.worktree() / "both", "ours\n");
  rig.agent_git({"add", "both"});
  rig.agent_git({"commit", "-qam", "ours"});
}

} // namespace

TEST_CASE("unmerged paths keep their stages, and their files") {
  snapshot_rig rig;
  conflict(rig);
  REQUIRE(rig.try_agent_git({"merge", "-q", "other"}).status != 0);
  const auto snapshot = rig.taken();
  CHECK(snapshot.uncommitted);
  const auto stages = rig.agent_git({"ls-files", "-u", "--format=%(objectname) stages/%(stage)/%(path)"});
  REQUIRE_FALSE(stages.empty());
  std::istringstream lines(stages);
  for (std::string id, path; lines >> id >> path;)
    CHECK(extra(rig, snapshot, path) == id);
  CHECK(extra(rig, snapshot, "stages/3/b").empty()); // theirs deleted it
  CHECK(rig.tree(snapshot.stash_commit + "^2")["a"].substr(7) == rig.agent_git({"rev-parse", ":2:a"}));
  for (const auto* path : {"a", "b", "both"})
    CHECK(rig.bytes(snapshot.stash_commit + ":" + path) == read(rig.worktree() / path));
  CHECK(extra_bytes(rig, snapshot, "operation/MERGE_HEAD") == read(rig.registration() / "MERGE_HEAD"));
  CHECK(extra_bytes(rig, snapshot, "operation/MERGE_MSG") == read(rig.registration() / "MERGE_MSG"));
  CHECK(snapshot.operation_ids.at("MERGE_HEAD") == rig.agent_git({"rev-parse", "other"}));
}

TEST_CASE("an operation in progress is part of the snapshot") {
  snapshot_rig rig;
  conflict(rig);
  const auto theirs = rig.agent_git({"rev-parse", "other"});
  const auto ours = rig.agent_git({"rev-parse", "work"});
  SECTION("a cherry-pick") {
    REQUIRE(rig.try_agent_git({"cherry-pick", "other"}).status != 0);
    const auto s = rig.taken();
    CHECK(s.operation_ids.at("CHERRY_PICK_HEAD") == theirs);
    CHECK(s.uncommitted);
  }
  SECTION("a revert") {
    write(rig.worktree() / "a", "later\n");
    rig.agent_git({"commit", "-qam", "later"});
    REQUIRE(rig.try_agent_git({"revert", "--no-edit", ours}).status != 0);
    CHECK(rig.taken().operation_ids.at("REVERT_HEAD") == ours);
  }
  SECTION("a rebase") {
    REQUIRE(rig.try_agent_git({"rebase", "-q", "other"}).status != 0);
    const auto s = rig.taken();
    CHECK_FALSE(s.head.ref);
    CHECK(s.head.commit == theirs);
    CHECK(s.operation_ids.at("rebase-merge/orig-head") == ours);
    CHECK(s.operation_ids.at("rebase-merge/onto") == theirs);
    CHECK(extra_bytes(rig, s, "operation/rebase-merge/head-name") == "refs/heads/work\n");
    CHECK(s.branch_commit == ours);
  }
  SECTION("a bisection, whose worktree is clean") {
    rig.agent_git({"bisect", "start", "HEAD", "HEAD^"});
    REQUIRE(status_of(rig.worktree()).empty());
    const auto s = rig.taken();
    CHECK(s.uncommitted);
    CHECK(extra_bytes(rig, s, "operation/refs/bisect/bad") == ours + "\n");
    CHECK(s.operation_ids.at("refs/bisect/bad") == ours);
  }
}

TEST_CASE("what is over leaves a worktree clean") {
  snapshot_rig rig;
  conflict(rig);
  rig.agent_git({"reset", "-q", "--hard", "HEAD^"});
  const auto s = rig.taken();
  CHECK_FALSE(s.uncommitted);
  CHECK(s.operation_ids.count("ORIG_HEAD") == 1);
}

TEST_CASE("flags of the index come with the index itself") {
  snapshot_rig rig;
  SECTION("assume-unchanged, with a change behind it") {
    rig.agent_git({"update-index", "--assume-unchanged", "a"});
    write(rig.worktree() / "a", "hidden\n");
  }
  SECTION("skip-worktree, with a change behind it") {
    rig.agent_git({"update-index", "--skip-worktree", "a"});
    write(rig.worktree() / "a", "hidden\n");
  }
  SECTION("intent to add") {
    write(rig.worktree() / "a", "hidden\n");
    write(rig.worktree() / "later", "l\n");
    rig.agent_git({"add", "-N", "later"});
  }
  const auto index = read(rig.registration() / "index");
  const auto s = rig.taken();
  CHECK(s.uncommitted);
  CHECK(extra_bytes(rig, s, "raw-index") == index);
  CHECK(rig.bytes(s.stash_commit + ":a") == "hidden\n");
  if (fs::exists(rig.worktree() / "later")) {
    CHECK(rig.bytes(s.stash_commit + ":later") == "l\n");
    CHECK(rig.tree(s.stash_commit + "^2").count("later") == 0);
  }
}

TEST_CASE("a skip-worktree path that is not there stays away, and is no modification") {
  snapshot_rig rig;
  rig.agent_git({"update-index", "--skip-worktree", "a"});
  fs::remove(rig.worktree() / "a");
  const auto s = rig.taken();
  CHECK(s.files.modified == 0);
  CHECK(rig.tree(s.stash_commit).count("a") == 0);
}

TEST_CASE("refs that belong to the rig, and the stash list") {
  snapshot_rig rig;
  rig.agent_git({"branch", "side"});
  rig.agent_git({"branch", "owned"});
  rig.agent_git({"branch", "caf\xE9"});
  rig.agent_git({"tag", "light"});
  rig.agent_git({"tag", "-a", "heavy", "-m", "a tag"});
  for (const auto* content : {"first\n", "second\n"}) {
    write(rig.worktree() / "a", content);
    rig.agent_git({"stash", "-q"});
  }
  auto job = rig.snapshot_job();
  job.agent_branches = {"work", "owned"};
  const auto s = snapshot_rig::taken(job);
  const auto id = [&](const std::string& name) { return rig.agent_git({"rev-parse", name}); };
  CHECK(s.rig_refs == std::map<std::string, std::string>{{"refs/heads/main", id("main")},
                                                         {"refs/heads/side", id("side")},
                                                         {"refs/heads/caf\xE9", id("caf\xE9")},
                                                         {"refs/tags/light", id("light")},
                                                         {"refs/tags/heavy", id("heavy")}});
  CHECK(s.stash == std::vector<std::string>{id("stash@{0}"), id("stash@{1}")});
  CHECK_FALSE(s.uncommitted);
  const auto refs = git::decode_refs(extra_bytes(rig, s, "refs.json"));
  REQUIRE(refs);
  CHECK(refs->refs == s.rig_refs);
  CHECK(refs->stash == s.stash);
}

TEST_CASE("a filter's files come with their exact bytes where it would not give them back") {
  snapshot_rig rig({{".gitattributes", tree_path::file("*.txt text eol=crlf\n*.id ident\n*.u16 "
                                                       "working-tree-encoding=UTF-16LE-BOM\n*.lfs filter=lfs -text\n")},
                    {"a.txt", tree_path::file("one\ntwo\n")},
                    {"b.id", tree_path::file("$Id$\n")},
                    {"c.txt", tree_path::file("one\n")}});
  const auto tree = rig.worktree();
  write(tree / "a.txt", "one\r\ntwo\r\nthree\r\n"); // a checkout gives this back
  write(tree / "c.txt", "one\nmixed\r\n");          // and not this
  write(tree / "b.id", "$Id: something else $\nmore\n");
  write(tree / "n.u16", std::string("\xFF\xFEh\0i\0", 6));
  write(tree / "bad.u16", "no UTF-16");
  write(tree / "big.lfs", "the content, not the pointer\n");
  const auto s = rig.taken();
  CHECK(rig.bytes(s.stash_commit + ":a.txt") == "one\ntwo\nthree\n");
  CHECK(extra(rig, s, "raw/a.txt").empty());
  CHECK(rig.bytes(s.stash_commit + ":c.txt") == "one\nmixed\n");
  CHECK(extra_bytes(rig, s, "raw/c.txt") == "one\nmixed\r\n");
  CHECK(rig.bytes(s.stash_commit + ":b.id") == "$Id$\nmore\n");
  CHECK(extra_bytes(rig, s, "raw/b.id") == "$Id: something else $\nmore\n");
  CHECK(rig.bytes(s.stash_commit + "^3:n.u16") == "hi");
  CHECK(extra(rig, s, "raw/n.u16").empty());
  CHECK(rig.bytes(s.stash_commit + "^3:bad.u16") == "no UTF-16");
  CHECK(extra_bytes(rig, s, "raw/bad.u16") == "no UTF-16");
  CHECK(rig.bytes(s.stash_commit + "^3:big.lfs") == "the content, not the pointer\n");
  CHECK(s.left_out.empty());
  const auto again = rig.taken();
  CHECK(again.fingerprint == s.fingerprint);
}

TEST_CASE("a file that a filter would check out otherwise has its bytes saved, though git calls it clean") {
  snapshot_rig rig({{".gitattributes", tree_path::file("*.txt text eol=crlf\n")}, {"a.txt", tree_path::file("one\n")}});
  write(rig.worktree() / "a.txt", "one\n");
  rig.agent_git({"add", "a.txt"}); // stamped afresh, and no change
  REQUIRE(status_of(rig.worktree()).empty());
  const auto s = rig.taken();
  CHECK_FALSE(s.uncommitted);
  CHECK(extra_bytes(rig, s, "raw/a.txt") == "one\n");
}

TEST_CASE("clean content is what git itself would store") {
  snapshot_rig rig({{".gitattributes", tree_path::file("* text=auto\n*.bin -text\n*.in text=input\n*.old crlf\n")},
                    {"stored-crlf", tree_path::file("x\n")}});
  const auto tree = rig.worktree();
  const std::string crlf = "one\r\ntwo\r\n";
  for (const auto* name : {"auto", "x.bin", "x.in", "x.old"})
    write(tree / name, crlf);
  write(tree / "lone-cr", "one\rtwo\r\n");
  write(tree / "binary", std::string("a\0b\r\n", 5));
  const auto s = rig.taken();
  rig.agent_git({"add", "-A"});
  for (const auto* name : {"auto", "x.bin", "x.in", "x.old", "lone-cr", "binary"}) {
    INFO(name);
    CHECK(rig.private_git({"rev-parse", s.stash_commit + "^3:" + name}) ==
          rig.agent_git({"rev-parse", ":" + std::string(name)}));
  }
}

TEST_CASE("a repository inside the worktree comes with its files and its .git") {
  snapshot_rig rig;
  const auto nested = rig.worktree() / "inner";
  run_git(rig.worktree(), {"init", "-q", "inner"});
  write(nested / "f", "1\n");
  run_git(nested, {"add", "f"});
  run_git(nested, {"commit", "-qm", "inner"});
  write(nested / "g", "2\n");
  const auto s = rig.taken();
  CHECK(s.uncommitted);
  CHECK(rig.bytes(s.stash_commit + "^3:inner/g") == "2\n");
  for (const auto& each : fs::recursive_directory_iterator(nested / ".git"))
    if (each.is_regular_file())
      CHECK(extra_bytes(rig, s, "nested/inner/dot-git/" + each.path().lexically_relative(nested / ".git").string()) ==
            read(each.path()));
  CHECK(rig.taken().fingerprint == s.fingerprint);
}
