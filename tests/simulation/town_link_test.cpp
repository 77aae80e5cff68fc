#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/secret.hpp"
#include "town_link_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

report_ready ready_with(const std::string& outcome) {
  town::ready_report report;
  report.instance_id = "i-1";
  report.desired_version = 1;
  report.outcome = outcome;
  return {report};
}

bool says(const open_request& r, const std::string& text) {
  return r.request.what.body.find(text) != std::string::npos;
}

} // namespace

// -- boot -------------------------------------------------------------------------------------------------------------

TEST_CASE("boot is said with token and control token, and its answer is passed on with the epoch") {
  link_world w;
  w.start();
  const auto& boot = w.oldest("container-boot");
  CHECK(boot.request.token.reveal() == "first-container-token");
  CHECK(boot.request.epoch == 0);
  CHECK(says(boot, R"("controlToken":"the-control-token")"));
  CHECK(says(boot, R"("disk":"empty")"));
  REQUIRE(w.health_heard.phases.size() == 1);
  CHECK(w.health_heard.phases[0].phase == town::town_phase::booting);
  w.answer("container-boot", 200, boot_json(7));
  REQUIRE(w.heard.desired.size() == 1);
  CHECK(w.heard.desired[0].version == 7);
  CHECK(w.heard.desired[0].rigs.size() == 1);
  REQUIRE(w.health_heard.phases.size() == 2);
  CHECK(w.health_heard.phases[1].phase == town::town_phase::reading_state);
  CHECK(w.health_heard.phases[1].epoch == 3);
  CHECK(w.counted == std::vector<std::string>{"ok"});
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  CHECK(w.oldest("container-ready").request.epoch == 3);
}

