#include "town/token.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace townkeeper;
using namespace townkeeper::town;
using namespace std::chrono_literals;

namespace {
const std::chrono::system_clock::time_point issued{1'700'000'000s};
const secret key{"the secret of the town"};
} // namespace

// The expected tokens were made with Python's hmac and base64 modules.
TEST_CASE("a minted token is the JWT that another implementation makes of the same claims") {
  CHECK(mint_token(key, "t-1", token_scope::container, 1h, issued)->reveal() ==
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJ0b3duSWQiOiJ0LTEiLCJzY29wZSI6ImNvbnRhaW5lciIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAzNjAwfQ."
        "9QADpb63OdGxKZqmqzg0BaRJr4Hi1e1XdBjBtbYd0VU");
  CHECK(mint_token(key, "t-1", token_scope::admin, 1s, issued)->reveal() ==
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJ0b3duSWQiOiJ0LTEiLCJzY29wZSI6ImFkbWluIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwMDAwMDF9."
        "itfQLPcXG8ol2RnFSR207ABnhKJglPI0aLxjCJecB0U");
}

TEST_CASE("no token is minted without a key, for a bad town id or for no time") {
  CHECK(mint_token(secret{}, "t-1", token_scope::admin, 1h, issued).error().object == "TOWN_SECRET");
  CHECK(mint_token(key, "../t", token_scope::admin, 1h, issued).error().object == "town");
  CHECK(mint_token(key, "", token_scope::admin, 1h, issued).error().object == "town");
  CHECK(mint_token(key, "t-1", token_scope::admin, 0s, issued).error().object == "ttl");
}

TEST_CASE("a token says when it expires") {
  const auto token = mint_token(key, "t-1", token_scope::container, 8h, issued);
  CHECK(token_expiry(token->reveal()) == issued + 8h);
  // RFC 7519, 3.1
  CHECK(token_expiry("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                     "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
                     "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") ==
        std::chrono::system_clock::time_point{1'300'819'380s});
}

TEST_CASE("what is no token, or names no sensible time, has no expiry") {
  for (const auto* text : {"", ".", "..", "a.b", "a.b.c", "a.!!.c", "e30.e30.x" /* {} */,
                           "e30.eyJleHAiOiJzb29uIn0.x" /* {"exp":"soon"} */, "e30.eyJleHAiOi0xfQ.x" /* {"exp":-1} */,
                           "e30.eyJleHAiOjFlMzAwfQ.x" /* {"exp":1e300} */, "e30.W10.x" /* [] */}) {
    CAPTURE(text);
    CHECK_FALSE(token_expiry(text));
  }
  CHECK_FALSE(token_expiry("e30." + std::string(100'000, 'W') + ".x"));
}
