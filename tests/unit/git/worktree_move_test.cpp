// A clean worktree whose branch moved on: exactly the differing paths change, and whatever interrupts it, the next
// restore completes it.
#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

using stamps = std::map<std::string, std::pair<ino_t, std::int64_t>>;

/// Inode and modification time of every file, by path.
stamps stamps_of(const fs::path& directory) {
  stamps all;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    struct stat st {};
    if (::lstat(entry.path().c_str(), &st) != 0 || S_ISDIR(st.st_mode)) continue;
    all[entry.path().lexically_relative(directory).string()] = {
        st.st_ino, std::int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec};
  }
  return all;
}

const std::string sub = "0123456789012345678901234567890123456789";

const tree_paths before_paths{{"same", tree_path::file("same\n")},
                              {"dir/same", tree_path::file("same\n")},
                              {"changed", tree_path::file("1\n")},
                              {"made-executable", tree_path::file("x\n")},
                              {"to-link", tree_path::file("x\n")},
                              {"from-link", tree_path::link("same")},
                              {"link", tree_path::link("same")},
                              {"gone", tree_path::file("x\n")},
                              {"gone-dir/deep/er", tree_path::file("x\n")},
                              {"to-dir", tree_path::file("x\n")},
                              {"link-to-dir", tree_path::link("dir")},
                              {"from-dir/a", tree_path::file("x\n")},
                              {"from-dir/b/c", tree_path::file("x\n")},
                              {"sub-gone", tree_path::submodule(sub)},
                              {"sub-to-file", tree_path::submodule(sub)},
                              {"file-to-sub", tree_path::file("x\n")}};
const tree_paths after_paths{{"same", tree_path::file("same\n")},
                             {"dir/same", tree_path::file("same\n")},
                             {"changed", tree_path::file("2\n")},
                             {"made-executable", tree_path::executable("x\n")},
                             {"to-link", tree_path::link("same")},
                             {"from-link", tree_path::file("x\n")},
                             {"link", tree_path::link("dir")},
                             {"to-dir/a", tree_path::file("x\n")},
                             {"to-dir/b/c", tree_path::file("x\n")},
                             {"link-to-dir/same", tree_path::file("not through the link\n")},
                             {"from-dir", tree_path::file("x\n")},
                             {"new", tree_path::file("x\n")},
                             {"new-dir/deep/er", tree_path::file("x\n")},
                             {"sub-new", tree_path::submodule(sub)},
                             {"sub-to-file", tree_path::file("x\n")},
                             {"file-to-sub", tree_path::submodule(sub)}};

struct moving_rig : worktree_rig {
  std::string before = commit("work", before_paths);
  std::string after;
  moving_rig() {
    restored();
    after = commit("work", after_paths);
  }
};

} // namespace

TEST_CASE("a branch that moved on takes its clean worktree along: every kind of change, nothing else touched") {
  moving_rig rig;
  const auto old = stamps_of(rig.worktree());
  const auto done = rig.restored();
  CHECK(done.commit == rig.after);
  CHECK(done.files_written == 14);
  CHECK_FALSE(done.left_dirty);
  CHECK(done.reported.empty());
  CHECK(flaws_of(rig, rig.after) == "");
  CHECK(read(rig.worktree() / "dir/same") == "same\n");
  CHECK_FALSE(fs::exists(rig.worktree() / "gone-dir"));
  const auto now = stamps_of(rig.worktree());
  for (const std::string path : {"same", "dir/same", ".git"})
    CHECK(now.at(path) == old.at(path));
  CHECK(in(rig.worktree(), {"reflog", "-1", "--format=%H"}) == rig.after);
  CHECK(rig.restored().files_written == 0);

  SECTION("and back again") {
    run_git(rig.remote(), {"update-ref", "refs/heads/work", rig.before});
    run_git(rig.repository(), {"update-ref", "refs/remotes/origin/other", rig.after}); // saved elsewhere on the remote
    run_git(rig.remote(), {"update-ref", "refs/heads/other", rig.after});
    in(rig.worktree(), {"checkout", "-q", "--detach"});
    run_git(rig.repository(), {"update-ref", "refs/heads/work", rig.before});
    CHECK(rig.restored().commit == rig.before);
    CHECK(flaws_of(rig, rig.before) == "");
    CHECK_FALSE(fs::exists(rig.worktree() / "new-dir"));
  }
}

