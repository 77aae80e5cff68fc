#include <catch2/catch_test_macros.hpp>

#include <ctime>

#include "suite/bodies.hpp"
#include "suite/routes.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;
using townkeeper::test::sign_token;

namespace {

constexpr auto header = R"({"alg":"HS256","typ":"JWT"})";

std::string claims(const std::string& town, const std::string& scope, long long exp) {
  return R"({"townId":")" + town + R"(","scope":")" + scope + R"(","iat":1000,"exp":)" + std::to_string(exp) + "}";
}

/// What a call with this token to a harmless route is answered.
verdict with_token(const session& town, const std::string& token) {
  return town.send("GET", "/desired-state", {.token = token}).verdict();
}

} // namespace

TEST_CASE("every route of the contract answers its container or its operator") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1");
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    CAPTURE(route.method, route.path);
    const bool admin = route.what == route::kind::admin;
    const auto given =
        admin ? town.admin(route.method, route.path, route.body) : town.container(route.method, route.path, route.body);
    const bool needs_a_token = route.path == "/rigs/rig/refresh-git-token";
    CHECK(given.verdict() == (needs_a_token ? verdict{404, "no_git_token"} : ok));
  }
}

TEST_CASE("without a token every route is refused with 401") {
  session town{shared_town()};
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    CAPTURE(route.method, route.path);
    const auto given = town.send(route.method, route.path, {.body = route.body});
    CHECK(given.verdict() == verdict{401, "unauthorized"});
    CHECK(given.headers.at("www-authenticate") == "Bearer");
  }
}

TEST_CASE("with the right token of another town every route is refused with 403") {
  session town{shared_town()};
  session other{shared_town()};
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    CAPTURE(route.method, route.path);
    const auto given = town.send(route.method, route.path, {.body = route.body, .token = other.admin_token()});
    CHECK(given.verdict() == verdict{403, "forbidden"});
  }
}

TEST_CASE("an expired token is told apart, on every route but the one that refreshes it") {
  session town{shared_town()};
  const auto expired = shared_town().mint(town.town_id(), "container", std::chrono::seconds{-5});
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    CAPTURE(route.method, route.path);
    const auto given = town.send(route.method, route.path, {.body = route.body, .token = expired});
    CHECK(given.verdict() == (route.path == "/refresh-container-token" ? ok : verdict{401, "token_expired"}));
  }
}

TEST_CASE("a token of scope container opens no admin route, one of scope admin opens all") {
  session town{shared_town()};
  for (const auto& route : all_routes(town.town_id(), "i1")) {
    if (route.what != route::kind::admin) continue;
    CAPTURE(route.method, route.path);
    const auto given = town.send(route.method, route.path, {.body = route.body, .token = town.container_token()});
    CHECK(given.verdict() == verdict{403, "forbidden"});
  }
  CHECK(town.send("GET", "/desired-state", {.token = town.admin_token()}).verdict() == ok);
}

TEST_CASE("a token that this town's secret did not sign is refused") {
  session town{shared_town()};
  const auto in_an_hour = static_cast<long long>(std::time(nullptr)) + 3600;
  const auto payload = claims(town.town_id(), "container", in_an_hour);
  const auto& secret = shared_town().secret();
  const verdict refused{401, "unauthorized"};

  REQUIRE(with_token(town, sign_token(secret, header, payload)) == ok);
  CHECK(with_token(town, sign_token(secret + "x", header, payload)) == refused);
  CHECK(with_token(town, sign_token("", header, payload)) == refused);

  const auto good = sign_token(secret, header, payload);
  const auto forged = sign_token(secret, header, claims("another", "admin", in_an_hour));
  const auto body_of = [](const std::string& token) { return token.substr(0, token.rfind('.')); };
  CHECK(with_token(town, body_of(good) + ".") == refused);
  CHECK(with_token(town, body_of(good)) == refused);
  CHECK(with_token(town, body_of(good) + forged.substr(forged.rfind('.'))) == refused);
  CHECK(with_token(town, good.substr(0, good.size() - 1)) == refused);
  CHECK(with_token(town, good + ".x") == refused);
  CHECK(with_token(town, "not-a-token") == refused);
}

