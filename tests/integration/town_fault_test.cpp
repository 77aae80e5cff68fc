#include "scenario.hpp"

#include <catch2/generators/catch_generators.hpp>

#include <fstream>

#include "tests/support/http_fault_proxy.hpp"

/// Faults between a container and its town, over the wire.
using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

using phase = test::http_rule::phase;
using kind = test::fault::kind;

/// One rig, two agents, and a proxy between the container and the town.
struct behind_proxy {
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  test::http_fault_proxy wire{town.port()};
  witness workers;
  test::container box;

  explicit behind_proxy(const std::string& more_town = {})
      : box{container_for(town, configuration(workers.command(), {}, more_town))} {
    box.options().api_url = wire.base_url();
    server.make_repository("api");
    admin.put_rig("api", server.url("api"));
    for (const auto* agent : {"ada", "bob"}) {
      const auto branch = std::string{"work/"} + agent;
      server.commit("api", {branch, {{"begin", agent}}, {}, "begin", "main"});
      admin.put_agent("api", agent, branch, R"(,"headCommit":")" + server.tip("api", branch) + "\"");
    }
  }

  void check_both() const {
    for (const auto* agent : {"ada", "bob"}) {
      const auto branch = std::string{"work/"} + agent;
      check_restored(box.worktree("api", agent), branch, server.tip("api", branch));
    }
  }
  bool both_started(std::size_t times) const {
    return test::wait_until(
        [&] { return workers.all("ada", "start").size() == times && workers.all("bob", "start").size() == times; });
  }
};

/// `text` with the first `from` made `to`.
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

} // namespace

TEST_CASE("the desired state cannot be read, in whatever way: not ready and tried again, never an empty town, and "
          "converged by itself") {
  behind_proxy p{R"(,"request_timeout":"1s")"};
  test::http_rule rule{.method = "POST", .path = "*/container-boot"};
  const auto word =
      GENERATE(as<std::string>{}, "500", "401", "silence", "empty body", "truncated", "wrong types", "10 MB");
  CAPTURE(word);
  if (word == "500") rule.answer = test::fixed_answer{500, {}, "internal error"};
  if (word == "401")
    rule.answer = test::fixed_answer{401, {}, R"({"success":false,"error":"no","code":"unauthorized"})"};
  if (word == "silence") rule.what = {kind::hang};
  if (word == "empty body") rule.rewrite = [](const std::string&) { return std::string{}; };
  if (word == "truncated") rule.rewrite = [](const std::string& body) { return body.substr(0, body.size() / 2); };
  if (word == "wrong types")
    rule.rewrite = [](const std::string& body) { return replaced(body, R"("rigs":[)", R"("rigs":"none","x":[)"); };
  if (word == "10 MB")
    rule.rewrite = [](const std::string& body) {
      return replaced(body, R"("rigs":[)", R"("padding":")" + std::string(10'000'000, 'x') + R"(","rigs":[)");
    };
  p.wire.set({rule});
  p.box.start();
  INFO(p.box.log());
  REQUIRE(test::wait_until([&] { return p.wire.applied() >= (word == "401" ? 1U : 3U); }));
  CHECK(p.box.get("/livez").status == 200);
  CHECK(p.box.get("/readyz").status == 503);
  const auto health = p.box.health();
  CHECK(health["recovery"]["rigs"].Empty());
  CHECK(health["recovery"]["progress"].GetDouble() < 1);
  CHECK(p.box.wait_for_health([](const auto& h) { return h["recovery"].HasMember("trouble"); }));
  CHECK(p.workers.all("ada", "start").empty());
  p.wire.clear();
  REQUIRE(p.box.wait_for_phase("ready"));
  p.check_both();
  CHECK(p.both_started(1));
}

