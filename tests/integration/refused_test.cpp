#include "scenario.hpp"

#include <fstream>

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

void put_hook(const std::filesystem::path& repository, const std::string& name, const std::string& script) {
  std::filesystem::create_directories(repository / "hooks");
  std::ofstream{repository / "hooks" / name, std::ios::trunc} << "#!/bin/sh\n" << script;
  std::filesystem::permissions(repository / "hooks" / name, std::filesystem::perms::all);
}

double unsaved_age(const test::container& box) {
  const auto health = box.health();
  return health["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble();
}

} // namespace

TEST_CASE("a push that is refused: the age grows, the reason is shown, nothing is dropped, and it heals") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  const auto repository = server.repository_path("api");
  for (const auto* agent : {"ada", "bob"}) {
    const auto branch = std::string{"work/"} + agent;
    server.commit("api", {branch, {{"begin", "begin\n"}}, {}, "begin", "main"});
  }
  admin.put_rig("api", server.url("api"));
  for (const auto* agent : {"ada", "bob"})
    admin.put_agent("api", agent, std::string{"work/"} + agent);
  test::container box{container_for(town, configuration({}, {}, {}, fast_saves))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto saved = [&](const std::string& agent, const std::string& path) {
    return test::try_git(repository, {"cat-file", "-e", "refs/townkeeper/" + town_id + "/" + agent + "/1:" + path})
               .status == 0;
  };

  SECTION("the namespace is refused to one agent: the other is saved all the same") {
    put_hook(repository, "update",
             "case $1 in refs/townkeeper/*/ada/*) echo 'no such namespace here'; exit 1;; esac\n");
    std::ofstream{box.worktree("api", "ada") / "new"} << "work\n";
    std::ofstream{box.worktree("api", "bob") / "new"} << "work\n";
    CHECK(test::wait_until([&] { return saved("bob", "untracked/new"); }));
    CHECK(test::wait_until([&] { return !last_error(box, "ada").empty(); }));
    CHECK(last_error(box, "bob").empty());
    const auto age = unsaved_age(box);
    CHECK(test::wait_until([&] { return unsaved_age(box) > age + 0.5; }));
    CHECK_FALSE(saved("ada", "worktree"));
    put_hook(repository, "update", "exit 0\n");
    // The content may have been refused a moment ago, and saved without the untracked file since: the next change
    // brings it.
    std::ofstream{box.worktree("api", "ada") / "newer"} << "work\n";
    CHECK(test::wait_until(
        [&] { return saved("ada", "untracked/new") && saved("ada", "untracked/newer") && unsaved_age(box) == 0; }));
    CHECK(last_error(box, "ada").empty());
  }
  SECTION("the content is refused: it is saved without untracked files, and they are listed as left out") {
    put_hook(repository, "update",
             "git ls-tree -r --name-only \"$3:untracked\" 2>/dev/null | grep -q secret && { echo 'a secret was found'; "
             "exit 1; }\nexit 0\n");
    std::ofstream{box.worktree("api", "ada") / "begin"} << "edited\n";
    std::ofstream{box.worktree("api", "ada") / "secret"} << "key\n";
    CHECK(test::wait_until([&] { return saved("ada", "worktree/begin") && !saved("ada", "untracked/secret"); }));
    const auto meta =
        test::run_git(repository, {"cat-file", "blob", "refs/townkeeper/" + town_id + "/ada/1:meta.json"});
    CHECK(meta.find("secret") != std::string::npos);
    CHECK(std::filesystem::exists(box.worktree("api", "ada") / "secret"));
  }
  SECTION("all of it is refused: the drain says so, and the next one saves it from the warm disk") {
    put_hook(repository, "pre-receive", "echo 'quota exceeded'; exit 1\n");
    std::ofstream{box.worktree("api", "ada") / "begin"} << "edited\n";
    CHECK(test::wait_until([&] { return last_error(box, "ada").find("quota") != std::string::npos; }));
    box.terminate();
    CHECK(box.wait_for_exit() == 75);
    std::filesystem::remove(repository / "hooks" / "pre-receive");
    box.start();
    REQUIRE(box.wait_for_phase("ready"));
    CHECK(test::wait_until([&] {
      return test::try_git(repository, {"cat-file", "blob", "refs/townkeeper/" + town_id + "/ada/2:worktree/begin"})
                 .out == "edited\n";
    }));
  }
}