TEST_CASE("a file changed in the tick of a move shows as modified, moved or not") {
  worktree_rig rig;
  rig.commit("work", {{"moved", tree_path::file("old\n")}, {"stays", tree_path::file("old\n")}});
  rig.restored();
  rig.commit("work", {{"moved", tree_path::file("new\n")}, {"stays", tree_path::file("old\n")}});
  rig.fetch({"work"});
  REQUIRE(test::restore(rig.job()));
  write(rig.worktree() / "moved", "mod\n");
  write(rig.worktree() / "stays", "mod\n");
  CHECK(status_of(rig.worktree()) == " M moved\n M stays");
}

TEST_CASE("a change made in the clock tick of a restore is work to the next one, and no move hides it") {
  worktree_rig rig;
  for (int round = 0; round < 5; ++round) {
    const auto branch = "racy-" + std::to_string(round);
    rig.commit(branch, {{"a", tree_path::file("old\n")}, {"b", tree_path::file("1\n")}});
    rig.fetch({branch});
    const auto job = rig.job(branch, branch);
    REQUIRE(test::restore(job));
    std::fstream(job.worktree / "a", std::ios::in | std::ios::out | std::ios::binary) << "mod\n";
    rig.commit(branch, {{"a", tree_path::file("old\n")}, {"b", tree_path::file("2\n")}});
    CHECK(rig.restored(branch, branch).left_dirty);
    CHECK(status_of(job.worktree) == " M a");
  }
}

TEST_CASE("files that are in the way of a move, though ignored, are not overwritten") {
  worktree_rig rig;
  const tree_path ignore = tree_path::file("*.o\nout/\n");
  const auto before = rig.commit("work", {{".gitignore", ignore}, {"a", tree_path::file("1\n")}});
  rig.restored();
  write(rig.worktree() / "precious.o", "mine");
  write(rig.worktree() / "out/file", "mine");
  std::string in_the_way;
  SECTION("a file where a file comes") {
    rig.commit("work", {{".gitignore", ignore}, {"precious.o", tree_path::file("theirs")}});
    in_the_way = "precious.o";
  }
  SECTION("a file where a directory comes") {
    rig.commit("work", {{".gitignore", ignore}, {"precious.o/x", tree_path::file("theirs")}});
    in_the_way = "precious.o/x";
  }
  SECTION("a directory where a file comes") {
    rig.commit("work", {{".gitignore", ignore}, {"out", tree_path::file("theirs")}});
    in_the_way = "out";
  }
  const auto files = traces(rig.worktree());
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(done.commit == before);
  CHECK(mentions(done.reported, in_the_way));
  CHECK(traces(rig.worktree()) == files);
  CHECK(status_of(rig.worktree()) == "");
}

TEST_CASE("an ignored file that already is what comes is no obstacle") {
  worktree_rig rig;
  const tree_path ignore = tree_path::file("*.o\n");
  rig.commit("work", {{".gitignore", ignore}});
  rig.restored();
  write(rig.worktree() / "x.o", "same");
  const auto after = rig.commit("work", {{".gitignore", ignore}, {"x.o", tree_path::file("same")}});
  CHECK_FALSE(rig.restored().left_dirty);
  CHECK(flaws_of(rig, after) == "");
}

TEST_CASE("a move that hides behind assume-unchanged finds the change and leaves it") {
  worktree_rig rig;
  rig.commit("work", {{"a", tree_path::file("1\n")}});
  rig.restored();
  in(rig.worktree(), {"update-index", "--assume-unchanged", "a"});
  write(rig.worktree() / "a", "mine\n");
  rig.commit("work", {{"a", tree_path::file("2\n")}});
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(read(rig.worktree() / "a") == "mine\n");
}

