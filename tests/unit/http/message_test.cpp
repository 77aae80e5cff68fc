#include "http/message.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/secret.hpp"

using namespace townkeeper;
using namespace townkeeper::http;

namespace {

request with_query(std::string query) {
  request r;
  r.query = std::move(query);
  return r;
}

std::string token_of(std::string authorization) {
  request r;
  r.headers.add("authorization", std::move(authorization));
  return std::string(r.bearer_token());
}

} // namespace

// -- header fields ------------------------------------------------------------

TEST_CASE("header names compare without regard to case, and the first of a name counts") {
  header_fields fields{{"X-Town", "first"}, {"x-town", "second"}};
  CHECK(fields.find("X-TOWN") == "first");
  CHECK_FALSE(fields.find("X-Tow"));
  CHECK_FALSE(fields.find(""));
}

TEST_CASE("adding keeps a field beside one of its name, setting replaces all of them") {
  header_fields fields{{"A", "1"}};
  fields.add("a", "2");
  CHECK(fields.size() == 2);
  fields.set("A", "3");
  CHECK(fields.size() == 1);
  CHECK(fields.find("a") == "3");
}

// -- requests -----------------------------------------------------------------

TEST_CASE("a query parameter is found by its decoded name and given decoded") {
  const auto r = with_query("limit=20&na%6De=a%2Fb%20c&flag&empty=&limit=99&eq=a=b");
  CHECK(r.query_value("limit") == "20");
  CHECK(r.query_value("name") == "a/b c");
  CHECK(r.query_value("flag") == "");
  CHECK(r.query_value("empty") == "");
  CHECK(r.query_value("eq") == "a=b");
  CHECK_FALSE(r.query_value("absent"));
  CHECK_FALSE(r.query_value("lim"));
}

TEST_CASE("a query parameter that cannot be decoded is as good as absent") {
  CHECK_FALSE(with_query("x=%zz").query_value("x"));
  CHECK_FALSE(with_query("x=%00").query_value("x"));
  CHECK_FALSE(with_query("").query_value("x"));
}

TEST_CASE("the bearer token is what follows the scheme, whose case does not matter") {
  CHECK(token_of("Bearer abc.def") == "abc.def");
  CHECK(token_of("bearer   abc") == "abc");
  CHECK(token_of("BEARER abc") == "abc");
  CHECK(token_of("Basic abc").empty());
  CHECK(token_of("Bearer").empty());
  CHECK(token_of("Bearer ").empty());
  CHECK(token_of("Bearerabc").empty());
  CHECK(request().bearer_token().empty());
}

// -- the envelope -------------------------------------------------------------

TEST_CASE("a success wraps its data as it is") {
  const auto r = ok(R"({"a":[1,2]})", 201);
  CHECK(r.status == 201);
  CHECK(r.content_type == "application/json");
  CHECK(r.body_view() == R"({"success":true,"data":{"a":[1,2]}})");
}

TEST_CASE("a failure says what, as which code, and where") {
  CHECK(failure(404, "unknown_agent", "no agent \"a\"\n").body_view() ==
        R"({"success":false,"error":"no agent \"a\"\n","code":"unknown_agent"})");
  CHECK(
      failure(400, "invalid_body", "bad", {{"/rigs/0/name", "missing"}, {"", "odd"}}).body_view() ==
      R"({"success":false,"error":"bad","code":"invalid_body","issues":[{"path":"/rigs/0/name","message":"missing"},{"path":"","message":"odd"}]})");
}

TEST_CASE("a failure shows no secret, neither in its text nor in its issues") {
  const secret token("very-secret-token");
  const auto r = failure(400, "very-secret-token", "it was very-secret-token",
                         {{"/very-secret-token", "https://u:very-secret-token@h/"}});
  CHECK(r.body_view().find("very-secret") == std::string_view::npos);
  CHECK(r.body_view().find("it was ***") != std::string_view::npos);
}

TEST_CASE("bytes that are not UTF-8 make no invalid JSON") {
  CHECK(failure(400, "c", "caf\xe9 \xff").body_view() == R"({"success":false,"error":"caf? ?","code":"c"})");
  CHECK(failure(400, "c", "cut \xe2\x82").body_view() == R"({"success":false,"error":"cut ??","code":"c"})");
  CHECK(failure(400, "c", "café").body_view() == R"({"success":false,"error":"café","code":"c"})");
  CHECK(failure(400, "c", std::string("a\0b", 3)).body_view() == R"({"success":false,"error":"a\u0000b","code":"c"})");
}

TEST_CASE("Retry-After is in whole seconds and said once") {
  const auto r = with_retry_after(with_retry_after(ok("1"), 5), 7);
  CHECK(r.headers.size() == 1);
  CHECK(r.headers.find("retry-after") == "7");
}

TEST_CASE("a body may be shared between answers") {
  const auto document = std::make_shared<const std::string>("shared");
  response r;
  r.body = document;
  CHECK(r.body_view().data() == document->data());
  r.body = std::shared_ptr<const std::string>();
  CHECK(r.body_view().empty());
}

// -- percent coding -----------------------------------------------------------

TEST_CASE("percent decoding takes two hexadecimal digits, and refuses anything else and NUL") {
  CHECK(percent_decode("a%2fb%2Fc") == "a/b/c");
  CHECK(percent_decode("") == "");
  CHECK(percent_decode("a+b") == "a+b");
  CHECK(percent_decode("%41") == "A");
  CHECK(percent_decode("%e2%82%ac") == "€");
  CHECK_FALSE(percent_decode("%"));
  CHECK_FALSE(percent_decode("%4"));
  CHECK_FALSE(percent_decode("x%g1"));
  CHECK_FALSE(percent_decode("%1g"));
  CHECK_FALSE(percent_decode("%00"));
  CHECK_FALSE(percent_decode("% 1"));
}

TEST_CASE("percent encoding leaves nothing that means something in a URL") {
  CHECK(percent_encode("AZaz09-._~") == "AZaz09-._~");
  CHECK(percent_encode("a/b?c#d&e=f%g h+i") == "a%2Fb%3Fc%23d%26e%3Df%25g%20h%2Bi");
  CHECK(percent_encode("é") == "%C3%A9");
  CHECK(percent_encode("[`{@") == "%5B%60%7B%40"); // the neighbours of A, Z, a, z
}

TEST_CASE("what was encoded decodes to itself") {
  std::string every_byte;
  for (int c = 1; c < 256; ++c)
    every_byte += static_cast<char>(c);
  CHECK(percent_decode(percent_encode(every_byte)) == every_byte);
}