TEST_CASE(
    "a boot that is not answered is said again with backoff and full jitter, and nothing is passed on meanwhile") {
  link_world w;
  w.config.seed = GENERATE(1U, 2U, 3U);
  CAPTURE(w.config.seed);
  w.start();
  for (int failures = 1; failures <= 12; ++failures) {
    const auto failed_at = w.now();
    w.fail("container-boot");
    REQUIRE(w.open_of("container-boot") == 0);
    const auto bound = std::min<std::chrono::milliseconds>(100ms * (1 << (failures - 1)), 10s);
    REQUIRE(w.advance_until([&] { return w.open_of("container-boot") == 1; }, bound));
    CHECK(w.oldest("container-boot").at - failed_at >= 1ms);
  }
  CHECK(w.heard.desired.empty());
  REQUIRE(w.health_heard.trouble);
  CHECK(w.health_heard.trouble->code == error_code::unavailable);
  w.answer("container-boot", 200, boot_json());
  CHECK(w.heard.desired.size() == 1);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("the pauses of two links differ, so that a town that comes back is not run over") {
  const auto first_pauses = [](std::uint64_t seed) {
    link_world w;
    w.config.seed = seed;
    w.start();
    std::vector<std::chrono::nanoseconds> pauses;
    for (int i = 0; i < 5; ++i) {
      const auto failed_at = w.now();
      w.fail("container-boot");
      REQUIRE(w.advance_until([&] { return w.open_of("container-boot") == 1; }, 10s));
      pauses.push_back(w.now() - failed_at);
    }
    return pauses;
  };
  CHECK(first_pauses(1) != first_pauses(2));
  CHECK(first_pauses(1) == first_pauses(1));
}

TEST_CASE("an answer to boot that cannot be read is never an empty town") {
  const auto* body =
      GENERATE("", "<html>502</html>", R"({"success":true})", R"({"success":true,"data":{}})",
               R"({"success":true,"data":{"epoch":3}})",
               R"({"success":true,"data":{"epoch":3,"desiredState":{"version":1,"epoch":3}}})",
               R"({"success":true,"data":{"epoch":3,"desiredState":{"version":1,"epoch":2,"rigs":[]}}})");
  CAPTURE(body);
  link_world w;
  w.start();
  w.answer("container-boot", 200, body);
  CHECK(w.heard.desired.empty());
  REQUIRE(w.health_heard.trouble);
  CHECK(w.health_heard.trouble->code == error_code::corrupt);
  REQUIRE(w.advance_until([&] { return w.open_of("container-boot") == 1; }, 1s));
  w.answer("container-boot", 200, boot_json());
  CHECK(w.heard.desired.size() == 1);
}

TEST_CASE("a boot the town refuses is said again: there is nothing else a container can do") {
  const auto status = GENERATE(400, 403, 404, 409, 413);
  link_world w;
  w.start();
  w.answer("container-boot", status, refusal("some_word"));
  REQUIRE(w.health_heard.trouble);
  CHECK(w.advance_until([&] { return w.open_of("container-boot") == 1; }, 1s));
}

TEST_CASE("Retry-After is waited for, and no longer than an hour") {
  link_world w;
  w.start();
  w.answer("container-boot", 503, "", 7s);
  w.advance(7s - 1ms);
  CHECK(w.open_of("container-boot") == 0);
  w.advance(1ms);
  REQUIRE(w.open_of("container-boot") == 1);
  w.answer("container-boot", 429, refusal("slow_down"), 1000h);
  w.advance(1h - 1ms);
  CHECK(w.open_of("container-boot") == 0);
  w.advance(1ms);
  CHECK(w.open_of("container-boot") == 1);
}

TEST_CASE("an error that names a secret reaches health without it") {
  link_world w;
  w.start();
  w.fail("container-boot", "sent Bearer first-container-token and got nothing");
  REQUIRE(w.health_heard.trouble);
  CHECK(w.health_heard.trouble->message.find("first-container-token") == std::string::npos);
}

// -- the token --------------------------------------------------------------------------------------------------------

TEST_CASE("a 401 has the token refreshed once, and the call is made once more with the new one") {
  link_world w;
  w.start();
  w.answer("container-boot", 401, refusal("token_expired"));
  CHECK(w.oldest("refresh-container-token").request.token.reveal() == "first-container-token");
  CHECK(w.open_of("container-boot") == 0);
  w.answer("refresh-container-token", 200, success(R"({"token":"second-container-token"})"));
  CHECK(w.oldest("container-boot").request.token.reveal() == "second-container-token");
  w.answer("container-boot", 200, boot_json());
  CHECK(w.heard.desired.size() == 1);
  CHECK(w.sent_of("refresh-container-token") == 1);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("a token that is refused after its refresh is no loop: the next round is the next heartbeat's") {
  link_world w;
  w.start();
  w.answer("container-boot", 401, refusal("unauthorized"));
  w.answer("refresh-container-token", 200, success(R"({"token":"second-container-token"})"));
  w.answer("container-boot", 401, refusal("unauthorized"));
  w.advance(29s);
  CHECK(w.log == std::vector<std::string>{"container-boot", "refresh-container-token", "container-boot"});
  REQUIRE(w.health_heard.trouble);
  CHECK(w.health_heard.trouble->code == error_code::unauthorized);
  w.advance(2s);
  w.answer("container-boot", 200, boot_json());
  CHECK(w.heard.desired.size() == 1);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("a refresh that is refused is not repeated, one that is not answered is") {
  link_world w;
  w.start();
  w.answer("container-boot", 401, refusal("token_expired"));
  w.fail("refresh-container-token");
  REQUIRE(w.advance_until([&] { return w.open_of("refresh-container-token") == 1; }, 1s));
  w.answer("refresh-container-token", 401, refusal("token_expired"));
  w.advance(20s);
  CHECK(w.log == std::vector<std::string>{"container-boot", "refresh-container-token", "refresh-container-token"});
  CHECK(w.health_heard.trouble);
  // The next round begins with the call itself.
  w.advance(11s);
  CHECK(w.log.size() == 4);
  CHECK(w.open_of("container-boot") == 1);
}

TEST_CASE("many that are refused at once share one refresh") {
  link_world w;
  w.start_booted();
  const auto a = w.ask<agent_call_answer>(agent_call{"r1", "a1", "GET", "prime", ""});
  const auto b = w.ask<agent_call_answer>(agent_call{"r1", "a2", "GET", "prime", ""});
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("prime", 401, refusal("token_expired"));
  w.answer("prime", 401, refusal("token_expired"));
  CHECK(w.sent_of("refresh-container-token") == 1);
  w.answer("refresh-container-token", 200, success(R"({"token":"second-container-token"})"));
  CHECK(w.open_of("prime") == 2);
  // Sent with the old token, refused after the new one came: no second refresh.
  w.answer("container-ready", 401, refusal("token_expired"));
  CHECK(w.sent_of("refresh-container-token") == 1);
  CHECK(w.oldest("container-ready").request.token.reveal() == "second-container-token");
  w.answer("prime", 200, success("{}"));
  w.answer("prime", 200, success("{}"));
  CHECK((*a)->status == 200);
  CHECK((*b)->status == 200);
}

TEST_CASE("without a token nothing is sent; one that comes later starts everything") {
  link_world w;
  w.config.container_token = {};
  w.start();
  w.advance(2min);
  CHECK(w.log.empty());
  REQUIRE(w.health_heard.trouble);
  CHECK(w.health_heard.trouble->code == error_code::unauthorized);
  w.self()->send(w.link, container_token{secret{"late-container-token"}});
  w.run();
  CHECK(w.oldest("container-boot").request.token.reveal() == "late-container-token");
  w.answer("container-boot", 200, boot_json());
  CHECK(w.heard.desired.size() == 1);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("a token that is given ends the waiting of what was to be tried later, and is tried once only") {
  link_world w;
  w.start();
  w.answer("container-boot", 503, "", 60s);
  w.self()->send(w.link, container_token{secret{"given-container-token"}});
  w.run();
  CHECK(w.open_of("container-boot") == 1);
  // The timer of the attempt that was not waited for means nothing any more.
  w.answer("container-boot", 503, "", 5min);
  w.advance(2min);
  CHECK(w.sent_of("container-boot") == 2);
  w.advance(3min);
  CHECK(w.sent_of("container-boot") == 3);
}

// -- fenced -----------------------------------------------------------------------------------------------------------

TEST_CASE("a 409 fenced is told once, and ends everything that is said to the town") {
  link_world w;
  w.start_booted();
  const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "checkpoint", "{}"});
  const auto done = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "done", "{}"});
  w.self()->send(w.link, ready_with("ready"));
  w.self()->send(w.link, report_completed{"r1", "a1", {"completed", {}, {}, 0, {}}});
  w.run();
  w.answer("checkpoint", 409, refusal("fenced"));
  CHECK(w.heard.fenced == 1);
  CHECK(w.health_heard.phases.back().phase == town::town_phase::fenced);
  CHECK((*call)->status == 409);
  CHECK((*call)->body == refusal("fenced"));
  CHECK((*done)->status == 409);

  w.open.clear();
  w.self()->send(w.link, ready_with("ready"));
  w.self()->send(w.link, report_progress{"{}"});
  w.self()->send(w.link, report_completed{"r1", "a1", {"failed", {}, {}, 1, {}}});
  w.self()->send(w.link, report_eviction{"SIGTERM"});
  const auto late = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "status", "{}"});
  w.advance(5min);
  CHECK(w.open.empty());
  CHECK((*late)->status == 409);
  CHECK(w.heard.fenced == 1);
}

