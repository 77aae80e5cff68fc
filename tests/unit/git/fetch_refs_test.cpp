// Which refs one fetch brings, and what the repository looks like afterwards.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include "rig_disk.hpp"
#include "tests/support/remote.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

std::size_t posts(const remote& server) {
  const auto all = server.requests();
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [](const std::string& line) { return line.starts_with("POST "); }));
}

std::string head_of(const rig_disk& disk) {
  return run_git(disk.repository(), {"symbolic-ref", "HEAD"});
}

} // namespace

TEST_CASE("one fetch brings the default branch and the wanted ones, with full history, and nothing else") {
  remote server;
  const auto first = server.make_repository("app");
  const auto second = server.commit("app", {.branch = "main", .files = {{"a", "1"}}});
  const auto wanted = server.commit("app", {.branch = "gt/toast/1", .files = {{"b", "2"}}, .start = "main"});
  const auto unwanted = server.commit("app", {.branch = "gt/other/1", .files = {{"c", "1"}}, .start = "main"});
  run_git(server.repository_path("app"), {"tag", "v1", unwanted});
  run_git(server.repository_path("app"), {"tag", "v2", second});

  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app"), {"gt/toast/1"}));
  REQUIRE(done);
  CHECK(done->repository == disk.repository());
  CHECK(done->tips == std::map<std::string, std::string>{{"main", second}, {"gt/toast/1", wanted}});
  CHECK_FALSE(done->remote_empty);
  CHECK_FALSE(done->default_branch_gone);
  CHECK(done->healed.empty());
  CHECK(done->fetched_objects == 9); // three commits, three trees, three files
  CHECK(done->fetched_bytes > 0);
  CHECK(posts(server) == 1);

  CHECK(ref_names(disk.repository()) ==
        std::vector<std::string>{"refs/heads/main", "refs/remotes/origin/gt/toast/1", "refs/remotes/origin/main"});
  CHECK(head_of(disk) == "refs/heads/main");
  CHECK(id_of(disk.repository(), "refs/heads/main") == second);
  CHECK(id_of(disk.repository(), "refs/remotes/origin/gt/toast/1") == wanted);
  CHECK(id_of(disk.repository(), "refs/heads/main~1") == first);
  CHECK(id_of(disk.repository(), unwanted + "^{commit}").empty());
  CHECK(is_sound(disk.repository()));
}

TEST_CASE("a wanted branch that the remote lacks is absent from the tips and fails nobody") {
  remote server;
  const auto tip = server.make_repository("app");
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app"), {"gt/never/pushed", "not a..branch", ""}));
  REQUIRE(done);
  CHECK(done->tips == std::map<std::string, std::string>{{"main", tip}});
}

TEST_CASE("an empty repository is restored as one, and filled when the remote has something") {
  remote server;
  server.make_repository("app", {.empty = true});
  const rig_disk disk;
  const auto job = disk.job(server.url("app"), {"gt/x"});
  const auto before = server.requests().size();
  auto done = restore(job);
  REQUIRE(done);
  CHECK(done->remote_empty);
  CHECK(done->tips.empty());
  CHECK_FALSE(done->default_branch_gone);
  CHECK(head_of(disk) == "refs/heads/main");
  CHECK(ref_names(disk.repository()).empty());
  CHECK(server.requests().size() == before + 1);
  CHECK(ref_names(server.repository_path("app")).empty()); // the remote was not written to

  const auto tip = server.commit("app", {.branch = "main", .files = {{"a", "1"}}});
  done = restore(job);
  REQUIRE(done);
  CHECK(done->tips.at("main") == tip);
  CHECK(id_of(disk.repository(), "refs/heads/main") == tip);
}

