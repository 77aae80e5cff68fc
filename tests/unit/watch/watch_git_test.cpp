#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "watched_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

struct step {
  std::vector<std::string> arguments;
  bool refs; ///< a change of the whole rig
};

} // namespace

TEST_CASE("what git's command line does in a worktree is seen", "[watch]") {
  watched_rig rig;
  event_log log;
  const auto handle = rig.watch(log);
  rig.write("src/a.txt", "edited\n");
  rig.write("new.txt", "new\n");
  // Each of these changes no file of the tree, or an index that is not in it.
  for (const auto& [arguments, refs] : std::vector<step>{
           {{"add", "src/a.txt"}, false},
           {{"reset", "-q"}, false},
           {{"add", "-N", "new.txt"}, false},
           {{"update-index", "--assume-unchanged", "README"}, false},
           {{"commit", "-q", "-a", "-m", "one"}, false},
           {{"commit", "-q", "--amend", "-m", "two"}, false},
           {{"reset", "-q", "--soft", "HEAD~1"}, false},
           {{"stash", "-q"}, true},
           {{"stash", "apply", "-q"}, false},
           {{"stash", "push", "-q", "-m", "another"}, true},
           {{"stash", "drop", "-q", "stash@{1}"}, true},
           {{"stash", "pop", "-q"}, true},
           {{"commit", "-q", "-a", "-m", "three"}, false},
           {{"tag", "v1"}, true},
           {{"tag", "-d", "v1"}, true},
           {{"branch", "mine"}, true},
           {{"branch", "deep/er/mine"}, true},
           {{"branch", "-q", "-D", "deep/er/mine"}, true},
           {{"update-ref", "refs/original/x", "HEAD"}, true},
           {{"pack-refs", "--all"}, true},
           {{"checkout", "-q", "mine"}, false},
           {{"checkout", "-q", "--detach"}, false},
           {{"commit", "-q", "--allow-empty", "-m", "detached"}, false},
           {{"checkout", "-q", "agent/a1"}, false},
           {{"mv", "README", "READ"}, false},
           {{"rm", "-q", "-r", "src/deep"}, false},
           {{"update-ref", "REVERT_HEAD", "HEAD"}, false},
       }) {
    INFO("git " << arguments.front() << " " << arguments[1]);
    const auto told = rig.told(log, [&, &command = arguments] { rig.git(command); });
    REQUIRE(told);
    CHECK(told->refs == refs);
    CHECK(!told->lost);
  }
}

TEST_CASE("each step of an operation in progress is seen", "[watch]") {
  watched_rig rig;
  event_log log;
  rig.git({"checkout", "-q", "-b", "other"});
  rig.write("src/a.txt", "theirs\n");
  rig.git({"commit", "-q", "-a", "-m", "theirs"});
  rig.git({"checkout", "-q", "agent/a1"});
  rig.write("src/a.txt", "ours\n");
  rig.git({"commit", "-q", "-a", "-m", "ours"});
  const auto handle = rig.watch(log);
  const auto operation = GENERATE(as<std::string>(), "merge", "rebase", "cherry-pick");
  INFO(operation);
  CHECK(rig.told(log, [&] { CHECK(try_git(rig.worktree(), {operation, "other"}).status != 0); }));
  if (operation == "rebase") {
    REQUIRE(std::filesystem::exists(rig.admin() / "rebase-merge"));
    // Nothing but a file below the admin directory.
    CHECK(rig.told(log, [&] { write_file(rig.admin() / "rebase-merge" / "message", "another\n"); }));
  }
  CHECK(rig.told(log, [&] { rig.git({operation, "--abort"}); }));
}

TEST_CASE("what is not the agent's work is no change", "[watch]") {
  watched_rig rig;
  event_log log;
  rig.write("build/old.txt", "old\n");
  run_git(rig.scratch(), {"clone", "-q", "--bare", rig.repository().string(), "origin.git"});
  const auto origin = (rig.scratch() / "origin.git").string();
  rig.git({"config", "remote.origin.url", origin});
  rig.git({"config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"});
  rig.git({"fetch", "-q", "origin"});
  const auto handle = rig.watch(log);

  SECTION("a fetch") {
    commit_into(origin, {.branch = "main", .files = {{"README", "more\n"}}});
    commit_into(origin, {.branch = "a/new/one", .files = {{"README", "more\n"}}});
    CHECK(!rig.told(log, [&] { rig.git({"fetch", "-q", "origin"}); }));
    CHECK(!rig.git({"rev-parse", "origin/a/new/one"}).empty());
  }
  SECTION("our notes, refs and locks") {
    CHECK(!rig.told(log, [&] {
      write_file(rig.repository() / "townkeeper/recovery/a1/objects/12/34", "object");
      write_file(rig.admin() / "townkeeper-point.lock", "1 2 3");
      std::filesystem::rename(rig.admin() / "townkeeper-point.lock", rig.admin() / "townkeeper-point");
      rig.git({"update-ref", "refs/townkeeper/town/a1/3", "HEAD"});
      rig.git({"update-ref", "refs/townkeeper-rig/x", "HEAD"});
      rig.git({"update-ref", "refs/remotes/origin/y", "HEAD"});
      write_file(rig.admin() / "index.lock", "");
      std::filesystem::remove(rig.admin() / "index.lock");
      write_file(rig.repository() / "packed-refs.lock", "");
      write_file(rig.repository() / "config.lock", "");
      write_file(rig.repository() / "objects/12/345", "");
    }));
  }
  SECTION("reading") {
    CHECK(!rig.told(log, [&] {
      rig.git({"--no-optional-locks", "status"}); // without that it may write the index
      rig.git({"--no-optional-locks", "diff", "HEAD"});
      rig.git({"log", "--all"});
      rig.git({"ls-files", "-s"});
    }));
  }
  SECTION("ignored directories") {
    CHECK(!rig.told(log, [&] {
      rig.write("build/old.txt", "newer\n");
      rig.write("build/a/b/c.txt", "new\n");
      std::filesystem::rename(rig.worktree() / "build", rig.scratch() / "build");
      std::filesystem::create_directories(rig.worktree() / "build/x/y");
    }));
  }
  // It is still watched.
  CHECK(rig.told(log, [&] { rig.write("src/a.txt", "edited\n"); }));
}

TEST_CASE("a branch is a change of the agent that owns it, any other of the whole rig", "[watch]") {
  watched_rig rig;
  rig.add_worktree("a2");
  event_log first, second;
  const auto one = rig.watch(first), two = rig.watch(second, "a2");
  rig.flush();
  const auto before_first = first.count(), before_second = second.count();

  rig.git({"commit", "-q", "--allow-empty", "-m", "mine"}, "a1");
  rig.flush();
  CHECK(first.count() > before_first);
  CHECK(!first.since(before_first).refs);
  CHECK(second.count() == before_second);

  const auto own = first.count();
  rig.git({"tag", "v1"}, "a1");
  rig.flush();
  CHECK(first.since(own).refs);
  CHECK(second.since(before_second).refs);
}