TEST_CASE("a boot that is refused as fenced is not said again") {
  link_world w;
  w.start();
  w.answer("container-boot", 409, refusal("fenced"));
  w.advance(5min);
  CHECK(w.open.empty());
  CHECK(w.heard.fenced == 1);
  CHECK(w.heard.desired.empty());
}

TEST_CASE("a desired state of a newer epoch says that this container is fenced") {
  link_world w;
  w.start_booted();
  const auto asked = w.ask<desired_state_answer>(reread_desired_state{});
  w.answer("desired-state", 200, success(desired_json(9, 4)));
  CHECK(w.heard.fenced == 1);
  CHECK(w.heard.desired.size() == 1);
  REQUIRE((*asked)->desired.has_error());
  CHECK((*asked)->desired.error().code == error_code::fenced);
}

TEST_CASE("an answer that comes after its call was given up fences all the same") {
  link_world w;
  w.start_booted();
  const auto said = w.ask<drained_reported>(report_drained{});
  const bool fenced_there = GENERATE(true, false);
  w.advance(1min); // nobody waits for the last word so long
  REQUIRE(said->has_value());
  w.answer("container-drained", 409, refusal(fenced_there ? "fenced" : "agent_elsewhere"));
  CHECK(w.heard.fenced == (fenced_there ? 1 : 0));
}