TEST_CASE("one bad entry among good ones is set aside by name, and the others are restored") {
  behind_proxy p;
  p.wire.set({{.method = "POST", .path = "*/container-boot", .rewrite = [](const std::string& body) {
                 return replaced(body, R"("agentId":"ada")", R"("agentId":"../ada")");
               }}});
  p.box.start();
  INFO(p.box.log());
  REQUIRE(p.box.wait_for_phase("degraded"));
  const auto health = p.box.health();
  REQUIRE(health["recovery"].HasMember("setAside"));
  CHECK(health["recovery"]["setAside"].Size() == 1);
  CHECK(text(agent_in(health, "bob"), "outcome") == "restored");
  CHECK(agent_in(health, "ada") == nullptr);
  CHECK_FALSE(std::filesystem::exists(p.box.workspace() / "rigs" / "api" / "ada"));
}

TEST_CASE(
    "the container's token: absent and supplied later, expired at boot, expired in mid-life, and a refresh that is "
    "down") {
  behind_proxy p;
  const std::string control = "control-token-8c9d0e1f2a3b";
  p.box.options().environment["TOWNKEEPER_CONTROL_TOKEN"] = control;
  const auto good = p.box.options().token;
  const auto give = [&](const std::string& token) {
    return p.box.post("/refresh-token", R"({"token":")" + token + R"("})", control).status;
  };
  const auto refreshes = [&] { return p.wire.count("POST", "/refresh-container-token"); };

  SECTION("absent at boot") {
    p.box.options().token.clear();
    p.box.start();
    CHECK(p.box.get("/livez").status == 200);
    CHECK(p.box.get("/readyz").status == 503);
    CHECK(p.wire.requests().empty()); // nothing is said without one
    // In its first moments it answers 503: it is not up yet.
    CHECK(test::wait_until([&] { return give(good) == 200; }));
  }
  SECTION("expired at boot: one refresh, and on") {
    p.box.options().token = p.town.mint(town_id, "container", std::chrono::seconds{-60});
    p.box.start();
    INFO(p.box.log());
    REQUIRE(p.box.wait_for_phase("ready"));
    CHECK(refreshes() == 1);
  }
  SECTION("expired at boot while the refresh is down: tried again, bounded, until it is up") {
    p.box.options().token = p.town.mint(town_id, "container", std::chrono::seconds{-60});
    p.wire.set({{.path = "*/refresh-container-token", .answer = test::fixed_answer{503, {}, "down"}}});
    p.box.start();
    REQUIRE(test::wait_until([&] { return p.wire.applied() >= 3; }));
    CHECK(p.box.get("/readyz").status == 503);
    p.wire.clear();
  }
  SECTION("expired and refused for good: given by POST /refresh-token, nothing is restarted") {
    // Of another secret: no refresh can help it.
    p.box.options().token =
        test::sign_token("another-secret", R"({"alg":"HS256","typ":"JWT"})", R"({"townId":"riverside"})");
    p.box.start();
    REQUIRE(p.box.wait_for_health([](const auto& h) { return h["recovery"].HasMember("trouble"); }));
    const auto asked = p.wire.requests().size();
    CHECK(asked < 50); // no loop
    CHECK(give(good) == 200);
  }
  SECTION("expired in mid-life: one refresh for all that is refused at once") {
    p.box.start();
    REQUIRE(p.box.wait_for_phase("ready"));
    REQUIRE(p.both_started(1));
    const auto before = refreshes();
    p.wire.set({{.path = "*/container-heartbeat",
                 .answer = test::fixed_answer{401, {}, R"({"success":false,"error":"expired","code":"token_expired"})"},
                 .times = 1}});
    REQUIRE(test::wait_until([&] { return refreshes() == before + 1; }));
    const auto beats = p.wire.count("POST", "/container-heartbeat");
    REQUIRE(test::wait_until([&] { return p.wire.count("POST", "/container-heartbeat") >= beats + 2; }));
    CHECK(refreshes() == before + 1);
  }
  const auto pid = p.box.process()->pid();
  INFO(p.box.log());
  REQUIRE(p.box.wait_for_phase("ready"));
  CHECK(p.both_started(1));
  CHECK(p.box.process()->pid() == pid);
  CHECK(p.box.process()->running());
}

