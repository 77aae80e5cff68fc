#include "tests/support/http_fault_proxy.hpp"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/control_stub.hpp"
#include "tests/support/http_request.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

using phase = http_rule::phase;

struct proxied {
  control_stub upstream;
  http_fault_proxy proxy{std::stoi(upstream.url().substr(upstream.url().rfind(':') + 1))};

  proxied() { upstream.answer_with(stub_answer{.status = 200, .body = "0123456789"}); }

  result<http_response> ask(const std::string& path = "/a/b", const std::string& method = "POST",
                            std::chrono::milliseconds timeout = std::chrono::seconds{20}) const {
    http_request request;
    request.method = method;
    request.url = proxy.base_url() + path;
    request.body = method == "GET" ? "" : "the request";
    request.timeout = timeout;
    return send(request);
  }
};

constexpr std::chrono::milliseconds short_while{300};

} // namespace

TEST_CASE("an HTTP proxy without a rule passes request and answer") {
  const proxied p;
  const auto answer = p.ask();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(answer->body == "0123456789");
  REQUIRE(p.upstream.requests().size() == 1);
  CHECK(p.upstream.requests()[0].body == "the request");
  CHECK(p.proxy.requests() == std::vector<std::string>{"POST /a/b"});
}

TEST_CASE("a rule concerns its method and path alone, and as often as it says") {
  proxied p;
  p.proxy.set(
      {{.method = "POST", .path = "/a", .answer = fixed_answer{503, {{"retry-after", "7"}}, "no"}, .times = 2}});
  CHECK(p.ask("/b")->status == 200);
  CHECK(p.ask("/a", "GET")->status == 200);
  for (int i = 0; i < 2; ++i) {
    const auto answer = p.ask("/a/b");
    CHECK(answer->status == 503);
    CHECK(answer->headers.at("retry-after") == "7");
    CHECK(answer->body == "no");
  }
  CHECK(p.ask("/a/b")->status == 200);
  CHECK(p.proxy.applied() == 2);
  CHECK(p.upstream.requests().size() == 3); // the two were never asked of it
}

TEST_CASE("a path that begins with a star is looked for anywhere in the target") {
  proxied p;
  p.proxy.set({{.path = "*needle", .answer = fixed_answer{404}}});
  CHECK(p.ask("/hay/needle/hay")->status == 404);
  CHECK(p.ask("/hay")->status == 200);
}

TEST_CASE("a fault in the request keeps the server from it; one in the answer comes after the deed") {
  proxied p;
  SECTION("request cut") {
    p.proxy.set({{.when = phase::request, .what = {fault::kind::cut, 5}}});
    CHECK_FALSE(p.ask().has_value());
    CHECK(p.upstream.requests().empty());
  }
  SECTION("answer lost") {
    p.proxy.set({{.when = phase::response_head, .what = {fault::kind::cut, 0}}});
    CHECK_FALSE(p.ask().has_value());
    CHECK(p.upstream.requests().size() == 1);
  }
  SECTION("answer reset in its middle") {
    p.proxy.set({{.what = {fault::kind::reset, 3}}});
    CHECK_FALSE(p.ask().has_value());
    CHECK(p.upstream.requests().size() == 1);
  }
  SECTION("answer truncated") {
    p.proxy.set({{.what = {fault::kind::cut, 3}}});
    CHECK_FALSE(p.ask().has_value());
  }
  SECTION("request twice") {
    p.proxy.set({{.when = phase::request, .what = {fault::kind::duplicate}}});
    CHECK(p.ask()->status == 200);
    CHECK(p.upstream.requests().size() == 2);
  }
}

TEST_CASE("an HTTP proxy flips, repeats, delays and rewrites the answer's body") {
  proxied p;
  SECTION("flip") {
    p.proxy.set({{.what = {fault::kind::flip, 4}}});
    CHECK(p.ask()->body == "0123556789");
  }
  SECTION("rewrite") {
    p.proxy.set({{.rewrite = [](const std::string& body) { return "[" + body + "]"; }}});
    CHECK(p.ask()->body == "[0123456789]");
  }
  SECTION("latency") {
    p.proxy.set({{.what = {.what = fault::kind::latency, .delay = short_while, .jitter = short_while}}});
    const auto begun = std::chrono::steady_clock::now();
    CHECK(p.ask()->body == "0123456789");
    CHECK(std::chrono::steady_clock::now() - begun >= short_while);
  }
  SECTION("bandwidth") {
    p.proxy.set({{.what = {fault::kind::drip, 100}}});
    CHECK(p.ask()->body == "0123456789");
  }
}

TEST_CASE("what an HTTP proxy stalls is let go when the rules are others") {
  proxied p;
  p.proxy.set({{.what = {fault::kind::stall, 3}}});
  CHECK_FALSE(p.ask("/a", "GET", short_while).has_value());
  p.proxy.clear();
  CHECK(p.ask("/a", "GET")->status == 200);
}
