#include "tests/support/http_fault_proxy.hpp"

#include <algorithm>
#include <fstream>

#include "scenario.hpp"
#include "tests/support/control_stub.hpp"
#include "tests/support/worktree_states.hpp"

/// Faults between a container and the remotes of its rigs, over the wire.
using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

using phase = test::http_rule::phase;
using kind = test::fault::kind;

} // namespace

TEST_CASE(
    "nine remotes, each with a trouble of its own, and one without: its agent works meanwhile, each trouble has its "
    "reason, and all heal by themselves") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  test::http_fault_proxy wire{server.port()};
  test::control_stub elsewhere;
  elsewhere.answer_with(test::stub_answer{.status = 404});
  const struct {
    std::string rig;
    test::http_rule rule;
    std::vector<std::string> codes;
  } troubles[]{
      {"r403", {.answer = test::fixed_answer{403, {}, "no"}}, {"forbidden"}},
      {"r404", {.answer = test::fixed_answer{404, {}, "nothing here"}}, {"not_found"}},
      {"r429", {.answer = test::fixed_answer{429, {{"Retry-After", "1"}}, "slowly"}}, {"rate_limited"}},
      {"r500", {.answer = test::fixed_answer{500, {}, "broken"}}, {"unavailable"}},
      {"redirect",
       {.answer = test::fixed_answer{302, {{"Location", elsewhere.url() + "/redirect.git/info/refs"}}, {}}},
       {"redirect_refused"}},
      {"truncated", {.method = "POST", .what = {kind::cut, 20'000}}, {"unavailable", "corrupt"}},
      {"flipped", {.method = "POST", .what = {kind::flip, 20'000}}, {"corrupt"}},
      {"reset", {.method = "POST", .what = {kind::reset, 20'000}}, {"unavailable"}},
      {"stalled", {.method = "POST", .what = {kind::stall, 20'000}}, {"timed_out"}},
  };
  std::vector<test::http_rule> rules;
  const auto content = test::dice{1}.bytes(60'000);
  const auto add = [&](const std::string& rig, const std::string& url) {
    server.make_repository(rig);
    server.commit(rig, {"work", {{"noise", content}}, {}, "begin", "main"});
    admin.put_rig(rig, url);
    admin.put_git_token(rig, "git-token-of-" + rig);
    admin.put_agent(rig, "agent-" + rig, "work", R"(,"headCommit":")" + server.tip(rig, "work") + "\"");
  };
  for (const auto& t : troubles) {
    add(t.rig, wire.url(t.rig));
    rules.push_back(t.rule);
    rules.back().path = "/" + t.rig + ".git";
  }
  add("fine", server.url("fine"));
  wire.set(rules);

  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  box.start();
  INFO(box.log());
  REQUIRE(test::wait_until([&] { return workers.all("agent-fine", "start").size() == 1; }));
  REQUIRE(box.wait_for_phase("degraded", std::chrono::seconds{60}));
  const auto health = box.health();
  for (const auto& t : troubles) {
    CAPTURE(t.rig);
    const auto* agent = agent_in(health, "agent-" + t.rig);
    CHECK(text(agent, "outcome") == "failed");
    const auto code = text(agent, "code");
    CAPTURE(code, text(agent, "error"));
    CHECK(std::find(t.codes.begin(), t.codes.end(), code) != t.codes.end());
    CHECK(workers.all("agent-" + t.rig, "start").empty());
  }
  // Neither request nor credentials followed the redirect.
  CHECK(elsewhere.requests().empty());

  wire.clear();
  REQUIRE(box.wait_for_phase("ready", std::chrono::seconds{60}));
  for (const auto& t : troubles)
    check_restored(box.worktree(t.rig, "agent-" + t.rig), "work", server.tip(t.rig, "work"));
  CHECK(test::wait_until([&] {
    return std::all_of(std::begin(troubles), std::end(troubles),
                       [&](const auto& t) { return workers.all("agent-" + t.rig, "start").size() == 1; });
  }));
  CHECK(workers.all("agent-fine", "start").size() == 1);
}

TEST_CASE(
    "a 401 whose refresh answers 404, 500 or garbage: that rig is failed with the reason, others go on, and it heals") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  test::http_fault_proxy wire{town.port()};
  const std::vector<std::string> guarded{"none", "broken", "garbage"};
  for (const auto& rig : guarded) {
    server.make_repository(rig);
    server.demand_token(rig, "x-access-token", "the-right-token-1234");
    admin.put_rig(rig, server.url(rig));
    admin.put_git_token(rig, "the-right-token-1234");
    admin.put_agent(rig, "agent-" + rig, "main");
  }
  server.make_repository("open");
  admin.put_rig("open", server.url("open"));
  admin.put_agent("open", "agent-open", "main");
  const auto refresh = [](const std::string& rig) { return "*/rigs/" + rig + "/refresh-git-token"; };
  wire.set({{.path = refresh("none"),
             .answer = test::fixed_answer{404, {}, R"({"success":false,"error":"no token","code":"no_git_token"})"}},
            {.path = refresh("broken"), .answer = test::fixed_answer{500, {}, "broken"}},
            {.path = refresh("garbage"), .answer = test::fixed_answer{200, {}, "<html>hello</html>"}}});
  // A town that answers 500 is asked again and again; this ends the waiting sooner than the minute of the default.
  auto config = configuration();
  config.insert(config.find("\"attempts\""), R"("no_byte_limit":"3s",)");
  auto options = container_for(town, config);
  options.api_url = wire.base_url();
  test::container box{options};
  box.start();
  INFO(box.log());
  const bool settled = box.wait_for_phase("degraded");
  INFO(box.get("/health").body);
  REQUIRE(settled);
  const auto health = box.health();
  CHECK(text(agent_in(health, "agent-open"), "outcome") == "restored");
  for (const auto& rig : guarded) {
    CAPTURE(rig);
    CHECK(text(agent_in(health, "agent-" + rig), "outcome") == "failed");
    CHECK_FALSE(text(rig_in(health, rig), "error").empty());
  }
  wire.clear();
  REQUIRE(box.wait_for_phase("ready"));
}

TEST_CASE(
    "a git token that is good at the fetch and expires before the push: that rig's alone is refreshed, and the save "
    "arrives") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  test::http_fault_proxy wire{town.port()};
  for (const auto* rig : {"api", "web"}) {
    server.make_repository(rig);
    server.demand_token(rig, "x-access-token", std::string{"first-token-of-"} + rig);
    admin.put_rig(rig, server.url(rig));
    admin.put_git_token(rig, std::string{"first-token-of-"} + rig);
    admin.put_agent(rig, std::string{"agent-"} + rig, "main");
  }
  auto options = container_for(
      town,
      configuration({}, {}, {}, R"("push_interval":"200ms","quiet":"50ms","latest":"200ms","backoff_first":"50ms")"));
  options.api_url = wire.base_url();
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto of_web = wire.count("POST", "/rigs/web/refresh-git-token");
  server.expire_token("api");
  server.demand_token("api", "x-access-token", "second-token-of-api");
  admin.put_git_token("api", "second-token-of-api");
  std::ofstream{box.worktree("api", "agent-api") / "new"} << "work\n";
  const auto ref = "refs/townkeeper/" + town_id + "/agent-api/1:untracked/new";
  CHECK(test::wait_until([&] {
    return test::try_git(server.repository_path("api"), {"cat-file", "-e", ref}).status == 0;
  }));
  CHECK(wire.count("POST", "/rigs/web/refresh-git-token") == of_web);
}

TEST_CASE(
    "empty repositories, an unborn HEAD, a renamed default branch, a tag of a branch's name and strange branch names: "
    "a defined outcome each, and the remote is not written to") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("empty", {"main", true});
  server.make_repository("unborn", {"nowhere", true});
  server.commit("unborn", {"work", {{"a", "b"}}});
  server.make_repository("renamed", {"trunk"});
  server.make_repository("names");
  const std::string longest(200, 'n');
  const std::vector<std::string> names{"a/b",
                                       "a__b",
                                       "v1.2.x",
                                       "gr\xc3\xbc\xc3\x9f"
                                       "e",
                                       longest,
                                       "same"};
  for (const auto& branch : names)
    server.commit("names", {branch, {{"branch", branch}}, {}, "begin", "main"});
  test::run_git(server.repository_path("names"), {"tag", "same", "main"});
  for (const auto* rig : {"empty", "unborn", "renamed", "names"})
    admin.put_rig(rig, server.url(rig)); // the record says `main` for all
  admin.put_agent("empty", "on-empty", "work", R"(,"baseRef":"main")");
  admin.put_agent("unborn", "on-unborn", "work");
  admin.put_agent("renamed", "on-trunk", "trunk");
  for (std::size_t i = 0; i < names.size(); ++i)
    admin.put_agent("names", "on-names-" + std::to_string(i), names[i]);
  std::map<std::string, std::map<std::string, std::string>> before;
  for (const auto* rig : {"empty", "unborn", "renamed", "names"})
    before[rig] = test::refs_of(server.repository_path(rig));

  test::container box{container_for(town, configuration())};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  check_restored(box.worktree("unborn", "on-unborn"), "work", server.tip("unborn", "work"));
  check_restored(box.worktree("renamed", "on-trunk"), "trunk", server.tip("renamed", "trunk"));
  for (std::size_t i = 0; i < names.size(); ++i)
    check_restored(box.worktree("names", "on-names-" + std::to_string(i)), names[i], server.tip("names", names[i]));
  CHECK(test::run_git(box.worktree("empty", "on-empty"), {"status", "--porcelain"}) == "");
  for (const auto* rig : {"empty", "unborn", "renamed", "names"})
    CHECK(before[rig] == test::refs_of(server.repository_path(rig)));
  for (const auto& request : server.requests())
    CHECK(request.find("git-receive-pack") == std::string::npos);
}

TEST_CASE(
    "a remote that is read-only or over its quota refuses the save: the age grows, the reason is shown, and the save "
    "arrives when it may") {
  one_agent_town here;
  test::container box{container_for(here.town, configuration({}, {}, {}, fast_saves))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto age = [&] { return box.health()["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble(); };
  SECTION("read-only") {
    here.server.set_read_only("api", true);
  }
  SECTION("quota") {
    here.server.set_quota("api", 0);
  }
  std::ofstream{box.worktree("api", "ada") / "README", std::ios::app} << "an edit\n";
  REQUIRE(test::wait_until([&] { return !last_error(box).empty(); }));
  const auto begun = age();
  CHECK(test::wait_until([&] { return age() > begun + 0.5; }));
  here.server.set_read_only("api", false);
  if (std::filesystem::exists(here.server.repository_path("api") / "hooks" / "pre-receive"))
    here.server.remove_hook("api", "pre-receive");
  CHECK(test::wait_until([&] { return age() == 0 && last_error(box).empty(); }));
  CHECK(test::run_git(here.server.repository_path("api"),
                      {"cat-file", "blob", "refs/townkeeper/" + town_id + "/ada/1:worktree/README"})
            .find("an edit") != std::string::npos);
}