TEST_CASE("any other 409 fences nobody") {
  link_world w;
  w.start_booted();
  const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "done", "{}"});
  w.answer("done", 409, refusal("agent_elsewhere"));
  CHECK((*call)->status == 409);
  CHECK(w.heard.fenced == 0);
}

TEST_CASE("a fenced container may still ask for git credentials: it has work to save") {
  link_world w;
  w.start();
  w.answer("container-boot", 409, refusal("fenced"));
  const auto asked = w.ask<git_credentials_answer>(git_credentials_query{"r1"});
  w.answer("refresh-git-token", 200, success(R"({"token":"git-token-1"})"));
  CHECK((*asked)->login.has_value());
}

// -- ready and progress -----------------------------------------------------------------------------------------------

TEST_CASE("a ready report is repeated until the town has heard it, and a newer one takes its place") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, ready_with("partial"));
  w.run();
  w.fail("container-ready");
  w.self()->send(w.link, ready_with("degraded"));
  w.self()->send(w.link, ready_with("ready"));
  REQUIRE(w.advance_until([&] { return w.open_of("container-ready") == 1; }, 1s));
  CHECK(says(w.oldest("container-ready"), R"("outcome":"ready")"));
  w.answer("container-ready", 503, "");
  REQUIRE(w.advance_until([&] { return w.open_of("container-ready") == 1; }, 1s));
  w.answer("container-ready", 200, ready_json());
  w.advance(5min);
  CHECK(w.sent_of("container-ready") == 3);
}

TEST_CASE("a ready report that comes while another is under way is said next") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, ready_with("partial"));
  w.run();
  w.self()->send(w.link, ready_with("degraded"));
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  CHECK(w.sent_of("container-ready") == 1);
  w.answer("container-ready", 200, ready_json());
  REQUIRE(w.sent_of("container-ready") == 2);
  CHECK(says(w.oldest("container-ready"), R"("outcome":"ready")"));
  w.answer("container-ready", 200, ready_json());
  w.run();
  CHECK(w.sent_of("container-ready") == 2);
}

TEST_CASE("a ready report has a number of its own, and keeps it however often it is said") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, ready_with("partial"));
  w.run();
  CHECK(says(w.oldest("container-ready"), R"("report":1,)"));
  w.fail("container-ready");
  REQUIRE(w.advance_until([&] { return w.open_of("container-ready") == 1; }, 1s));
  CHECK(says(w.oldest("container-ready"), R"("report":1,)"));
  w.self()->send(w.link, ready_with("degraded"));
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json(false));
  CHECK(says(w.oldest("container-ready"), R"("report":3,)"));
  w.answer("container-ready", 200, ready_json(false));
  w.answer("container-heartbeat", 200, heartbeat_json(1, "n-1"));
  CHECK(says(w.oldest("container-ready"), R"("report":3,)")); // with the nonce
}

TEST_CASE("a ready report that the town refuses stays visible as trouble until one is taken") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, ready_with("partial"));
  w.run();
  w.answer("container-ready", 400, refusal("invalid_body"));
  w.advance(31s);
  w.answer("container-heartbeat", 200, heartbeat_json());
  REQUIRE(w.health_heard.trouble);
  CHECK(w.health_heard.trouble->object == "container-ready");
  CHECK(w.sent_of("container-ready") == 1);
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json());
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("a town that takes this container for evicted is told otherwise with the nonce, until it is cleared") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  CHECK_FALSE(says(w.oldest("container-ready"), "nonce"));
  w.answer("container-ready", 200, ready_json(false));
  w.answer("container-heartbeat", 200, heartbeat_json(1, "n-1"));
  CHECK(says(w.oldest("container-ready"), R"("nonce":"n-1")"));
  w.answer("container-ready", 200, ready_json(false)); // evicted once more meanwhile
  CHECK(w.open.empty());
  w.advance(30s);
  w.answer("container-heartbeat", 200, heartbeat_json(1, "n-2"));
  CHECK(says(w.oldest("container-ready"), R"("nonce":"n-2")"));
  w.answer("container-ready", 200, ready_json(true));
  w.advance(30s);
  w.answer("container-heartbeat", 200, heartbeat_json());
  CHECK(w.open.empty());
  CHECK(w.sent_of("container-ready") == 3);
}

