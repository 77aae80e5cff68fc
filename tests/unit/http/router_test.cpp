#include "http/router.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace townkeeper;
using namespace townkeeper::http;

namespace {

request make(std::string method, std::string path, std::string token = {}) {
  request r;
  r.method = std::move(method);
  r.target = path;
  r.path = std::move(path);
  if (!token.empty()) r.headers.add("Authorization", "Bearer " + token);
  return r;
}

response ask(const router& routes, request r) {
  response got{.status = 0, .body = std::string(), .headers = {}};
  routes(std::move(r), responder([&](response answer) { got = std::move(answer); }));
  return got;
}

handler says(std::string text) {
  return [text = std::move(text)](const request& r, const responder& answer_it) {
    auto body = text;
    for (const auto& [name, value] : r.params)
      body.append(" ").append(name).append("=").append(value);
    answer_it({.body = std::move(body), .headers = {}});
  };
}

router town_routes() {
  router routes;
  routes.add("GET", "/health", says("health"));
  routes.add("POST", "/agents/start", accepts(secret("control-token")), says("start"));
  routes.add("POST", "/agents/{agent}/stop", accepts(secret("control-token")), says("stop"));
  routes.add("GET", "/agents/{agent}/status", says("status"));
  routes.add("GET", "/", says("page"));
  routes.add("GET", "/{a}/{b}/both", says("both"));
  return routes;
}

std::string allow(const response& r) {
  return std::string(r.headers.find("Allow").value_or(""));
}

} // namespace

TEST_CASE("a route is found by method and path") {
  const auto routes = town_routes();
  CHECK(ask(routes, make("GET", "/health")).body_view() == "health");
  CHECK(ask(routes, make("GET", "/")).body_view() == "page");
}

TEST_CASE("a braced segment takes any one segment and hands it over decoded") {
  const auto routes = town_routes();
  CHECK(ask(routes, make("GET", "/agents/a1/status")).body_view() == "status agent=a1");
  CHECK(ask(routes, make("GET", "/agents/a%2Fb/status")).body_view() == "status agent=a/b");
  CHECK(ask(routes, make("GET", "/1/2/both")).body_view() == "both a=1 b=2");
}

TEST_CASE("a path that only resembles a route is unknown") {
  const auto routes = town_routes();
  const auto path = GENERATE(as<std::string>{}, "/healt", "/health/", "//health", "/Health", "/agents//status",
                             "/agents/a/b/status", "/agents/%zz/status", "/agents/%00/status", "/agents/%/status",
                             "/agents", "", "health", "*", "/.", "/agents/a1/status/");
  CAPTURE(path);
  const auto r = ask(routes, make("GET", path));
  CHECK(r.status == 404);
  CHECK(r.body_view().find(R"("code":"not_found")") != std::string_view::npos);
}

TEST_CASE("HEAD goes to GET's handler") {
  CHECK(ask(town_routes(), make("HEAD", "/health")).body_view() == "health");
  CHECK(ask(town_routes(), make("HEAD", "/agents/start")).status == 405);
}

TEST_CASE("another method on a known path is 405 and says which ones are taken") {
  const auto routes = town_routes();
  const auto r = ask(routes, make("DELETE", "/health"));
  CHECK(r.status == 405);
  CHECK(allow(r) == "GET, HEAD, OPTIONS");
  CHECK(allow(ask(routes, make("GET", "/agents/start"))) == "POST, OPTIONS");
  CHECK(ask(routes, make("get", "/health")).status == 405); // methods are case-sensitive: RFC 9110, 9.1
}

TEST_CASE("OPTIONS is answered with Allow and no body") {
  const auto routes = town_routes();
  const auto r = ask(routes, make("OPTIONS", "/agents/a1/stop"));
  CHECK(r.status == 204);
  CHECK(allow(r) == "POST, OPTIONS");
  CHECK(r.body_view().empty());
  CHECK(ask(routes, make("OPTIONS", "*")).status == 204);
  CHECK(ask(routes, make("OPTIONS", "/nowhere")).status == 404);
}

TEST_CASE("a guarded route takes exactly its token") {
  const auto routes = town_routes();
  CHECK(ask(routes, make("POST", "/agents/start", "control-token")).body_view() == "start");
  const auto wrong = GENERATE(as<std::string>{}, "", "control-toke", "control-tokem", "control-token1", "xontrol-token",
                              "CONTROL-TOKEN");
  CAPTURE(wrong);
  const auto r = ask(routes, make("POST", "/agents/start", wrong));
  CHECK(r.status == 401);
  CHECK(r.headers.find("WWW-Authenticate") == "Bearer");
  CHECK(r.body_view().find("start\"") == std::string_view::npos);
}

TEST_CASE("a guarded handler is not called without its token") {
  int calls = 0;
  router routes;
  routes.add("POST", "/x", accepts(secret("control-token")), [&](const request&, const responder& answer_it) {
    ++calls;
    answer_it(ok("1"));
  });
  ask(routes, make("POST", "/x"));
  ask(routes, make("POST", "/x", "guess"));
  CHECK(calls == 0);
  ask(routes, make("POST", "/x", "control-token"));
  CHECK(calls == 1);
}

TEST_CASE("an empty secret opens nothing, not even to an empty token") {
  router routes;
  routes.add("POST", "/x", accepts(secret()), says("open"));
  CHECK(ask(routes, make("POST", "/x")).status == 401);
  auto r = make("POST", "/x");
  r.headers.add("Authorization", "Bearer ");
  CHECK(ask(routes, std::move(r)).status == 401);
}

TEST_CASE("which methods a guarded path takes is no secret, its handler's answer is") {
  const auto routes = town_routes();
  CHECK(ask(routes, make("PUT", "/agents/a1/stop")).status == 405);
  CHECK(ask(routes, make("POST", "/agents/a1/stop")).status == 401);
}