TEST_CASE("a repository that became empty keeps what the disk has") {
  remote server;
  const auto tip = server.make_repository("app");
  const rig_disk disk;
  const auto job = disk.job(server.url("app"));
  REQUIRE(restore(job));
  server.delete_branch("app", "main");
  const auto done = restore(job);
  REQUIRE(done);
  CHECK(done->remote_empty);
  CHECK(id_of(disk.repository(), "refs/heads/main") == tip);
  CHECK(ref_names(disk.repository()) == std::vector<std::string>{"refs/heads/main"});
}

TEST_CASE("a remote whose HEAD is unborn gives its other branches") {
  remote server;
  const auto tip = server.make_repository("app");
  server.set_default_branch("app", "nowhere");
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app")));
  REQUIRE(done);
  CHECK(done->tips.at("main") == tip);
}

TEST_CASE("a default branch that is not on the remote is said, and the wanted branches come nevertheless") {
  remote server;
  server.make_repository("app", {.default_branch = "trunk"});
  const auto wanted = server.commit("app", {.branch = "gt/x", .files = {{"a", "1"}}, .start = "trunk"});
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app"), {"gt/x"}));
  REQUIRE(done);
  CHECK(done->default_branch_gone == "main");
  CHECK_FALSE(done->remote_empty);
  CHECK(done->tips == std::map<std::string, std::string>{{"gt/x", wanted}});
  CHECK(ref_names(disk.repository()) == std::vector<std::string>{"refs/remotes/origin/gt/x"});
}

TEST_CASE("a default branch that was renamed takes the place of the old one") {
  remote server;
  const auto old_tip = server.make_repository("app");
  const rig_disk disk;
  auto job = disk.job(server.url("app"));
  REQUIRE(restore(job));
  const std::string renamed = GENERATE("trunk", "main/v2");
  run_git(server.repository_path("app"), {"branch", "-m", "main", renamed});
  const auto new_tip = server.commit("app", {.branch = renamed, .files = {{"a", "1"}}});
  job.default_branch = renamed;
  const auto done = restore(job);
  REQUIRE(done);
  CHECK(done->tips == std::map<std::string, std::string>{{renamed, new_tip}});
  CHECK(head_of(disk) == "refs/heads/" + renamed);
  CHECK(id_of(disk.repository(), "refs/heads/" + renamed) == new_tip);
  CHECK(id_of(disk.repository(), "refs/remotes/origin/main").empty());
  CHECK_FALSE(id_of(disk.repository(), old_tip + "^{commit}").empty());
}

TEST_CASE("branches that took the place of a directory of branches, or the other way round, are fetched") {
  remote server;
  server.make_repository("app");
  const bool deeper = GENERATE(true, false);
  const std::string before = deeper ? "gt/x" : "gt/x/y", after = deeper ? "gt/x/y" : "gt/x";
  server.commit("app", {.branch = before, .files = {{"a", "1"}}, .start = "main"});
  const rig_disk disk;
  auto job = disk.job(server.url("app"), {before});
  REQUIRE(restore(job));
  const bool packed = GENERATE(true, false);
  // Refs of the first restore are packed; ones that git moved later are files.
  if (!packed) run_git(disk.repository(), {"update-ref", "refs/remotes/origin/" + before, "refs/heads/main"});
  server.delete_branch("app", before);
  const auto tip = server.commit("app", {.branch = after, .files = {{"a", "2"}}, .start = "main"});
  job.branches = {after};
  const auto done = restore(job);
  REQUIRE(done);
  CHECK(done->tips.at(after) == tip);
  CHECK(id_of(disk.repository(), "refs/remotes/origin/" + after) == tip);
  CHECK(id_of(disk.repository(), "refs/remotes/origin/" + before).empty());
}