TEST_CASE("an eviction that a heartbeat tells of while a ready report is under way is taken back by the next report") {
  link_world w;
  w.start_booted();
  w.advance(30s);
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-heartbeat", 200, heartbeat_json(1, "n-1"));
  w.answer("container-ready", 200, ready_json(false));
  CHECK(says(w.oldest("container-ready"), R"("nonce":"n-1")"));
  w.answer("container-ready", 200, ready_json(true));
  CHECK(w.open.empty());
}

TEST_CASE("progress is dropped while one report is under way, and its loss troubles nobody") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, report_progress{R"({"n":1})"});
  w.self()->send(w.link, report_progress{R"({"n":2})"});
  w.run();
  CHECK(w.open_of("restore-progress") == 1);
  CHECK(says(w.oldest("restore-progress"), R"({"n":1})"));
  w.fail("restore-progress");
  w.advance(20s);
  CHECK(w.sent_of("restore-progress") == 1);
  CHECK(w.health_heard.troubles.empty());
  w.self()->send(w.link, report_progress{R"({"n":3})"});
  w.run();
  CHECK(says(w.oldest("restore-progress"), R"({"n":3})"));
}

TEST_CASE("nothing is reported before the town has given an epoch") {
  link_world w;
  w.start();
  w.self()->send(w.link, ready_with("ready"));
  w.self()->send(w.link, report_progress{"{}"});
  w.advance(1min);
  CHECK(w.log == std::vector<std::string>{"container-boot"});
}

// -- heartbeat and versions -------------------------------------------------------------------------------------------

TEST_CASE("a heartbeat is said every interval with what health knows, one at a time") {
  link_world w;
  w.health_heard.facts.agents = {{"a1", "running", "2026-11-22T12:00:00Z", std::nullopt}};
  w.start_booted();
  w.advance(29s);
  CHECK(w.open.empty());
  w.advance(1s);
  CHECK(says(w.oldest("container-heartbeat"), R"("agentId":"a1","status":"running")"));
  CHECK(w.oldest("container-heartbeat").request.epoch == 3);
  w.answer("container-heartbeat", 200, heartbeat_json());
  w.advance(30s);
  CHECK(w.sent_of("container-heartbeat") == 2);
}

TEST_CASE("a heartbeat that is not answered makes room for the next, which is fresh") {
  link_world w;
  w.start_booted();
  w.advance(30s);
  w.health_heard.facts.agents = {{"a1", "running", "", std::nullopt}};
  w.advance(30s);
  REQUIRE(w.open_of("container-heartbeat") == 2);
  CHECK_FALSE(says(w.open[0], "a1"));
  CHECK(says(w.open[1], "a1"));
  w.answer("container-heartbeat", 200, heartbeat_json(9)); // of the one that was given up
  CHECK(w.sent_of("desired-state") == 0);
}

TEST_CASE("a heartbeat that is under way is not said twice") {
  link_world w;
  w.start_booted();
  w.advance(30s);
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json(false));
  CHECK(w.open_of("container-heartbeat") == 1);
}

TEST_CASE("a newer version is read and passed on, once") {
  link_world w;
  w.start_booted(1);
  w.advance(30s);
  w.answer("container-heartbeat", 200, heartbeat_json(2));
  w.answer("desired-state", 200, success(desired_json(2)));
  REQUIRE(w.heard.desired.size() == 2);
  CHECK(w.heard.desired[1].version == 2);
  w.advance(30s);
  w.answer("container-heartbeat", 200, heartbeat_json(2));
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json(true, 2));
  CHECK(w.sent_of("desired-state") == 1);
  CHECK(w.heard.desired.size() == 2);
}

TEST_CASE("a version that is named while the state is read is read after it") {
  link_world w;
  w.start_booted(1);
  w.self()->send(w.link, ready_with("partial"));
  w.run();
  w.answer("container-ready", 200, ready_json(true, 2));
  REQUIRE(w.open_of("desired-state") == 1);
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json(true, 3));
  CHECK(w.open_of("desired-state") == 1);
  w.answer("desired-state", 200, success(desired_json(2)));
  w.answer("desired-state", 200, success(desired_json(3)));
  REQUIRE(w.heard.desired.size() == 3);
  CHECK(w.heard.desired[2].version == 3);
  CHECK(w.open.empty());
}

