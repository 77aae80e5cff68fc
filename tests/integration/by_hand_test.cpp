#include "scenario.hpp"

#include <fstream>

#include "tests/support/command.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

const std::string control_token = "an-operator-of-this-town";

test::command_outcome run_cli(std::vector<std::string> arguments, const std::filesystem::path& directory,
                              std::map<std::string, std::string> environment = {}) {
  arguments.insert(arguments.begin(), TOWNKEEPER_BINARY);
  test::command command{std::move(arguments), directory, test::git_environment()};
  command.unset_prefix = "TOWNKEEPER_";
  for (auto& [name, value] : environment)
    command.environment[name] = std::move(value);
  return test::try_run(command);
}

} // namespace

TEST_CASE("by hand: a snapshot on demand, found, shown, applied and exported in any clone, dropped; then a drain") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  server.commit("api", {"work/ada", {{"a", "1\n"}, {"b", "1\n"}}, {}, "begin", "main"});
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "work/ada", R"(,"headCommit":")" + server.tip("api", "work/ada") + "\"");
  auto options = container_for(town, configuration());
  options.environment["TOWNKEEPER_CONTROL_TOKEN"] = control_token;
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto worktree = box.worktree("api", "ada");
  test::run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "not pushed"});
  std::ofstream{worktree / "a"} << "staged\n";
  test::run_git(worktree, {"add", "a"});
  std::ofstream{worktree / "b"} << "edited\n";
  std::ofstream{worktree / "new"} << "untracked\n";

  const auto none = run_cli({"snapshot", "--workspace", box.workspace().string()}, "/");
  CHECK(none.status == 77);
  const auto saved = run_cli({"snapshot", "--workspace", box.workspace().string(), "--agent", "ada"}, "/",
                             {{"TOWNKEEPER_CONTROL_TOKEN", control_token}});
  INFO(saved.out << saved.err);
  REQUIRE(saved.status == 0);
  const auto ref = "refs/townkeeper/" + town_id + "/ada/1";
  REQUIRE_FALSE(test::id_of(server.repository_path("api"), ref).empty());

  const test::temp_dir dir{"by-hand"};
  const auto clone = dir.path() / "clone";
  test::run_git("/", {"clone", "-q", server.url("api"), clone.string()});
  const auto list = run_cli({"recovery", "list", "--fetch"}, clone);
  INFO(list.out << list.err);
  CHECK(list.status == 0);
  CHECK(list.out.find(ref) != std::string::npos);
  const auto shown = run_cli({"recovery", "show", "ada"}, clone);
  CHECK(shown.status == 0);
  CHECK(shown.out.find("new") != std::string::npos);

  std::ofstream{clone / "in-the-way"} << "of somebody\n";
  CHECK(run_cli({"recovery", "apply", "ada"}, clone).status == 75);
  CHECK(test::bytes_of(clone / "in-the-way") == "of somebody\n");
  std::filesystem::remove(clone / "in-the-way");
  const auto applied = run_cli({"recovery", "apply", "ada"}, clone);
  INFO(applied.out << applied.err);
  CHECK(applied.status == 0);
  CHECK(test::run_git(clone, {"status", "--porcelain"}) == test::run_git(worktree, {"status", "--porcelain"}));
  CHECK(test::run_git(clone, {"rev-parse", "HEAD"}) == test::run_git(worktree, {"rev-parse", "HEAD"}));
  CHECK(test::bytes_of(clone / "new") == "untracked\n");

  const auto exported = run_cli({"recovery", "export", "ada", (dir.path() / "out").string()}, clone);
  INFO(exported.out << exported.err);
  CHECK(exported.status == 0);
  CHECK(test::bytes_of(dir.path() / "out" / "files" / "b") == "edited\n");
  CHECK(test::try_git(clone, {"bundle", "verify", (dir.path() / "out" / "point.bundle").string()}).status == 0);

  CHECK(run_cli({"recovery", "show", "nobody"}, clone).status == 69);
  const std::map<std::string, std::string> operators{{"GASTOWN_API_URL", town.base_url()},
                                                     {"GASTOWN_TOWN_ID", town_id},
                                                     {"GASTOWN_ADMIN_TOKEN", town.mint(town_id, "admin")}};
  const auto dropped = run_cli({"recovery", "drop", "--rig", "api", "--agent", "ada", "--recovery"}, clone, operators);
  INFO(dropped.out << dropped.err);
  CHECK(dropped.status == 0);
  // The container lives and saves under it.
  CHECK(dropped.out.find("stays: " + ref) != std::string::npos);
  CHECK_FALSE(test::id_of(server.repository_path("api"), ref).empty());

  const auto drained = run_cli({"drain", "--wait", "--workspace", box.workspace().string()}, "/",
                               {{"TOWNKEEPER_CONTROL_TOKEN", control_token}});
  INFO(drained.out << drained.err);
  CHECK(drained.status == 0);
  CHECK(box.wait_for_exit() == 0);
}

TEST_CASE("by hand: a recovery point that is dropped is not found again at the next wake") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  const auto tip = server.commit("api", {"work/ada", {{"a", "1\n"}}, {}, "begin", "main"});
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "work/ada", R"(,"headCommit":")" + tip + "\"");
  test::container box{container_for(town, configuration())};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  std::ofstream{box.worktree("api", "ada") / "new"} << "to be dropped\n";
  box.terminate();
  REQUIRE(box.wait_for_exit() == 0);
  box.wipe_disk();
  const auto repository = server.repository_path("api");
  const auto ref = "refs/townkeeper/" + town_id + "/ada/1";
  REQUIRE_FALSE(test::id_of(repository, ref).empty());
  const auto kept = "refs/townkeeper/" + town_id + "/ada/kept/1-9";
  test::run_git(repository, {"update-ref", kept, ref});

  const test::temp_dir dir{"by-hand"};
  const auto clone = dir.path() / "clone";
  test::run_git("/", {"clone", "-q", server.url("api"), clone.string()});
  const std::map<std::string, std::string> operators{{"GASTOWN_API_URL", town.base_url()},
                                                     {"GASTOWN_TOWN_ID", town_id},
                                                     {"GASTOWN_ADMIN_TOKEN", town.mint(town_id, "admin")}};
  const std::vector<std::string> drop{"recovery", "drop", "--rig", "api", "--agent", "ada", "--recovery"};
  const auto check_dropped = [&] {
    const auto dropped = run_cli(drop, clone, operators);
    INFO(dropped.out << dropped.err);
    CHECK(dropped.status == 0);
    CHECK(test::id_of(repository, ref).empty());
    CHECK_FALSE(test::id_of(repository, kept).empty());
  };
  SECTION("while everything sleeps") {
    check_dropped();
    box.start();
    REQUIRE(box.wait_for_phase("ready"));
  }
  SECTION("one that cannot be read, while a container waits for it") {
    test::run_git(repository, {"update-ref", ref, "main"});
    box.start();
    REQUIRE(box.wait_for_phase("degraded"));
    check_dropped();
    REQUIRE(box.wait_for_phase("ready"));
  }
  SECTION("outside a clone the command says that a part is left to be done") {
    const auto dropped = run_cli(drop, dir.path(), operators);
    CHECK(dropped.status != 0);
    CHECK(dropped.err.find("found again at its next wake") != std::string::npos);
    check_dropped();
    box.start();
    REQUIRE(box.wait_for_phase("ready"));
  }
  const auto health = box.health();
  CHECK(text(agent_in(health, "ada"), "outcome") == "restored");
  CHECK_FALSE(std::filesystem::exists(box.worktree("api", "ada") / "new"));
}