TEST_CASE("the ready report is lost, doubled, not cleared, or the town restarts in between: it is repeated until it is "
          "taken, and each agent is dispatched once") {
  behind_proxy p;
  std::vector<test::http_rule> rules;
  const auto word =
      GENERATE(as<std::string>{}, "request lost", "answer lost", "doubled", "not cleared", "town restarts");
  CAPTURE(word);
  const std::string route = "*/container-ready";
  if (word == "request lost") rules = {{.path = route, .when = phase::request, .what = {kind::cut, 10}}};
  if (word == "answer lost") rules = {{.path = route, .when = phase::response_head, .what = {kind::reset, 0}}};
  if (word == "doubled") rules = {{.path = route, .when = phase::request, .what = {kind::duplicate}}};
  if (word == "not cleared")
    rules = {{.path = route, .rewrite = [](const std::string& body) {
                return replaced(body, R"("cleared":true)", R"("cleared":false)");
              }}};
  if (word == "town restarts") rules = {{.path = route, .when = phase::response_head, .what = {kind::hang}}};
  p.wire.set(rules);
  p.box.start();
  INFO(p.box.log());
  REQUIRE(test::wait_until([&] { return p.wire.applied() >= 1; }));
  if (word == "request lost" || word == "answer lost") REQUIRE(test::wait_until([&] { return p.wire.applied() >= 3; }));
  if (word == "town restarts") {
    p.town.kill();
    p.town.start();
  }
  if (word == "request lost") CHECK(p.workers.all("ada", "start").empty());
  p.wire.clear();
  REQUIRE(p.box.wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] {
    const auto state = p.admin.state();
    return state["container"].IsObject() && text(&state["container"], "outcome") == "ready";
  }));
  CHECK(p.both_started(1));
  // Nothing comes after: two more heartbeats of the container.
  const auto beats = p.wire.count("POST", "/container-heartbeat");
  REQUIRE(test::wait_until([&] { return p.wire.count("POST", "/container-heartbeat") >= beats + 2; }));
  CHECK(p.workers.all("ada", "start").size() == 1);
  CHECK(p.workers.all("bob", "start").size() == 1);
}

TEST_CASE(
    "a start that comes while the agent is still being restored is answered at once with 503 and Retry-After, and "
    "the agent starts once when it is there") {
  behind_proxy p;
  test::fault_proxy slow{p.server.port()};
  p.admin.put_rig("slow", slow.url("api"));
  p.admin.put_agent("slow", "cyd", "main");
  slow.set({kind::drip, 400});
  const std::string control = "control-token-8c9d0e1f2a3b";
  p.box.options().environment["TOWNKEEPER_CONTROL_TOKEN"] = control;
  p.box.start();
  INFO(p.box.log());
  REQUIRE(p.box.wait_for_health([](const auto& h) { return agent_in(h, "cyd") != nullptr; }));
  const auto body =
      R"({"agentId":"cyd","rigId":"slow","townId":"riverside","role":"polecat","name":"cyd","identity":"cyd <c@example.invalid>",)"
      R"("prompt":"go on","model":"m","gitUrl":")" +
      slow.url("api") + R"(","branch":"main","defaultBranch":"main","dispatchId":"early-1"})";
  for (int i = 0; i < 3; ++i) {
    const auto answer = p.box.post("/agents/start", body, control, {{"X-Gastown-Epoch", "1"}});
    CHECK(answer.status == 503);
    CHECK(answer.headers.contains("retry-after"));
  }
  CHECK(p.workers.all("cyd", "start").empty());
  slow.set({});
  REQUIRE(p.box.wait_for_phase("ready"));
  CHECK(test::wait_until([&] { return p.workers.all("cyd", "start").size() == 1; }));
  CHECK(p.both_started(1));
}

