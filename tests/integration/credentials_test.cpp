#include "scenario.hpp"
#include "tests/support/tls_front.hpp"

#include <catch2/generators/catch_generators.hpp>

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

/// Files below `root` that hold one of the words.
std::vector<std::string> holding(const std::filesystem::path& root, const std::vector<std::string>& words) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{
           root, std::filesystem::directory_options::skip_permission_denied}) {
    if (!entry.is_regular_file() || entry.is_symlink()) continue;
    const auto text = test::bytes_of(entry.path());
    for (const auto& word : words)
      if (text.find(word) != std::string::npos) found.push_back(entry.path().string());
  }
  return found;
}

/// argv and environment of every process but the daemon's own environment (it was given its tokens there).
std::vector<std::string> processes_showing(pid_t daemon, const std::vector<std::string>& words) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
    const auto pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    for (const auto* file : {"cmdline", "environ"}) {
      if (pid == std::to_string(daemon) && std::string_view{file} == "environ") continue;
      // This test and the town know the secrets by right.
      if (std::string_view{file} == "environ" &&
          test::bytes_of(entry.path() / "comm").find("worker.sh") == std::string::npos &&
          test::bytes_of(entry.path() / "cmdline").find("worker.sh") == std::string::npos)
        continue;
      const auto text = test::bytes_of(entry.path() / file);
      for (const auto& word : words)
        if (text.find(word) != std::string::npos) found.push_back(pid + "/" + file);
    }
  }
  return found;
}

} // namespace

TEST_CASE("a remote that demands a token: wake, the token is rotated while an agent runs, its next push succeeds, and "
          "no token is shown") {
  const std::string first = "first-git-token-0a1b2c3d", second = "second-git-token-4e5f6a7b";
  const std::string control = "control-token-8c9d0e1f2a3b";
  test::remote server;
  server.make_repository("api");
  server.commit("api", {"work", {{"a", "b"}}, {}, "begin", "main"});
  server.demand_token("api", "x-access-token", first);
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_git_token("api", first);
  admin.put_agent("api", "ada", "work", R"(,"headCommit":")" + server.tip("api", "work") + "\"");

  witness workers;
  auto options = container_for(town, configuration(workers.command()));
  options.environment["TOWNKEEPER_CONTROL_TOKEN"] = control;
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  workers.let_work(true);
  REQUIRE(test::wait_until([&] { return workers.all("ada", "step").size() >= 2; }));

  workers.let_work(false);
  server.demand_token("api", "x-access-token", second);
  admin.put_git_token("api", second);
  const auto steps = workers.all("ada", "step").size();
  const auto starts = workers.all("ada", "start").size();
  workers.let_work(true);
  REQUIRE(test::wait_until([&] { return workers.all("ada", "step").size() >= steps + 3; }));
  CHECK(workers.all("ada", "start").size() == starts); // the same process went on

  const std::vector<std::string> secrets{first, second, control, options.token, town.secret()};
  CHECK(processes_showing(box.process()->pid(), secrets) == std::vector<std::string>{});
  for (const auto* path : {"/health", "/metrics", "/readyz", "/agents/ada/status", "/nothing"}) {
    const auto answer = box.get(path);
    for (const auto& word : secrets)
      CHECK(answer.body.find(word) == std::string::npos);
  }
  workers.let_work(false);
  CHECK(holding(box.workspace(), secrets) == std::vector<std::string>{});
  for (const auto& word : secrets)
    CHECK(box.log().find(word) == std::string::npos);
}

TEST_CASE("a remote whose token is refused is failed with that reason, and others go on") {
  test::remote guarded, open;
  guarded.make_repository("api");
  open.make_repository("web");
  guarded.demand_token("api", "x-access-token", "the-right-token-1234");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", guarded.url("api"));
  admin.put_rig("web", open.url("web"));
  admin.put_git_token("api", "a-wrong-token-5678");
  admin.put_agent("api", "ada", "main");
  admin.put_agent("web", "bob", "main");
  test::container box{container_for(town, configuration())};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("degraded"));
  auto health = box.health();
  CHECK(text(agent_in(health, "bob"), "outcome") == "restored");
  CHECK(text(agent_in(health, "ada"), "outcome") == "failed");
  CHECK(text(agent_in(health, "ada"), "code") == "unauthorized");
  // It heals when the town has the right one.
  admin.put_git_token("api", "the-right-token-1234");
  CHECK(box.wait_for_phase("ready"));
}

TEST_CASE("remotes over https with a private CA are restored; an unknown CA and a wrong host name are refused with a "
          "clear error") {
  test::remote server{{test::certificate::good}};
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "main");
  const auto with_ca = configuration({}, R"(,"ca_file":")" + server.ca_file().string() + "\"");
  SECTION("the right CA") {
    test::container box{container_for(town, with_ca)};
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
    check_restored(box.worktree("api", "ada"), "main", server.tip("api", "main"));
  }
  SECTION("an unknown CA or a wrong host name") {
    server.set_certificate(GENERATE(test::certificate::unknown_ca, test::certificate::wrong_host));
    test::container box{container_for(town, with_ca)};
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("degraded"));
    const auto health = box.health();
    const auto* rig = rig_in(health, "api");
    REQUIRE(rig != nullptr);
    REQUIRE(rig->HasMember("error"));
    CHECK(text(agent_in(health, "ada"), "code") == "tls_failed");
    // Mended by whoever mends the certificate, without a restart.
    server.set_certificate(test::certificate::good);
    CHECK(box.wait_for_phase("ready"));
  }
}

TEST_CASE("a town over https with a private CA is spoken to; an unknown CA and a wrong host name are refused with a "
          "clear error") {
  test::remote server;
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "main");
  const auto plain = town.base_url();
  test::tls_front front{std::stoi(plain.substr(plain.rfind(':') + 1))};
  auto options = container_for(town, configuration({}, {}, R"(,"ca_file":")" + front.ca_file().string() + "\""));
  options.api_url = front.url();
  test::container box{options};
  SECTION("the right CA") {
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
  }
  SECTION("an unknown CA") {
    front.show_unknown_authority();
    box.start();
  }
  SECTION("a wrong host name") {
    front.show_wrong_host();
    box.start();
  }
  INFO(box.log());
  if (text(&box.health()["recovery"], "phase") != "ready") {
    REQUIRE(box.wait_for_health([](const rapidjson::Value& h) {
      return h["recovery"].HasMember("trouble") && text(&h["recovery"]["trouble"], "code") == "tls_failed";
    }));
    CHECK(box.get("/livez").status == 200);
    CHECK(box.get("/readyz").status == 503);
    // Mended at the town, without a restart here.
    front.show_good_certificate();
    REQUIRE(box.wait_for_phase("ready"));
  }
  check_restored(box.worktree("api", "ada"), "main", server.tip("api", "main"));
}