TEST_CASE("a token of another algorithm is refused, whatever it is signed with") {
  session town{shared_town()};
  const auto payload = claims(town.town_id(), "admin", static_cast<long long>(std::time(nullptr)) + 3600);
  for (const auto* other :
       {R"({"alg":"none"})", R"({"alg":"HS512"})", R"({"alg":"RS256"})", R"({"alg":"hs256"})", "{}", "x"}) {
    CAPTURE(other);
    CHECK(with_token(town, sign_token(shared_town().secret(), other, payload)) == verdict{401, "unauthorized"});
  }
}

TEST_CASE("a token whose claims are not those of the contract is refused") {
  session town{shared_town()};
  const auto in_an_hour = std::to_string(std::time(nullptr) + 3600);
  const std::string good = claims(town.town_id(), "container", std::stoll(in_an_hour));
  for (const auto& bad :
       {without(good, "/exp"), without(good, "/iat"), without(good, "/scope"), without(good, "/townId"),
        with(good, "/scope", R"("root")"), with(good, "/exp", json_string(in_an_hour)), with(good, "/townId", "7"),
        std::string{"[]"}, std::string{"null"}}) {
    CAPTURE(bad);
    CHECK(with_token(town, sign_token(shared_town().secret(), header, bad)) == verdict{401, "unauthorized"});
  }
}

TEST_CASE("only a Bearer authorization counts") {
  session town{shared_town()};
  const auto given = [&](const std::string& authorization) {
    return town.send("GET", "/desired-state", {.headers = {{"Authorization", authorization}}}).status;
  };
  CHECK(given("Bearer " + town.container_token()) == 200);
  CHECK(given("bearer " + town.container_token()) == 200);
  CHECK(given("Basic " + town.container_token()) == 401);
  CHECK(given(town.container_token()) == 401);
  CHECK(given("Bearer") == 401);
}

TEST_CASE("an expired container token is refreshed for 24 hours after its expiry, and no longer") {
  session town{shared_town()};
  const auto refresh = [&](std::chrono::seconds ttl) {
    return town.send("POST", "/refresh-container-token",
                     {.body = "{}", .token = shared_town().mint(town.town_id(), "container", ttl)});
  };
  const auto day = std::chrono::hours{24};
  CHECK(refresh(std::chrono::hours{1}).verdict() == ok);
  CHECK(refresh(std::chrono::seconds{-60} - day).verdict() == verdict{401, "token_expired"});

  const auto given = refresh(std::chrono::seconds{60} - day);
  REQUIRE(given.verdict() == ok);
  CHECK(given.data().keys() == words("token"));
  const auto fresh = given.data()["token"].string();
  CHECK(with_token(town, fresh) == ok);
  CHECK(town.send("GET", "/state", {.token = fresh}).verdict() == verdict{403, "forbidden"});
  session other{shared_town()};
  CHECK(with_token(other, fresh) == verdict{403, "forbidden"});
}

TEST_CASE("an admin token is not turned into a container token") {
  session town{shared_town()};
  CHECK(town.admin("POST", "/refresh-container-token", "{}").verdict() == verdict{403, "forbidden"});
}

TEST_CASE("the identity headers of other clients are welcome and not needed") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  const call with{.body = R"({"data":1})",
                  .token = town.container_token(),
                  .headers = {{"X-Gastown-Agent-Id", "a1"}, {"X-Gastown-Rig-Id", "rig"}}};
  CHECK(town.send("POST", agent_path("a1", "/checkpoint"), with).verdict() == ok);
}

TEST_CASE("an unknown path is 404 and a known path with another method 405") {
  session town{shared_town()};
  CHECK(town.admin("GET", "/nothing").verdict() == verdict{404, "not_found"});
  CHECK(town.admin("GET", "").verdict() == verdict{404, "not_found"});
  CHECK(town.admin("GET", "/state/more").verdict() == verdict{404, "not_found"});
  CHECK(town.admin("POST", "/state").verdict() == verdict{405, "method_not_allowed"});
  CHECK(town.admin("GET", "/container-boot").verdict() == verdict{405, "method_not_allowed"});
}

TEST_CASE("towns know nothing of each other") {
  session one{shared_town()};
  session two{shared_town()};
  one.put_rig("only-in-one");
  one.boot();
  CHECK(two.desired_state()["rigs"].size() == 0);
  CHECK(two.desired_state()["epoch"] == 0);
  CHECK(two.admin("PUT", agent_path("a1", "", "only-in-one"), agent_body("a1")).verdict() ==
        verdict{404, "unknown_rig"});
}
