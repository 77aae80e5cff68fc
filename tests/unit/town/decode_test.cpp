#include "town/decode.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "../core/result_printer.hpp"
#include "json_object.hpp"

using namespace townkeeper;
using namespace townkeeper::town;
using namespace std::chrono_literals;
using test::json_object;

namespace {

answer_data data(std::string json) {
  auto parsed = answer_data::parse(std::move(json));
  REQUIRE(parsed.has_value());
  return *parsed;
}

std::int64_t seconds_of(std::string_view text) {
  const auto at = parse_time(text);
  REQUIRE(at);
  return std::chrono::floor<std::chrono::seconds>(at->time_since_epoch()).count();
}

const json_object start{
    {"agentId", R"("a1")"},    {"rigId", R"("r1")"},          {"townId", R"("t1")"},
    {"role", R"("polecat")"},  {"name", R"("Ada")"},          {"identity", R"("Ada <ada@example.org>")"},
    {"prompt", R"("go\non")"}, {"model", R"("m-1")"},         {"gitUrl", R"("https://example.org/r.git")"},
    {"branch", R"("gt/a1")"},  {"defaultBranch", R"("main")"}};

} // namespace

TEST_CASE("a ready answer") {
  const auto answer = decode_ready_answer(data(R"({"cleared":true,"pending":3,"desiredVersion":9,"more":[]})"));
  REQUIRE(answer);
  CHECK(answer->cleared);
  CHECK(answer->pending == 3);
  CHECK(answer->desired_version == 9);
  CHECK(decode_ready_answer(data("{}")).error().message == "cleared is missing");
  CHECK(decode_ready_answer(data(R"({"cleared":1,"pending":3,"desiredVersion":9})")).error().message ==
        "cleared must be true or false");
  CHECK(decode_ready_answer(data(R"({"cleared":true,"pending":-1,"desiredVersion":9})")).error().message ==
        "pending must be an integer of at least 0");
  CHECK(decode_ready_answer(data(R"({"cleared":true,"pending":0,"desiredVersion":1.5})")).error().code ==
        error_code::corrupt);
  CHECK(decode_ready_answer(data("[]")).has_error());
}

TEST_CASE("a heartbeat's answer") {
  const auto answer = decode_heartbeat_answer(data(R"({"desiredVersion":9,"drainNonce":"n-1"})"));
  REQUIRE(answer);
  CHECK(answer->desired_version == 9);
  CHECK(answer->drain_nonce == "n-1");
  CHECK_FALSE(decode_heartbeat_answer(data(R"({"desiredVersion":9,"drainNonce":null})"))->drain_nonce);
  CHECK(decode_heartbeat_answer(data(R"({"desiredVersion":9,"drainNonce":{}})")).error().message ==
        "drainNonce must be a string");
  CHECK(decode_heartbeat_answer(data(R"({"desiredVersion":9,"drainNonce":"a\nb"})")).has_error());
}

TEST_CASE("a git token, with the user name that hosts take when none is said") {
  const auto token = decode_git_token(data(R"({"token":"t-123456","expiresAt":"2026-11-22T12:00:00Z"})"));
  REQUIRE(token);
  CHECK(token->token.reveal() == "t-123456");
  CHECK(token->username == "x-access-token");
  CHECK(token->expires_at == parse_time("2026-11-22T12:00:00Z"));
  CHECK(decode_git_token(data(R"({"token":"t-123456","username":"oauth2"})"))->username == "oauth2");
  CHECK_FALSE(decode_git_token(data(R"({"token":"t-123456","expiresAt":"soon"})"))->expires_at);
  for (const auto* bad : {"{}", R"({"token":""})", R"({"token":"a\r\nX-Evil: 1"})", R"({"token":1})",
                          R"({"token":"t-123456","username":"a:b"})", R"({"token":"t-123456","username":"a\nb"})"}) {
    CAPTURE(bad);
    CHECK(decode_git_token(data(bad)).has_error());
  }
}

TEST_CASE("a container token") {
  CHECK(decode_container_token(data(R"({"token":"abc.def.ghi"})"))->reveal() == "abc.def.ghi");
  for (const auto* bad : {"{}", R"({"token":"two words"})", R"({"token":["x"]})", "null"})
    CHECK(decode_container_token(data(bad)).has_error());
}

TEST_CASE("no error shows a token") {
  const auto e = decode_container_token(data("{\"token\":\"secret with spaces\"}")).error();
  CHECK(to_string(e).find("secret with") == std::string::npos);
}

TEST_CASE("a start request is read whole") {
  const auto whole = start.with("systemPrompt", R"("be good")")
                         .with("envVars", R"({"A":"1","_b2":""})")
                         .with("startPoint", R"("origin/main")")
                         .with("dispatchId", R"("d-1")")
                         .with("kilocodeToken", R"("ignored")");
  const auto r = decode_start_request(whole.text());
  REQUIRE(r.has_value());
  CHECK(r->agent_id == "a1");
  CHECK(r->rig_id == "r1");
  CHECK(r->town_id == "t1");
  CHECK(r->role == "polecat");
  CHECK(r->name == "Ada");
  CHECK(r->identity == "Ada <ada@example.org>");
  CHECK(r->prompt == "go\non");
  CHECK(r->model == "m-1");
  CHECK(r->system_prompt == "be good");
  CHECK(r->git_url == "https://example.org/r.git");
  CHECK(r->branch == "gt/a1");
  CHECK(r->default_branch == "main");
  CHECK(r->env_vars == std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"_b2", ""}});
  CHECK(r->start_point == "origin/main");
  CHECK(r->dispatch_id == "d-1");
}

