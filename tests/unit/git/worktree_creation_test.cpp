// A worktree on an empty disk, in the eyes of git's command line.
#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>

#include <fstream>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// Mode bits that git looks at.
bool is_executable(const fs::path& file) {
  struct stat st {};
  REQUIRE(::lstat(file.c_str(), &st) == 0);
  return (st.st_mode & S_IXUSR) != 0;
}

} // namespace

TEST_CASE("a branch of the remote is checked out at its tip, clean, on the branch and locked") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"a", tree_path::file("1\n")}, {"dir/b", tree_path::file("2\n")}});
  const auto done = rig.restored();
  CHECK(flaws_of(rig, tip) == "");
  CHECK(done.commit == tip);
  CHECK(done.branch == "work");
  CHECK(done.files_total == 2);
  CHECK(done.files_written == 2);
  CHECK(done.unpushed_commits == 0);
  CHECK_FALSE(done.left_dirty);
  CHECK_FALSE(done.created_from_base);
  CHECK(done.healed.empty());
  CHECK(done.reported.empty());
  CHECK(read(rig.registration() / "locked").find("a1") != std::string::npos);
}

TEST_CASE("executable bits, symbolic links and empty files are what the tree says") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"run", tree_path::executable("#!/bin/sh\n")},
                                       {"plain", tree_path::file("text")},
                                       {"empty", tree_path::file("")},
                                       {"empty-run", tree_path::executable("")},
                                       {"here", tree_path::link("plain")},
                                       {"dangling", tree_path::link("no/such/file")},
                                       {"outside", tree_path::link("/etc/passwd")},
                                       {"dir/up", tree_path::link("../../../..")}});
  rig.restored();
  CHECK(flaws_of(rig, tip) == "");
  CHECK(is_executable(rig.worktree() / "run"));
  CHECK(is_executable(rig.worktree() / "empty-run"));
  CHECK_FALSE(is_executable(rig.worktree() / "plain"));
  CHECK(fs::file_size(rig.worktree() / "empty") == 0);
  CHECK(fs::read_symlink(rig.worktree() / "here") == "plain");
  CHECK(fs::read_symlink(rig.worktree() / "dangling") == "no/such/file");
  CHECK(fs::read_symlink(rig.worktree() / "outside") == "/etc/passwd");
  CHECK(fs::read_symlink(rig.worktree() / "dir/up") == "../../../..");
}

TEST_CASE("files are created with the modes the umask leaves, as git does") {
  worktree_rig rig;
  rig.commit("work", {{"run", tree_path::executable("1")}, {"plain", tree_path::file("1")}});
  const auto before = ::umask(027);
  rig.restored();
  ::umask(before);
  struct stat st {};
  REQUIRE(::stat((rig.worktree() / "plain").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777U) == 0640);
  REQUIRE(::stat((rig.worktree() / "run").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777U) == 0750);
}

TEST_CASE("a submodule is an empty directory, with and without .gitmodules") {
  worktree_rig rig;
  const std::string commit = "0123456789012345678901234567890123456789";
  const auto tip =
      rig.commit("work", {{".gitmodules", tree_path::file("[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n")},
                          {"lib", tree_path::submodule(commit)},
                          {"unnamed/sub", tree_path::submodule(commit)}});
  const auto done = rig.restored();
  CHECK(flaws_of(rig, tip) == "");
  CHECK(fs::is_directory(rig.worktree() / "lib"));
  CHECK(fs::is_empty(rig.worktree() / "unnamed/sub"));
  SECTION("and a restart leaves it alone") {
    const auto before = traces(rig.worktree());
    const auto again = rig.restored();
    CHECK(again.files_written == 0);
    CHECK_FALSE(again.left_dirty);
    CHECK(traces(rig.worktree()) == before);
  }
}

TEST_CASE("names that are no UTF-8, names that differ by case and odd names are all there") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"latin1-\xe9", tree_path::file("1")},
                                       {"\xff\xfe/\x80", tree_path::file("2")},
                                       {"umlaut-\xc3\xa4", tree_path::file("3")},
                                       {"umlaut-a\xcc\x88", tree_path::file("4")},
                                       {"Case", tree_path::file("5")},
                                       {"case", tree_path::file("6")},
                                       {"CASE/x", tree_path::file("7")},
                                       {"-rf", tree_path::file("8")},
                                       {"with space ", tree_path::file("9")},
                                       {"a.b", tree_path::file("10")},
                                       {"a/b", tree_path::file("11")},
                                       {"a-b", tree_path::file("12")},
                                       {"back\\slash", tree_path::file("13")},
                                       {"con.txt", tree_path::file("14")},
                                       {".gitx", tree_path::file("15")},
                                       {"git", tree_path::file("16")},
                                       {"...", tree_path::file("17")},
                                       {"\"quoted\"", tree_path::file("18")}});
  CHECK(rig.restored().files_written == 18);
  CHECK(flaws_of(rig, tip) == "");
  CHECK(read(rig.worktree() / "case") == "6");
  CHECK(read(rig.worktree() / "Case") == "5");
  CHECK(read(rig.worktree() / "latin1-\xe9") == "1");
}