TEST_CASE("branch names git allows are restored as they are") {
  const std::vector<std::string> names{"a/b/c/d/e",
                                       "v1.2.3",
                                       "gt/\xC3\xA4\xC3\xB6\xE6\xBC\xA2\xF0\x9F\x9A\x80",
                                       "gt/latin1-\xE4",
                                       "a__b",
                                       "#7",
                                       "it's",
                                       "a\"b",
                                       "100%",
                                       "x=y",
                                       "HEAD2",
                                       "UPPER/lower",
                                       "a+b;c&d",
                                       "$(x)",
                                       "!",
                                       "a,b",
                                       "a@b",
                                       "(x)",
                                       "origin/main",
                                       "refs/heads/main"};
  remote server;
  server.make_repository("app");
  std::map<std::string, std::string> tips;
  for (const auto& name : names)
    tips[name] = server.commit("app", {.branch = name, .files = {{"a", name}}, .start = "refs/heads/main"});
  const rig_disk disk;
  const auto job = disk.job(server.url("app"), names);
  const auto done = restore(job);
  REQUIRE(done);
  const auto refs = refs_of(disk.repository());
  for (const auto& name : names) {
    INFO(name);
    CHECK(done->tips.at(name) == tips[name]);
    CHECK(refs.at("refs/remotes/origin/" + name) == tips[name]);
    CHECK(run_git(disk.repository(), {"config", "branch." + name + ".merge"}) == "refs/heads/" + name);
  }
  const auto again = restore(job);
  REQUIRE(again);
  CHECK(again->tips == done->tips);
  CHECK(again->fetched_objects == 0);
}

TEST_CASE("a branch name of 200 characters is restored") {
  remote server;
  server.make_repository("app");
  const std::string branch = "gt/" + std::string(197, 'x');
  const auto tip = server.commit("app", {.branch = branch, .files = {{"a", "1"}}, .start = "main"});
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app"), {branch}));
  REQUIRE(done);
  CHECK(done->tips.at(branch) == tip);
}

TEST_CASE("a tag of a branch's name changes nothing for the branch") {
  remote server;
  const auto first = server.make_repository("app");
  const auto tip = server.commit("app", {.branch = "gt/x", .files = {{"a", "1"}}, .start = "main"});
  run_git(server.repository_path("app"), {"tag", "gt/x", first});
  run_git(server.repository_path("app"), {"tag", "main", tip});
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app"), {"gt/x"}));
  REQUIRE(done);
  CHECK(done->tips == std::map<std::string, std::string>{{"gt/x", tip}, {"main", first}});
  CHECK(id_of(disk.repository(), "refs/remotes/origin/gt/x") == tip);
  CHECK(id_of(disk.repository(), "refs/tags/gt/x").empty());
}

TEST_CASE("branches `a/b` and `a__b` do not get into each other's way") {
  remote server;
  server.make_repository("app");
  const auto one = server.commit("app", {.branch = "a/b", .files = {{"a", "1"}}, .start = "main"});
  const auto other = server.commit("app", {.branch = "a__b", .files = {{"a", "2"}}, .start = "main"});
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app"), {"a/b", "a__b"}));
  REQUIRE(done);
  CHECK(done->tips.at("a/b") == one);
  CHECK(done->tips.at("a__b") == other);
}

TEST_CASE("a default branch git would not take is refused before the remote is asked") {
  remote server;
  server.make_repository("app");
  const rig_disk disk;
  auto job = disk.job(server.url("app"));
  for (const std::string name : {"", "-main", "a..b", "a b", "refs/heads/../../x", "a.lock", "@{-1}", "a\nb"}) {
    INFO(name);
    job.default_branch = name;
    const auto done = restore(job);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::invalid_argument);
  }
  CHECK(server.requests().empty());
  CHECK_FALSE(std::filesystem::exists(disk.rig()));
}

TEST_CASE("a local repository can be a remote where files are allowed") {
  remote server;
  const auto tip = server.make_repository("app");
  const rig_disk disk;
  auto job = disk.job("file://" + server.repository_path("app").string());
  const auto refused = restore(job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::invalid_argument);
  CHECK_FALSE(std::filesystem::exists(disk.rig()));
  job.urls.allow_file = true;
  const auto done = restore(job);
  REQUIRE(done);
  CHECK(done->tips.at("main") == tip);
  CHECK(is_sound(disk.repository()));
}