TEST_CASE("a tree that turns a link into a directory writes nothing through the link") {
  worktree_rig rig;
  const temp_dir elsewhere("elsewhere");
  rig.commit("work", {{"a", tree_path::link(elsewhere.path().string())}});
  rig.restored();
  const auto after = rig.commit("work", {{"a/b", tree_path::file("x")}});
  rig.restored();
  CHECK(fs::is_empty(elsewhere.path()));
  CHECK(fs::is_directory(fs::symlink_status(rig.worktree() / "a")));
  CHECK(flaws_of(rig, after) == "");
}

TEST_CASE("a directory that was turned into a link on the disk is work, and nothing is written through it") {
  worktree_rig rig;
  const temp_dir elsewhere("elsewhere");
  rig.commit("work", {{"dir/a", tree_path::file("1")}, {"b", tree_path::file("1")}});
  rig.restored();
  fs::rename(rig.worktree() / "dir", elsewhere.path() / "dir");
  fs::create_directory_symlink(elsewhere.path() / "dir", rig.worktree() / "dir");
  const auto outside = traces(elsewhere.path());
  rig.commit("work", {{"dir/a", tree_path::file("2")}, {"dir/new", tree_path::file("2")}, {"b", tree_path::file("2")}});
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(traces(elsewhere.path()) == outside);
}

TEST_CASE("an ignored link in the way of a new directory is kept, and nothing is written through it") {
  worktree_rig rig;
  const temp_dir elsewhere("elsewhere");
  rig.commit("work", {{".gitignore", tree_path::file("cache\n")}, {"b", tree_path::file("1")}});
  rig.restored();
  fs::create_directory_symlink(elsewhere.path(), rig.worktree() / "cache");
  rig.commit("work", {{".gitignore", tree_path::file("cache\n")}, {"cache/x", tree_path::file("2")}});
  const auto done = rig.restored();
  CHECK(done.left_dirty);
  CHECK(mentions(done.reported, "cache/x"));
  CHECK(fs::is_empty(elsewhere.path()));
}

TEST_CASE("a submodule that is checked out is not taken away") {
  worktree_rig rig;
  rig.commit("work", {{"lib", tree_path::submodule(sub)}, {"a", tree_path::file("1")}});
  rig.restored();
  fs::remove(rig.worktree() / "lib");
  run_git(rig.workspace(), {"clone", "-q", rig.remote(), rig.worktree() / "lib"});
  rig.commit("work", {{"a", tree_path::file("2")}});
  CHECK(rig.restored().left_dirty);
  CHECK(fs::exists(rig.worktree() / "lib/README"));
}

TEST_CASE("attributes that change with the branch give unchanged blobs their new bytes") {
  worktree_rig rig;
  rig.commit("work", {{"a.txt", tree_path::file("1\n2\n")}, {"b", tree_path::file("1\n")}});
  rig.restored();
  const auto after = rig.commit("work", {{".gitattributes", tree_path::file("*.txt eol=crlf\n")},
                                         {"a.txt", tree_path::file("1\n2\n")},
                                         {"b", tree_path::file("1\n")}});
  CHECK(rig.restored().files_written == 2);
  CHECK(read(rig.worktree() / "a.txt") == "1\r\n2\r\n");
  CHECK(flaws_of(rig, after) == "");
  in(rig.worktree(), {"update-index", "--really-refresh"});
  CHECK(status_of(rig.worktree()) == "");
}

// -- interrupted --------------------------------------------------------------