TEST_CASE("a bad start request is refused with the field's name, never its value") {
  const auto [key, value] = GENERATE(table<std::string, std::string>({
      {"agentId", R"("../evil")"},
      {"agentId", R"(".git")"},
      {"agentId", "1"},
      {"rigId", R"("a/b")"},
      {"rigId", R"("x.lock")"},
      {"townId", R"("evil..evil")"},
      {"role", R"("")"},
      {"name", R"("evil\nline")"},
      {"identity", R"("evil <a> <b>")"},
      {"identity", R"("<evil@x>")"},
      {"prompt", R"("evil\u0000")"},
      {"model", "null"},
      {"gitUrl", R"("-oProxyCommand=evil")"},
      {"gitUrl", R"("https://user:evil@host/r")"},
      {"gitUrl", R"("evil")"},
      {"branch", R"("-evil")"},
      {"branch", R"("evil..evil")"},
      {"branch", R"("evil evil")"},
      {"defaultBranch", R"("evil.lock")"},
      {"envVars", R"({"evil-name":"1"})"},
      {"envVars", R"({"1evil":"1"})"},
      {"envVars", R"({"A":1})"},
      {"envVars", R"({"A":"evil\u0000"})"},
      {"envVars", R"(["evil"])"},
      {"dispatchId", R"("evil evil")"},
  }));
  CAPTURE(key, value);
  const auto r = decode_start_request(start.with(key, value).text());
  REQUIRE(r.has_error());
  CHECK(r.error().code == error_code::invalid_argument);
  CHECK(r.error().message.starts_with(key));
  CHECK(r.error().message.find("evil") == std::string::npos);
}

TEST_CASE("a start request lacks no field, and is one JSON object") {
  for (const auto* key : {"agentId", "rigId", "townId", "role", "name", "identity", "prompt", "model", "gitUrl",
                          "branch", "defaultBranch"})
    CHECK(decode_start_request(start.without(key).text()).error().message == std::string(key) + " is missing");
  for (const auto* body : {"", "{", "[]", "null", "\"a\"", "{\"agentId\":\"a1\"} {}"}) {
    CAPTURE(body);
    CHECK(decode_start_request(body).error().code == error_code::invalid_argument);
  }
  CHECK(decode_start_request(std::string(1'000'000, '[')).has_error());
}

TEST_CASE("a new container token for the daemon") {
  const auto r = decode_token_refresh(R"({"token":"abc.def","townId":"t1"})");
  REQUIRE(r.has_value());
  CHECK(r->token.reveal() == "abc.def");
  CHECK(r->town_id == "t1");
  CHECK_FALSE(decode_token_refresh(R"({"token":"abc.def"})")->town_id);
  for (const auto* bad : {"", "{}", R"({"token":""})", R"({"token":"a b"})", R"({"token":"abc","townId":"../x"})"})
    CHECK(decode_token_refresh(bad).error().code == error_code::invalid_argument);
}

TEST_CASE("the epoch of the container that lives, if one does") {
  const auto of = [](const std::string& container) {
    return decode_live_epoch(answer_data::parse("{" + container + "}").value());
  };
  CHECK(of(R"("container":{"epoch":4,"live":true})").value() == 4);
  CHECK_FALSE(of(R"("container":{"epoch":4,"live":false})").value());
  CHECK_FALSE(of(R"("container":null)").value());
  CHECK(of(R"("container":{"epoch":4})").error().code == error_code::corrupt);
  CHECK(of(R"("container":[])").error().code == error_code::corrupt);
}

TEST_CASE("finished is who has said done and holds no work") {
  const auto of = [](const std::string& agents) {
    return decode_finished_agents(answer_data::parse(R"({"rigs":[{"rigId":"r1","agents":[)" + agents + "]}]}").value());
  };
  const std::string commit(40, 'c');
  const auto found = of(R"({"agentId":"a1","status":"idle","done":{"branch":"b"},"recovery":{"commit":")" + commit +
                        R"("}},)"
                        R"({"agentId":"a2","status":"idle","done":null},)"
                        R"({"agentId":"a3","status":"working","done":{"branch":"b"}},)"
                        R"({"agentId":"../a4","status":"idle","done":{}},7,)"
                        R"({"agentId":"a5","status":"idle","done":{},"recovery":{}})");
  CHECK(found.value() == std::vector<finished_agent>{{"r1", "a1", commit}});
  CHECK(decode_finished_agents(answer_data::parse("{}").value()).error().code == error_code::corrupt);
}

