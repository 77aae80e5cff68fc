// The worktree of an agent that left the town: removed when nothing is lost with it, kept with the reason otherwise.
#include <catch2/catch_test_macros.hpp>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

struct leaving_rig : worktree_rig {
  std::string tip = commit("work", {{".gitignore", tree_path::file("*.o\n")}, {"a", tree_path::file("1\n")}});
  leaving_rig() { restored(); }

  void commit_mine() const {
    write(worktree() / "a", "mine\n");
    in(worktree(), {"commit", "-q", "-am", "mine"});
  }

  /// Why it is kept; empty: it was removed, with all that belongs to it.
  std::string removal() const {
    const auto done = git::remove_worktree(job());
    REQUIRE(done);
    CHECK(done->removed == done->kept_because.empty());
    CHECK(fs::exists(worktree()) != done->removed);
    CHECK(fs::exists(registration()) != done->removed);
    return done->kept_because;
  }
};

} // namespace

TEST_CASE("a clean worktree whose commits are on the remote is removed with its registration") {
  leaving_rig rig;
  SECTION("untouched") {}
  SECTION("with ignored files") {
    write(rig.worktree() / "x.o", "object");
  }
  SECTION("with commits it pushed") {
    rig.commit_mine();
    in(rig.worktree(), {"push", "-q"});
    rig.fetch({"work"});
  }
  SECTION("behind the remote") {
    rig.commit("work", {{"a", tree_path::file("2\n")}});
    rig.fetch({"work"});
  }
  SECTION("with a broken registration") {
    fs::remove(rig.registration() / "gitdir");
  }
  SECTION("with a lost index") {
    fs::remove(rig.registration() / "index");
  }
  CHECK(rig.removal() == "");
  CHECK(run_git(rig.repository(), {"worktree", "list", "--porcelain"}).find("a1") == std::string::npos);
  CHECK(run_git(rig.repository(), {"fsck", "--no-dangling"}) == "");
  CHECK_FALSE(id_of(rig.repository(), "refs/heads/work").empty());
}

TEST_CASE("a worktree with anything unsaved is kept whole, with the reason") {
  leaving_rig rig;
  std::string why;
  SECTION("modified files") {
    write(rig.worktree() / "a", "mine\n");
    why = "1 modified or deleted file";
  }
  SECTION("staged changes") {
    write(rig.worktree() / "a", "mine\n");
    in(rig.worktree(), {"add", "a"});
    why = "1 staged change";
  }
  SECTION("untracked files") {
    write(rig.worktree() / "new", "mine\n");
    write(rig.worktree() / "new2", "mine\n");
    why = "2 untracked paths";
  }
  SECTION("commits") {
    rig.commit_mine();
    why = "1 commit that origin lacks";
  }
  SECTION("commits on a detached HEAD") {
    in(rig.worktree(), {"checkout", "-q", "--detach"});
    rig.commit_mine();
    why = "1 commit that origin lacks";
  }
  SECTION("a merge in progress") {
    rig.commit("other", {{"b", tree_path::file("1\n")}});
    rig.fetch({"work", "other"});
    in(rig.worktree(), {"merge", "-q", "--no-commit", "--no-ff", "-s", "ours", "origin/other"});
    why = "a merge in progress";
  }
  const auto files = traces(rig.worktree());
  CHECK(rig.removal() == why);
  CHECK(traces(rig.worktree()) == files);
}

TEST_CASE("a worktree with checked-out submodules is kept, for they may hold work of their own") {
  leaving_rig rig;
  rig.commit("work", {{"lib", tree_path::submodule(id_of(rig.remote(), "main"))}});
  rig.restored();
  fs::remove(rig.worktree() / "lib");
  run_git(rig.workspace(), {"clone", "-q", rig.remote(), rig.worktree() / "lib"});
  CHECK(rig.removal().find("lib") != std::string::npos);
}

TEST_CASE("removing what is not there, or only half, succeeds") {
  leaving_rig rig;
  SECTION("no directory") {
    fs::remove_all(rig.worktree());
  }
  SECTION("no registration") {
    fs::remove_all(rig.registration());
  }
  SECTION("neither") {
    fs::remove_all(rig.worktree());
    fs::remove_all(rig.registration());
  }
  CHECK(rig.removal() == "");
}

TEST_CASE("a registration without directory that alone knows of commits is kept") {
  leaving_rig rig;
  in(rig.worktree(), {"checkout", "-q", "--detach"});
  rig.commit_mine();
  fs::remove_all(rig.worktree());
  const auto done = git::remove_worktree(rig.job());
  REQUIRE(done);
  CHECK_FALSE(done->removed);
  CHECK_FALSE(done->kept_because.empty());
  CHECK(fs::exists(rig.registration() / "HEAD"));
}

TEST_CASE("removing one agent's worktree leaves the others' alone") {
  leaving_rig rig;
  const auto other = rig.commit("other", {{"b", tree_path::file("1\n")}});
  rig.restored("other", "a2");
  const auto files = traces(rig.worktree("a2"));
  CHECK(rig.removal() == "");
  CHECK(traces(rig.worktree("a2")) == files);
  CHECK(flaws_of(rig, other, "other", "a2") == "");
}