TEST_CASE("a move that died between any two paths is completed by the next restore") {
  // What a kill leaves: the note, and any set of paths already as the new commit has them. Git itself makes those
  // states here, so that they owe nothing to the code under test.
  moving_rig rig;
  rig.fetch({"work"});
  const auto note = rig.before + ' ' + rig.after + " work\n";
  const auto take_from = [&](const std::string& commit, const std::vector<std::string>& paths) {
    for (const auto& path : paths) {
      const auto file = rig.worktree() / path;
      fs::remove_all(file);
      if (!id_of(rig.repository(), commit + ":" + path).empty())
        run_git(rig.repository(),
                {"--work-tree=" + rig.worktree().string(), "restore", "--source=" + commit, "--worktree", "--", path});
    }
  };
  SECTION("before the first") {}
  SECTION("after the removals") {
    for (const std::string path :
         {"gone", "gone-dir", "to-dir", "link-to-dir", "from-dir", "sub-gone", "sub-to-file", "file-to-sub"})
      fs::remove_all(rig.worktree() / path);
  }
  SECTION("with some written") {
    fs::remove(rig.worktree() / "gone");
    fs::remove(rig.worktree() / "to-dir");
    take_from(rig.after, {"changed", "from-dir", "link", "to-dir/a"});
  }
  SECTION("with all written") {
    take_from(rig.after, {"changed", "made-executable", "to-link", "from-link", "link", "gone", "gone-dir", "to-dir",
                          "link-to-dir", "from-dir", "new", "new-dir", "sub-gone", "sub-to-file", "file-to-sub"});
    fs::create_directory(rig.worktree() / "sub-new");
    fs::create_directory(rig.worktree() / "file-to-sub");
  }
  write(rig.registration() / "townkeeper-move", note);
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(mentions(done->healed, "interrupted"));
  CHECK_FALSE(done->left_dirty);
  CHECK(done->commit == rig.after);
  CHECK(flaws_of(rig, rig.after) == "");
  CHECK_FALSE(fs::exists(rig.registration() / "townkeeper-move"));
}

TEST_CASE("a move that died after its index, its branch or its HEAD is completed") {
  worktree_rig rig;
  const auto before = rig.commit("work", {{"a", tree_path::file("1\n")}, {"b", tree_path::file("1\n")}});
  rig.restored();
  const auto after = rig.commit("work", {{"a", tree_path::file("2\n")}, {"c", tree_path::file("1\n")}});
  rig.fetch({"work"});
  in(rig.worktree(), {"read-tree", "-u", "-m", before, after}); // files and index, HEAD where it was
  SECTION("after the index") {}
  SECTION("after the branch") {
    run_git(rig.repository(), {"update-ref", "refs/heads/work", after});
  }
  write(rig.registration() / "townkeeper-move", before + ' ' + after + " work\n");
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK_FALSE(done->left_dirty);
  CHECK(flaws_of(rig, after) == "");
}

TEST_CASE("a move that died and whose branch moved on once more ends at the newest commit") {
  moving_rig rig;
  rig.fetch({"work"});
  write(rig.registration() / "townkeeper-move", rig.before + ' ' + rig.after + " work\n");
  const auto newest = rig.commit("work", {{"a", tree_path::file("newest\n")}});
  CHECK(rig.restored().commit == newest);
  CHECK(flaws_of(rig, newest) == "");
}

TEST_CASE("a move that died is not completed over work done since") {
  moving_rig rig;
  rig.fetch({"work"});
  write(rig.registration() / "townkeeper-move", rig.before + ' ' + rig.after + " work\n");
  write(rig.worktree() / "changed", "mine\n");
  const auto done = test::restore(rig.job());
  REQUIRE(done);
  CHECK(done->left_dirty);
  CHECK(mentions(done->reported, "changed"));
  CHECK(read(rig.worktree() / "changed") == "mine\n");
}

TEST_CASE("a note of a move that was cut short means that nothing had been touched") {
  moving_rig rig;
  write(rig.registration() / "townkeeper-move", "0123");
  CHECK_FALSE(rig.restored().left_dirty);
  CHECK(flaws_of(rig, rig.after) == "");
}