TEST_CASE("a tree far deeper than the directories kept open is written whole") {
  worktree_rig rig;
  tree_paths paths;
  std::string path;
  for (int depth = 0; depth < 300; ++depth) {
    path += "d/";
    paths[path + "f"] = tree_path::file(std::to_string(depth));
  }
  const auto tip = rig.commit("work", paths);
  CHECK(rig.restored().files_written == 300);
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE(
    "names as long as the file system takes are written, and a path longer than the system's is refused by name") {
  worktree_rig rig;
  const std::string longest(255, 'n');
  const auto tip = rig.commit("work", {{longest + '/' + longest, tree_path::file("1")}});
  rig.restored();
  CHECK(flaws_of(rig, tip) == "");

  std::string too_long;
  for (int i = 0; i < 20; ++i)
    too_long += std::string(250, 'x') + '/';
  rig.commit("deep", {{too_long + "f", tree_path::file("1")}});
  const auto refused = rig.restore("deep", "a2");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::invalid_argument);
  CHECK(refused.error().object.starts_with("xxx"));
}

TEST_CASE("three thousand files in one directory, written and found clean") {
  worktree_rig rig;
  tree_paths paths;
  for (int i = 0; i < 3'000; ++i)
    paths["dir/file-" + std::to_string(i)] = tree_path::file("content " + std::to_string(i % 7) + "\n");
  const auto tip = rig.commit("work", paths);
  CHECK(rig.restored().files_written == 3'000);
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("a large file and many files of one content come out byte for byte") {
  worktree_rig rig;
  tree_paths paths{{"large", tree_path::file(noise(6'000'000))}};
  for (int i = 0; i < 20; ++i)
    paths["copy-" + std::to_string(i)] = tree_path::file(noise(1000, 2));
  const auto tip = rig.commit("work", paths);
  rig.restored();
  CHECK(flaws_of(rig, tip) == "");
  CHECK(read(rig.worktree() / "large") == noise(6'000'000));
}

TEST_CASE("a file changed to the same size in the clock tick of its restore shows as modified") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("before\n")}, {"b", tree_path::file("before\n")}});
  for (int round = 0; round < 20; ++round) {
    const auto agent = "a" + std::to_string(round);
    const auto branch = "racy-" + std::to_string(round);
    run_git(rig.remote(), {"branch", branch, "work"});
    rig.fetch({branch});
    const auto job = rig.job(branch, agent);
    REQUIRE(test::restore(job));
    // In place, so that inode and size stay what they are.
    std::fstream(job.worktree / "b", std::ios::in | std::ios::out | std::ios::binary) << "after!\n";
    CHECK(status_of(job.worktree) == " M b");
  }
}

TEST_CASE("git needs no second look at the files of a restored worktree") {
  worktree_rig rig;
  rig.commit("work", {{"dir/a", tree_path::file("1\n")}, {"b", tree_path::executable("2\n")}});
  rig.restored();
  // `diff-files` goes by the stamps of the index alone: it names every path whose stamp does not fit.
  CHECK(in(rig.worktree(), {"diff-files", "--name-only"}) == "");
  CHECK(in(rig.worktree(), {"ls-files", "--debug"}).find("size: 2") != std::string::npos);
}

TEST_CASE("the worktree's git works: commit, push, reflog, upstream") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {{"a", tree_path::file("1\n")}});
  rig.restored();
  const auto tree = rig.worktree();
  CHECK(in(tree, {"rev-parse", "--abbrev-ref", "@{upstream}"}) == "origin/work");
  CHECK(in(rig.repository(), {"config", "branch.work.remote"}) == "origin");
  CHECK(in(rig.repository(), {"config", "branch.work.merge"}) == "refs/heads/work");
  CHECK(in(tree, {"reflog", "-1", "--format=%H %gs"}) == tip + " townkeeper: restored at work");
  CHECK(in(tree, {"reflog", "-1", "--format=%H %gs", "refs/heads/work"}) == tip + " townkeeper: restored");
  write(tree / "a", "2\n");
  in(tree, {"commit", "-q", "-am", "mine"});
  in(tree, {"push", "-q"});
  CHECK(id_of(rig.remote(), "refs/heads/work") == id_of(tree, "HEAD"));
  CHECK(status_of(tree) == "");
}

TEST_CASE("an empty tree gives an empty worktree") {
  worktree_rig rig;
  const auto tip = rig.commit("work", {});
  const auto done = rig.restored();
  CHECK(done.files_total == 0);
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("progress names the steps in order and ends with every file done") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1")}, {"b", tree_path::file("2")}});
  rig.fetch({"work"});
  std::vector<git::worktree_progress> seen;
  REQUIRE(git::restore_worktree(rig.job(), [&](const auto& p) { seen.push_back(p); }));
  REQUIRE(seen.size() >= 3);
  CHECK(seen.front().step == git::worktree_step::branch);
  CHECK(seen.back().step == git::worktree_step::verifying);
  CHECK(seen.back().files_done == 2);
  CHECK(seen.back().files_total == 2);
  for (std::size_t i = 1; i < seen.size(); ++i)
    CHECK(seen[i - 1].step <= seen[i].step);
}