TEST_CASE(
    "while a container sleeps its rigs and agents change: what is gone is not cloned, what moved comes from its new "
    "rig only") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  for (const auto* rig : {"api", "web", "old"}) {
    server.make_repository(rig);
    for (const auto* branch : {"work/ada", "work/bob", "work/cyd"})
      server.commit(rig, {branch, {{"rig", rig}}, {}, "begin", "main"});
    admin.put_rig(rig, server.url(rig));
  }
  admin.put_agent("api", "ada", "work/ada");
  admin.put_agent("api", "bob", "work/bob", R"(,"bead":{"beadId":"b-1","title":"t","body":"b","status":"open"})");
  admin.put_agent("old", "cyd", "work/cyd");
  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] { return dispatched(admin.dispatches(), "bob", 1) == 1; }));
  // An agent whose start is on its way when the container drains is started by none.
  for (const auto* agent : {"ada", "bob", "cyd"})
    REQUIRE(test::wait_until([&] { return workers.all(agent, "start").size() == 1; }));
  box.terminate();
  REQUIRE(box.wait_for_exit() == 0);
  // ada moves to another rig, bob's bead is done, cyd's rig is deleted.
  const bool warm = GENERATE(false, true);
  CAPTURE(warm);
  if (!warm) box.wipe_disk();
  admin.remove_agent("api", "ada");
  admin.put_agent("web", "ada", "work/ada");
  test::http_request done;
  done.method = "POST";
  done.url = town.base_url() + "/api/towns/" + town_id + "/rigs/api/agents/bob/done";
  done.headers = {{"Authorization", "Bearer " + town.mint(town_id, "container")}, {"Content-Type", "application/json"}};
  done.body = R"({"branch":"work/bob"})";
  REQUIRE(test::send(done)->status == 200);
  admin.remove_rig("old");
  const auto asked = server.requests().size();
  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  const auto health = box.health();
  CHECK(agent_in(health, "cyd") == nullptr);
  CHECK(agent_in(health, "bob") == nullptr);
  check_restored(box.worktree("web", "ada"), "work/ada", server.tip("web", "work/ada"));
  CHECK(test::run_git(box.worktree("web", "ada"), {"show", "HEAD:rig"}) == "web");
  if (!warm) CHECK_FALSE(std::filesystem::exists(box.worktree("api", "ada")));
  CHECK(test::wait_until([&] { return workers.all("ada", "start").size() == 2; }));
  CHECK(workers.all("bob", "start").size() == 1);
  CHECK(workers.all("cyd", "start").size() == 1);
  const auto requests = server.requests();
  for (std::size_t i = asked; i < requests.size(); ++i)
    CHECK(requests[i].find("/old.git") == std::string::npos);
}

TEST_CASE(
    "an agent whose start fails for long: capped, each failure with its reason, and by itself at work when it can "
    "start again") {
  test::remote server;
  server.make_repository("api");
  test::town town{{.time_scale = 30}};
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "main");
  const test::temp_dir programs{"programs"};
  const auto program = programs.path() / "agent";
  test::container box{container_for(town, configuration(R"([")" + program.string() + R"("])"))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto status = [&] {
    const auto state = admin.state();
    return text(record_of(state, "ada"), "status");
  };
  REQUIRE(test::wait_until([&] { return status() == "stalled"; }, std::chrono::seconds{60}));
  const auto dispatches = admin.dispatches();
  CHECK(dispatches.Size() >= 5);
  for (const auto& d : dispatches.GetArray()) {
    CHECK(d["status"].GetInt() >= 500);
    CHECK(!text(&d, "error").empty());
  }
  std::ofstream{program} << "#!/bin/sh\nexec sleep 600\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  CHECK(test::wait_until([&] { return status() == "working"; }, std::chrono::seconds{60}));
}