TEST_CASE("a desired state that cannot be read is read again, and the old one stays in force") {
  link_world w;
  w.start_booted(1);
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json(true, 2));
  for (const auto& [status, body] : std::vector<std::pair<int, std::string>>{{200, ""},
                                                                             {200, success("{}")},
                                                                             {500, ""},
                                                                             {404, refusal("not_found")},
                                                                             {200, success(desired_json(2, 1))}}) {
    w.answer("desired-state", status, body);
    CHECK(w.heard.desired.size() == 1);
    CHECK(w.health_heard.trouble);
    REQUIRE(w.advance_until([&] { return w.open_of("desired-state") == 1; }, 10s));
  }
  w.answer("desired-state", 200, success(desired_json(2)));
  CHECK(w.heard.desired.size() == 2);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("whoever asks for the desired state gets it fresh, or hears that the town could not be asked") {
  link_world w;
  w.start_booted(1);
  const auto first = w.ask<desired_state_answer>(reread_desired_state{});
  const auto second = w.ask<desired_state_answer>(reread_desired_state{});
  CHECK(w.open_of("desired-state") == 1);
  w.answer("desired-state", 200, success(desired_json(1)));
  REQUIRE(*first);
  CHECK((*first)->desired->version == 1);
  // The answer may have been on its way before the second asked.
  CHECK_FALSE(*second);
  w.answer("desired-state", 200, success(desired_json(2)));
  REQUIRE(*second);
  CHECK((*second)->desired->version == 2);
  CHECK(w.heard.desired.size() == 2);

  const auto third = w.ask<desired_state_answer>(reread_desired_state{});
  w.fail("desired-state");
  REQUIRE(*third);
  CHECK((*third)->desired.has_error());
}

TEST_CASE("before boot there is no desired state to read") {
  link_world w;
  w.start();
  const auto asked = w.ask<desired_state_answer>(reread_desired_state{});
  REQUIRE(*asked);
  CHECK((*asked)->desired.error().code == error_code::unavailable);
}

// -- agents and credentials -------------------------------------------------------------------------------------------

TEST_CASE("an agent's call is made with token and epoch, and answered with the town's own words") {
  link_world w;
  w.start_booted();
  const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "checkpoint", R"({"data":1})"});
  const auto& sent = w.oldest("checkpoint").request;
  CHECK(sent.what.path == "/rigs/r1/agents/a1/checkpoint");
  CHECK(sent.what.body == R"({"data":1})");
  CHECK(sent.token.reveal() == "first-container-token");
  CHECK(sent.epoch == 3);
  const auto key = sent.what.idempotency_key;
  CHECK_FALSE(key.empty());
  w.fail("checkpoint");
  REQUIRE(w.advance_until([&] { return w.open_of("checkpoint") == 1; }, 1s));
  CHECK(w.oldest("checkpoint").request.what.idempotency_key == key);
  w.answer("checkpoint", 200, success(R"({"written":true,"seq":4})"));
  CHECK((*call)->status == 200);
  CHECK((*call)->body == success(R"({"written":true,"seq":4})"));

  const auto refused = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "status", "{}"});
  w.answer("status", 400, refusal("invalid_body"));
  CHECK((*refused)->status == 400);
  CHECK((*refused)->body == refusal("invalid_body"));
}

