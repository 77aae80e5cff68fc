#include "cli/daemon_facts.hpp"

#include <catch2/catch_test_macros.hpp>

#include "cli/actor_configs.hpp"
#include "cli/environment.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;
using namespace std::chrono_literals;

TEST_CASE("the town is told where this container is reached") {
  config::config c;
  c.listen = {"0.0.0.0", 8080};
  CHECK(control_url(c, 8080) == "http://127.0.0.1:8080");
  c.listen = {"::", 0};
  CHECK(control_url(c, 4242) == "http://[::1]:4242");
  CHECK(listen_text(c.listen) == "[::]:0");
  c.listen = {"10.1.2.3", 0};
  CHECK(control_url(c, 4242) == "http://10.1.2.3:4242");
  c.control.url = "https://agents.example/c1";
  CHECK(control_url(c, 4242) == "https://agents.example/c1");
  CHECK(local_url(c.listen, 4242) == "http://10.1.2.3:4242");
}

TEST_CASE("every setting reaches the actor it is for") {
  daemon_facts facts;
  auto& c = facts.settings;
  c.workspace = "/w";
  c.town.id = "t1";
  c.town.heartbeat_interval = 7s;
  c.git.allow_file = true;
  c.git.allow_http = {"git.lan"};
  c.git.stall_timeout = 3s;
  c.git.attempt_timeout = 9s;
  c.git.token = secret("fallback-token");
  c.git.username = "oauth2";
  c.restore.attempts = 2;
  c.restore.network_jobs = 5;
  c.restore.disk_jobs = 0;
  c.supervision.intensity = 8;
  c.agents.stop_grace = 4s;
  c.agents.drain_limit = 5min;
  c.protect.push_interval = 7s;
  c.protect.quiet = 1s;
  c.protect.latest = 2s;
  c.protect.poll_interval = 3s;
  c.protect.file_limit_bytes = 1024;
  c.protect.point_limit_bytes = 2048;
  c.protect.untracked_limit = 9;
  c.protect.include = {".env"};
  c.protect.save_deadline = 6s;
  c.agents.command = {"sh"};
  c.http.max_connections = 12;
  facts.socket_directory = "/s";
  facts.warm_disk = true;

  const auto root = supervisor_settings(facts);
  CHECK(root.rigs_directory == "/w/rigs");
  CHECK(root.supervision.intensity == 8);
  CHECK(root.save_deadline == 6s);
  CHECK(root.drain_limit == 5min);
  CHECK(shutdown_limit(c) > root.drain_limit + 2 * root.save_deadline);
  CHECK(root.rig.town_id == "t1");
  CHECK(root.saver.town_id == "t1");
  CHECK(root.saver.seq);
  CHECK(root.saver.push_interval == 7s);
  CHECK(root.saver.limits.file_bytes == 1024);
  CHECK(root.saver.limits.point_bytes == 2048);
  CHECK(root.saver.limits.untracked_files == 9);
  CHECK(root.saver.limits.include == std::vector<std::string>{".env"});
  CHECK(root.saver.transfer.stall == 3s);
  CHECK(root.saver.urls.allow_file);
  CHECK(root.keeper.quiet == 1s);
  CHECK(root.keeper.latest == 2s);
  CHECK(root.keeper.poll_interval == 3s);
  CHECK(root.rig.urls.allow_file);
  CHECK(root.rig.urls.allow_http_hosts == c.git.allow_http);
  CHECK(root.rig.transfer.stall == 3s);
  CHECK(root.rig.retry.attempts == 2);
  REQUIRE(root.rig.fallback);
  CHECK(root.rig.fallback->username == "oauth2");
  CHECK(root.agent.town_id == "t1");
  CHECK(root.agent.state_directory == "/w/.townkeeper/agents");
  CHECK(root.agent.command_directory == "/w/.townkeeper/bin");
  CHECK(root.agent.socket == "/s");
  CHECK(root.agent.stop_grace == 4s);

  const auto executor = git_executor_settings(c);
  CHECK(executor.network_workers == 5);
  CHECK(executor.disk_workers >= 1);
  CHECK(executor.network_deadline > 9s);
  CHECK(town_link_settings(facts).heartbeat_interval == 7s);
  CHECK(town_link_settings(facts).warm_disk);
  CHECK(server_limits(c.http).max_connections == 12);
}

TEST_CASE("agents get of the daemon's environment what is listed and set") {
  const environment env{{"PATH", "/bin"}, {"GIT_TOKEN", "x"}, {"TZ", "UTC"}};
  CHECK(passed_on(env, {"PATH", "HOME", "TZ"}) == std::map<std::string, std::string>{{"PATH", "/bin"}, {"TZ", "UTC"}});
}

TEST_CASE("what an agent's environment holds is fatal to the daemon alone") {
  const environment env{{"TOWNKEEPER_SOCKET", "/s/a1.sock"}, {"TOWNKEEPER_WORKSPACE", "/w"}};
  CHECK(load_configuration({}, env).has_error());
  const auto in_agent = load_configuration({}, env, true);
  REQUIRE(in_agent);
  CHECK(in_agent->workspace == "/w");
  CHECK(load_configuration({}, {{"TOWNKEEPER_NONSENSE", "1"}}, true).has_error());
}
