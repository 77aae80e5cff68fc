#include "http/url.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::http;

TEST_CASE("a URL is taken apart into scheme, host, port and target") {
  const auto plain = parse_url("http://town.example/api/towns/t1?x=1&y#part");
  REQUIRE(plain);
  CHECK_FALSE(plain->secure);
  CHECK(plain->host == "town.example");
  CHECK(plain->port == 80);
  CHECK(plain->target == "/api/towns/t1?x=1&y");

  const auto secure = parse_url("https://127.0.0.1:8443");
  REQUIRE(secure);
  CHECK(secure->secure);
  CHECK(secure->port == 8443);
  CHECK(secure->target == "/");
  CHECK(parse_url("https://h")->port == 443);
  CHECK(parse_url("http://h?q=1")->target == "/?q=1");
}

TEST_CASE("an IPv6 host loses its brackets and gets them back in the authority") {
  const auto u = parse_url("http://[::1]:81/x");
  REQUIRE(u);
  CHECK(u->host == "::1");
  CHECK(u->authority() == "[::1]:81");
  CHECK(parse_url("http://[::1]/")->authority() == "[::1]");
}

TEST_CASE("the authority leaves out the port that is the scheme's own") {
  CHECK(parse_url("http://h:80/")->authority() == "h");
  CHECK(parse_url("https://h:443/")->authority() == "h");
  CHECK(parse_url("https://h:80/")->authority() == "h:80");
}

TEST_CASE("what is shown of a URL has no query") {
  CHECK(parse_url("https://h:1/a?token=t#f")->display() == "https://h:1/a");
}

TEST_CASE("what is no URL to call is refused") {
  const auto text = GENERATE(as<std::string>{}, "", "h", "ftp://h/", "file:///etc/passwd", "ext::sh", "HTTP//h",
                             "http:/h", "http://", "http:///x", "http://?x", "http://user@h/", "http://u:p@h/",
                             "http://h:0/", "http://h:65536/", "http://h:/", "http://h:8x/", "http://h:-1/",
                             "http://[::1", "http://[h]/", "http://[::1]x/", "http://h /", "http://h/a b",
                             "http://h/\r\nX: y", "http://h/\x7f", "http://h\xc3\xa9/", "http://h\\evil/");
  CAPTURE(text);
  const auto refused = parse_url(text);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::invalid_argument);
}

TEST_CASE("a refusal shows neither user information nor the query") {
  const auto refused = parse_url("https://user:hunter2pass@h/a?token=abc123");
  REQUIRE_FALSE(refused);
  const auto shown = to_string(refused.error());
  CHECK(shown.find("hunter2") == std::string::npos);
  CHECK(shown.find("abc123") == std::string::npos);
}