TEST_CASE("an agent's call that the town does not answer in time is a 503") {
  link_world w;
  w.start_booted();
  SECTION("because it cannot be reached") {
    const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "GET", "prime", ""});
    while (!*call) {
      w.fail("prime");
      w.advance_until([&] { return *call || w.open_of("prime") == 1; }, 15s);
    }
    CHECK((*call)->status == 503);
    CHECK(w.sent_of("prime") > 3);
    CHECK(w.now().time_since_epoch() < 16s);
  }
  SECTION("because it hangs") {
    const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "GET", "prime", ""});
    w.advance(15s - 1ms);
    CHECK_FALSE(*call);
    w.advance(1ms);
    REQUIRE(*call);
    CHECK((*call)->status == 503);
    w.answer("prime", 200, success("{}")); // too late, and harmless
  }
  SECTION("because there is no token it takes") {
    const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "GET", "prime", ""});
    w.answer("prime", 401, refusal("unauthorized"));
    w.answer("refresh-container-token", 403, refusal("forbidden"));
    w.advance(15s);
    REQUIRE(*call);
    CHECK((*call)->status == 503);
  }
  SECTION("because its answer is no answer") {
    const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "GET", "prime", ""});
    w.answer("prime", 200, "<html>welcome</html>");
    CHECK_FALSE(*call);
    w.advance(15s);
    REQUIRE(*call);
    CHECK((*call)->status == 503);
    CHECK((*call)->body.find("welcome") == std::string::npos);
  }
}

TEST_CASE("a call that is no agent's is not made") {
  link_world w;
  w.start_booted();
  const auto call = w.ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "completed", "{}"});
  REQUIRE(*call);
  CHECK((*call)->status == 404);
  CHECK(w.open.empty());
}

TEST_CASE("a rig's credentials are the town's, or none, or an error") {
  link_world w;
  w.config.wall_clock = [] { return std::chrono::system_clock::time_point{1'000s}; };
  w.start_booted();
  const auto ask = [&] { return w.ask<git_credentials_answer>(git_credentials_query{"r1", false}); };

  const auto given = ask();
  w.answer("refresh-git-token", 200,
           success(R"({"token":"git-token-1","username":"oauth2","expiresAt":"1970-01-01T00:20:00Z"})"));
  REQUIRE((*given)->login.has_value());
  REQUIRE((*given)->login->has_value());
  CHECK((**(*given)->login).username == "oauth2");
  CHECK((**(*given)->login).token.reveal() == "git-token-1");
  CHECK((*given)->expires_in_ms == 200'000);

  const auto none = ask();
  w.answer("refresh-git-token", 404, refusal("no_git_token"));
  REQUIRE((*none)->login.has_value());
  CHECK_FALSE((*none)->login->has_value());

  const auto refused = ask();
  w.answer("refresh-git-token", 403, refusal("forbidden"));
  CHECK((*refused)->login.error().code == error_code::forbidden);

  const auto garbage = ask();
  w.answer("refresh-git-token", 200, success("{}"));
  CHECK_FALSE(*garbage);
  w.advance(45s);
  REQUIRE(*garbage);
  CHECK((*garbage)->login.has_error());
}

// -- the end ----------------------------------------------------------------------------------------------------------

TEST_CASE("the end of an agent's process is said until the town has heard it") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, report_completed{"r1", "a1", {"failed", "exited with code 1", "d-1", 1, {}}});
  w.run();
  w.fail("completed");
  REQUIRE(w.advance_until([&] { return w.open_of("completed") == 1; }, 1s));
  const auto& said = w.oldest("completed");
  CHECK(said.request.what.path == "/rigs/r1/agents/a1/completed");
  CHECK(says(said, R"("dispatchId":"d-1","exitCode":1)"));
  w.answer("completed", 404, refusal("unknown_agent"));
  w.advance(20s);
  CHECK(w.sent_of("completed") == 1 + 1);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("an eviction is said once, and while the container drains nothing takes it back") {
  link_world w;
  w.start_booted();
  w.self()->send(w.link, ready_with("ready"));
  w.run();
  w.answer("container-ready", 200, ready_json());
  w.self()->send(w.link, report_eviction{"SIGTERM"});
  w.self()->send(w.link, report_eviction{"SIGTERM"});
  w.run();
  CHECK(w.open_of("container-eviction") == 1);
  CHECK(says(w.oldest("container-eviction"), R"("instanceId":"i-1","reason":"SIGTERM")"));
  w.answer("container-eviction", 200, success(R"({"acknowledged":true,"drainNonce":"n-1"})"));
  w.advance(30s);
  w.answer("container-heartbeat", 200, heartbeat_json(1, "n-1"));
  CHECK(w.open.empty());
  w.self()->send(w.link, ready_with("degraded"));
  w.run();
  CHECK_FALSE(says(w.oldest("container-ready"), "nonce"));
  w.answer("container-ready", 200, ready_json(false));
  CHECK(w.open.empty());
}
