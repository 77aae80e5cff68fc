// What a restored repository gives to the git command line an agent uses.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "rig_disk.hpp"
#include "tests/support/remote.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

std::string config(const fs::path& repository, const std::string& key) {
  return run_git(repository, {"config", "--local", "--get-all", key});
}

/// A worktree of the rig's repository made by git itself, on a branch that follows origin's.
fs::path add_worktree(const rig_disk& disk, const std::string& branch) {
  const auto path = disk.rig() / "worktrees" / "a1";
  run_git(disk.repository(),
          {"worktree", "add", "-q", "--no-track", "-b", branch, path, "refs/remotes/origin/" + branch});
  return path;
}

} // namespace

TEST_CASE("the repository's configuration is that of a clone, without automatic maintenance") {
  remote server;
  server.make_repository("app");
  server.commit("app", {.branch = "gt/x", .files = {{"a", "1"}}, .start = "main"});
  const rig_disk disk;
  REQUIRE(restore(disk.job(server.url("app"), {"gt/x"})));
  CHECK(config(disk.repository(), "core.bare") == "true");
  CHECK(config(disk.repository(), "core.repositoryformatversion") == "0");
  CHECK(config(disk.repository(), "gc.auto") == "0");
  CHECK(config(disk.repository(), "maintenance.auto") == "false");
  CHECK(config(disk.repository(), "push.autoSetupRemote") == "true");
  CHECK(config(disk.repository(), "remote.origin.url") == server.url("app"));
  CHECK(config(disk.repository(), "remote.origin.fetch") == "+refs/heads/*:refs/remotes/origin/*");
  for (const std::string branch : {"main", "gt/x"}) {
    CHECK(config(disk.repository(), "branch." + branch + ".remote") == "origin");
    CHECK(config(disk.repository(), "branch." + branch + ".merge") == "refs/heads/" + branch);
  }
}

TEST_CASE("a plain fetch, pull and push work in a worktree of the repository") {
  remote server;
  server.make_repository("app");
  server.commit("app", {.branch = "gt/x", .files = {{"a", "1"}}, .start = "main"});
  const rig_disk disk;
  REQUIRE(restore(disk.job(server.url("app"), {"gt/x"})));
  const auto worktree = add_worktree(disk, "gt/x");

  const auto theirs = server.commit("app", {.branch = "gt/x", .files = {{"a", "2"}}});
  const auto other = server.commit("app", {.branch = "gt/other", .files = {{"b", "1"}}, .start = "main"});
  run_git(worktree, {"fetch", "-q"});
  CHECK(id_of(worktree, "refs/remotes/origin/gt/other") == other);
  run_git(worktree, {"pull", "-q", "--ff-only"});
  CHECK(id_of(worktree, "HEAD") == theirs);

  run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "mine"});
  run_git(worktree, {"push", "-q"});
  CHECK(server.tip("app", "gt/x") == id_of(worktree, "HEAD"));

  run_git(worktree, {"checkout", "-q", "-b", "gt/new"});
  run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "a branch of its own"});
  run_git(worktree, {"push", "-q"});
  CHECK(server.tip("app", "gt/new") == id_of(worktree, "HEAD"));
}

TEST_CASE("a branch that is wanted later gets its upstream, and an agent's own setting stays") {
  remote server;
  server.make_repository("app");
  server.commit("app", {.branch = "gt/x", .files = {{"a", "1"}}, .start = "main"});
  const rig_disk disk;
  auto job = disk.job(server.url("app"));
  REQUIRE(restore(job));
  run_git(disk.repository(), {"config", "branch.gt/y.remote", "elsewhere"});
  run_git(disk.repository(), {"config", "user.name", "An Agent"});
  job.branches = {"gt/x", "gt/y"};
  REQUIRE(restore(job));
  CHECK(config(disk.repository(), "branch.gt/x.remote") == "origin");
  CHECK(config(disk.repository(), "branch.gt/x.merge") == "refs/heads/gt/x");
  CHECK(config(disk.repository(), "branch.gt/y.remote") == "elsewhere");
  CHECK(config(disk.repository(), "user.name") == "An Agent");
}

