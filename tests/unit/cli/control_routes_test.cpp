#include "cli/control_routes.hpp"

#include <catch2/catch_test_macros.hpp>

#include "gateway_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;

namespace {

constexpr auto control_token = "control-token-of-this-test";
constexpr auto start_body = R"({"agentId":"a1","rigId":"r1","townId":"t1","role":"polecat","name":"Ann",
  "identity":"Ann <ann@example.invalid>","prompt":"do it","model":"m","gitUrl":"https://git.example/repo.git",
  "branch":"work/a1","defaultBranch":"main","dispatchId":"d1"})";

struct control_fixture : test::gateway_fixture {
  control_context context{"t1",
                          secret(control_token),
                          std::make_shared<published_health>(),
                          std::make_shared<metrics::daemon_metrics>("test"),
                          std::make_shared<current_token>(),
                          actors};

  control_fixture() {
    auto now = std::make_shared<health_snapshot>();
    now->epoch = 3;
    now->document = std::make_shared<const std::string>(R"({"status":"ok"})");
    const_cast<published_health&>(*context.published).publish(std::move(now));
    context.container_token->set(secret("container-token-of-this-test"));
  }

  http::response ask(const char* method, const char* target, std::string body = {}, const char* token = control_token,
                     const char* epoch = "3") {
    http::request r;
    r.method = method;
    r.target = target;
    r.body = std::move(body);
    r.headers = {{"Authorization", std::string("Bearer ") + token}, {"X-Gastown-Epoch", epoch}};
    return test::answer_of(control_routes(context), std::move(r));
  }
};

} // namespace

TEST_CASE("the town's start reaches the supervisor whole, and its answer the town") {
  control_fixture f;
  const auto answer = f.ask("POST", "/agents/start", start_body);
  CHECK(answer.status == 201);
  REQUIRE(f.told->starts.size() == 1);
  const auto& request = f.told->starts.front().request;
  CHECK(request.agent_id == "a1");
  CHECK(request.rig_id == "r1");
  CHECK(request.prompt == "do it");
  CHECK(request.branch == "work/a1");
  CHECK(request.dispatch_id == "d1");
}

TEST_CASE("a start that is not for this container starts nothing") {
  control_fixture f;
  CHECK(f.ask("POST", "/agents/start", start_body, "another-token").status == 401);
  CHECK(f.ask("POST", "/agents/start", start_body, "container-token-of-this-test").status == 401);
  CHECK(f.ask("POST", "/agents/start", start_body, control_token, "2").status == 409);
  CHECK(f.ask("POST", "/agents/start", R"({"agentId":"../x"})").status == 400);
  std::string of_other_town = start_body;
  of_other_town.replace(of_other_town.find(R"("t1")"), 4, R"("t2")");
  CHECK(f.ask("POST", "/agents/start", of_other_town).status == 403);
  CHECK(f.told->starts.empty());
}

TEST_CASE("stopping an agent that is not here is 404") {
  control_fixture f;
  CHECK(f.ask("POST", "/agents/a1/stop").status == 200);
  CHECK(f.ask("POST", "/agents/a9/stop").status == 404);
  CHECK(f.ask("GET", "/agents/a9/status").status == 404);
}

TEST_CASE("a new container token is taken from whoever has the control token or the current one") {
  control_fixture f;
  CHECK(f.ask("POST", "/refresh-token", R"({"token":"second-token"})", "wrong").status == 401);
  CHECK(f.ask("POST", "/refresh-token", R"({"token":"second-token","townId":"t2"})").status == 403);
  CHECK(f.ask("POST", "/refresh-token", R"({"token":"second-token"})", "container-token-of-this-test").status == 200);
  CHECK(f.ask("POST", "/refresh-token", R"({"token":"third-token"})", "container-token-of-this-test").status == 401);
  CHECK(f.ask("POST", "/refresh-token", R"({"token":"third-token","townId":"t1"})").status == 200);
  CHECK(f.ask("POST", "/refresh-token", "{}").status == 400);
}

TEST_CASE("a snapshot is taken of whom it is asked for, by whoever has the control token") {
  control_fixture f;
  town::recovery_point point;
  point.ref = "refs/townkeeper/t1/a1/3";
  f.told->saved.points = {point};
  const auto answer = f.ask("POST", "/snapshot", R"({"agentId":"a1"})");
  CHECK(answer.status == 200);
  CHECK(answer.body_view().find(R"("data":[{"epoch":0)") != std::string_view::npos);
  CHECK(f.ask("POST", "/snapshot").status == 200);
  CHECK(f.told->snapshots == std::vector<std::optional<std::string>>{"a1", std::nullopt});
  CHECK(f.ask("POST", "/snapshot", "{}", "wrong").status == 401);
  CHECK(f.ask("POST", "/snapshot", "{}", "container-token-of-this-test").status == 401);
  CHECK(f.ask("POST", "/snapshot", "{}", control_token, "2").status == 409);
  CHECK(f.ask("POST", "/snapshot", R"({"agentId":"../x"})").status == 400);
  CHECK(f.told->snapshots.size() == 2);
}

TEST_CASE("a snapshot that could not save all names both what is saved and what is not") {
  control_fixture f;
  f.told->saved.points.resize(1);
  f.told->saved.failures = {{error_code::timed_out, "a2", "not saved within 10 s"}};
  const auto answer = f.ask("POST", "/snapshot");
  CHECK(answer.status == 503);
  CHECK(answer.headers.find("Retry-After"));
  const auto body = answer.body_view();
  CHECK(body.find(R"("success":false)") != std::string_view::npos);
  CHECK(body.find(R"("data":[{)") != std::string_view::npos);
  CHECK(body.find(R"("unsaved":[{"agentId":"a2","code":"timed_out")") != std::string_view::npos);
  f.told->saved = {{}, {{error_code::not_found, "a9", "no such agent"}}};
  f.told->saved.unknown_agent = true;
  CHECK(f.ask("POST", "/snapshot", R"({"agentId":"a9"})").status == 404);
}

TEST_CASE("a drain is what a signal is, from whoever has the control token") {
  control_fixture f;
  CHECK(f.ask("POST", "/drain", "", "wrong").status == 401);
  CHECK(f.ask("POST", "/drain", "", control_token, "2").status == 409);
  CHECK(f.ask("POST", "/drain").status == 202);
  f.ask("GET", "/agents/a9/status"); // the supervisor has heard what came before
  const std::lock_guard lock(f.told->mutex);
  CHECK(f.told->shutdowns == std::vector<std::string>{"POST /drain"});
}

TEST_CASE("probes ask no actor") {
  control_fixture f;
  f.actors->close();
  CHECK(f.ask("GET", "/health").body_view() == R"({"status":"ok"})");
  CHECK(f.ask("GET", "/livez").status == 200);
  CHECK(f.ask("GET", "/readyz").status == 503);
  CHECK(f.ask("GET", "/metrics").body_view().find("townkeeper_build_info") != std::string_view::npos);
  CHECK(f.ask("POST", "/agents/start", start_body).status == 503);
  CHECK(f.ask("POST", "/snapshot").status == 503);
  CHECK(f.ask("POST", "/drain").status == 503);
}

TEST_CASE("what an agent may say is not heard on the control port") {
  control_fixture f;
  CHECK(f.ask("GET", "/prime").status == 404);
  CHECK(f.ask("POST", "/checkpoint", R"({"data":1})").status == 404);
  CHECK(f.ask("GET", "/credential?protocol=https&host=git.example").status == 404);
}