TEST_CASE("a snapshot is asked of one agent, or of all") {
  CHECK(decode_snapshot_request(R"({"agentId":"a1"})").value() == "a1");
  for (const auto* all : {"", "{}", R"({"agentId":null})"}) {
    const auto asked = decode_snapshot_request(all);
    REQUIRE(asked);
    CHECK_FALSE(asked->has_value());
  }
  for (const auto* bad : {"[]", "{", R"({"agentId":1})", R"({"agentId":"../x"})"})
    CHECK(decode_snapshot_request(bad).error().code == error_code::invalid_argument);
}

TEST_CASE("a time of RFC 3339") {
  CHECK(seconds_of("1970-01-01T00:00:00Z") == 0);
  CHECK(seconds_of("2026-11-22T12:00:00Z") == 1'795'348'800);
  CHECK(seconds_of("2026-11-22T13:30:00+01:30") == 1'795'348'800);
  CHECK(seconds_of("2026-11-22T04:00:00-08:00") == 1'795'348'800);
  CHECK(seconds_of("2024-02-29T23:59:59Z") == 1'709'251'199);
  CHECK(*parse_time("2026-11-22T12:00:00.25Z") - *parse_time("2026-11-22T12:00:00Z") == 250ms);
  CHECK(*parse_time("2026-11-22T12:00:00.123456789Z") - *parse_time("2026-11-22T12:00:00Z") == 123ms);
}

TEST_CASE("a time that the clock cannot count is none, not another one") {
  CHECK(parse_time("1678-01-01T00:00:00Z"));
  CHECK(parse_time("2261-12-31T23:59:60.999-23:59"));
  for (const auto* text : {"0000-01-01T00:00:00Z", "1677-12-31T23:59:59Z", "2262-01-01T00:00:00Z",
                           "7565-11-22T12:00:00.5+01:00", "9999-12-31T23:59:59Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text));
  }
  CHECK_FALSE(decode_git_token(data(R"({"token":"t-123456","expiresAt":"9999-12-31T23:59:59Z"})"))->expires_at);
}

TEST_CASE("what is no time is none") {
  for (const auto* text :
       {"", "now", "2026-11-22", "2026-11-22T12:00:00", "2026-11-22 12:00:00Z", "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z", "2026-00-10T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T12:60:00Z",
        "2026-11-22T12:00:00.Z", "2026-11-22T12:00:00+25:00", "2026-11-22T12:00:00+0100", "2026-11-22T12:00:00Zx",
        "-026-11-22T12:00:00Z", "+026-11-22T12:00:00Z", "20261122T120000Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text));
  }
}
