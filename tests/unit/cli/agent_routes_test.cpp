#include "cli/agent_routes.hpp"

#include <catch2/catch_test_macros.hpp>

#include "gateway_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;

namespace {

constexpr auto own = "?protocol=https&host=git.example&path=";
constexpr auto foreign = "?protocol=https&host=evil.example&path=";

struct agent_fixture : test::gateway_fixture {
  const http::router routes = agent_routes(actors);

  http::response ask(const char* method, const std::string& target, std::string body = {}) {
    http::request r;
    r.method = method;
    r.target = target;
    r.body = std::move(body);
    r.label = agent_label("r1", "a1");
    return test::answer_of(routes, std::move(r));
  }
};

git::credentials login(const char* token) {
  return {"x-access-token", secret(token)};
}

} // namespace

TEST_CASE("the socket decides which agent speaks") {
  agent_fixture f;
  CHECK(f.ask("POST", "/checkpoint", R"({"data":1})").status == 200);
  CHECK(f.ask("GET", "/checkpoints?limit=5").status == 200);
  REQUIRE(f.told->calls.size() == 2);
  CHECK(f.told->calls[0].rig_id == "r1");
  CHECK(f.told->calls[0].agent_id == "a1");
  CHECK(f.told->calls[0].method == "POST");
  CHECK(f.told->calls[0].route == "checkpoint");
  CHECK(f.told->calls[0].body == R"({"data":1})");
  CHECK(f.told->calls[1].route == "checkpoints?limit=5");
}

TEST_CASE("what the town and operators may say is not heard on an agent's socket") {
  agent_fixture f;
  for (const auto* target : {"/agents/start", "/agents/a2/stop", "/refresh-token"})
    CHECK(f.ask("POST", target, "{}").status == 404);
  CHECK(f.ask("GET", "/metrics").status == 404);
}

TEST_CASE("an agent is told the login of its own rig's remote, and of no other") {
  agent_fixture f;
  f.told->logins = {login("token-of-the-rig")};
  const auto told = f.ask("GET", std::string("/credential") + own);
  CHECK(told.status == 200);
  CHECK(told.body_view() == R"({"success":true,"data":{"username":"x-access-token","password":"token-of-the-rig"}})");
  const auto kept_back = f.ask("GET", std::string("/credential") + foreign);
  CHECK(kept_back.status == 404);
  CHECK(kept_back.body_view().find("token-of-the-rig") == std::string_view::npos);
}

TEST_CASE("a login that the remote refused is refreshed before it is told again") {
  agent_fixture f;
  f.told->logins = {login("old-token")};
  CHECK(f.ask("POST", std::string("/credential-refused") + foreign).status == 404);
  CHECK(f.ask("GET", std::string("/credential") + own).status == 200);
  CHECK_FALSE(f.told->queries.back().refresh);
  CHECK(f.ask("POST", std::string("/credential-refused") + own).status == 200);
  CHECK(f.ask("GET", std::string("/credential") + own).status == 200);
  CHECK(f.told->queries.back().refresh);
  CHECK(f.ask("GET", std::string("/credential") + own).status == 200);
  CHECK_FALSE(f.told->queries.back().refresh);
}

TEST_CASE("a remote that demands a login where none was known has the town asked") {
  agent_fixture f;
  f.told->logins = {std::nullopt, login("new-token")};
  CHECK(f.ask("GET", std::string("/credential") + own).status == 200);
  CHECK(f.told->queries.back().refresh);
  f.told->logins = {std::nullopt};
  CHECK(f.ask("GET", std::string("/credential") + own).status == 404);
}