TEST_CASE("the default branch follows the remote while nobody has it checked out") {
  remote server;
  server.make_repository("app");
  const rig_disk disk;
  const auto job = disk.job(server.url("app"));
  REQUIRE(restore(job));
  SECTION("forward") {
    const auto tip = server.commit("app", {.branch = "main", .files = {{"a", "1"}}});
    REQUIRE(restore(job));
    CHECK(id_of(disk.repository(), "refs/heads/main") == tip);
  }
  SECTION("after a force-push") {
    server.commit("app", {.branch = "main", .files = {{"a", "1"}}});
    REQUIRE(restore(job));
    server.delete_branch("app", "main");
    const auto tip = server.commit("app", {.branch = "main", .files = {{"b", "1"}}});
    REQUIRE(restore(job));
    CHECK(id_of(disk.repository(), "refs/heads/main") == tip);
  }
  SECTION("but not while a worktree is on it") {
    const auto before = server.tip("app", "main");
    run_git(disk.repository(), {"worktree", "add", "-q", disk.rig() / "worktrees" / "a1", "main"});
    const auto tip = server.commit("app", {.branch = "main", .files = {{"a", "1"}}});
    REQUIRE(restore(job));
    CHECK(id_of(disk.repository(), "refs/heads/main") == before);
    CHECK(id_of(disk.repository(), "refs/remotes/origin/main") == tip);
  }
  SECTION("and not over commits that only the disk has") {
    const auto mine = commit_into(disk.repository(), {.branch = "main", .files = {{"mine", "1"}}});
    server.commit("app", {.branch = "main", .files = {{"a", "1"}}});
    REQUIRE(restore(job));
    CHECK(id_of(disk.repository(), "refs/heads/main") == mine);
  }
}

TEST_CASE("another URL gets a repository of its own and leaves the older one alone") {
  remote server;
  const auto one = server.make_repository("one");
  const auto two = server.make_repository("two");
  REQUIRE(one != two);
  const rig_disk disk;
  const auto first = restore(disk.job(server.url("one")));
  REQUIRE(first);
  const auto before = traces(first->repository);
  const auto second = restore(disk.job(server.url("two")));
  REQUIRE(second);
  CHECK(second->repository != first->repository);
  CHECK(second->repository.parent_path() == disk.rig());
  CHECK(id_of(second->repository, "refs/heads/main") == two);
  CHECK(changes_since(before, first->repository) == "");
  const auto back = restore(disk.job(server.url("one")));
  REQUIRE(back);
  CHECK(back->repository == first->repository);
}

TEST_CASE("a rig's directory that is a symbolic link, or not absolute, is refused") {
  remote server;
  server.make_repository("app");
  const rig_disk disk;
  auto job = disk.job(server.url("app"));
  SECTION("a link in the place of the rig") {
    fs::create_directories(disk.workspace() / "elsewhere");
    fs::create_directories(disk.rig().parent_path());
    fs::create_directory_symlink(disk.workspace() / "elsewhere", disk.rig());
  }
  SECTION("a link in the place of the repository") {
    fs::create_directories(disk.workspace() / "elsewhere");
    fs::create_directories(disk.rig());
    fs::create_directory_symlink(disk.workspace() / "elsewhere", disk.repository());
  }
  SECTION("a relative path") {
    job.directory = "rigs/r1";
  }
  const auto done = restore(job);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::invalid_argument);
  CHECK(server.requests().empty());
  if (fs::exists(disk.workspace() / "elsewhere")) CHECK(fs::is_empty(disk.workspace() / "elsewhere"));
}

TEST_CASE("a file in the place of the rig's directory is an error of the disk or the path, not a crash") {
  remote server;
  server.make_repository("app");
  const rig_disk disk;
  write(disk.rig(), "in the way");
  const auto done = restore(disk.job(server.url("app")));
  REQUIRE_FALSE(done);
  CHECK((done.error().code == error_code::disk || done.error().code == error_code::invalid_argument));
  CHECK(read(disk.rig()) == "in the way");
}
