#include "town/answer.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "../core/result_printer.hpp"
#include "core/secret.hpp"

using namespace townkeeper;
using namespace townkeeper::town;
using namespace std::chrono_literals;

namespace {
error_code code_of(int status, std::string_view body = {}) {
  const auto answer = classify("route", status, body, {});
  REQUIRE(answer.data.has_error());
  CHECK(answer.data.error().object == "route");
  return answer.data.error().code;
}
} // namespace

TEST_CASE("a success is a 2xx with the town's envelope, and its data is kept byte for byte") {
  const auto answer = classify("route", 200, R"({"success":true,"data":{"id": 18446744073709551616.50}})", {});
  REQUIRE(answer.data);
  CHECK(answer.data->text() == R"({"id": 18446744073709551616.50})");
  CHECK(classify("route", 201, R"({"success":true,"data":null})", {}).data->text() == "null");
}

TEST_CASE("a 2xx that is not the envelope is corrupt, never an empty answer") {
  const auto* body = GENERATE("", " ", "null", "[]", "{}", "{\"success\":true", R"({"success":true})",
                              R"({"success":false,"data":{}})", R"({"success":"true","data":{}})",
                              R"({"success":true,"data":{}} trailing)", "<html>sign in</html>",
                              "{\"success\":true,\"data\":\"\xff\"}", R"({"success":true,"d\u0061ta":{}})");
  CAPTURE(body);
  CHECK(code_of(200, body) == error_code::corrupt);
}

TEST_CASE("a body that nests too deeply is corrupt, one of 10 MB is too large") {
  CHECK(code_of(200, R"({"success":true,"data":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}") ==
        error_code::corrupt);
  CHECK(code_of(200, R"({"success":true,"data":")" + std::string(10'000'000, 'x') + "\"}") == error_code::too_large);
  CHECK(code_of(500, std::string(10'000'000, 'x')) == error_code::unavailable);
}

TEST_CASE("a checkpoint as deep as the town takes it is read in the context that holds it") {
  constexpr std::size_t deepest = 127; // of the town's 128, one is the body's
  const auto checkpoint = std::string(deepest, '[') + std::string(deepest, ']');
  const auto answer =
      classify("prime", 200, R"({"success":true,"data":{"agent":{"checkpoint":)" + checkpoint + "}}}", {});
  CHECK(answer.data);
}

TEST_CASE("each status has its kind of error") {
  const auto [status, code] = GENERATE(table<int, error_code>({
      {301, error_code::redirect_refused},
      {400, error_code::invalid_argument},
      {401, error_code::unauthorized},
      {403, error_code::forbidden},
      {404, error_code::not_found},
      {405, error_code::invalid_argument},
      {408, error_code::timed_out},
      {409, error_code::conflict},
      {413, error_code::too_large},
      {429, error_code::rate_limited},
      {500, error_code::unavailable},
      {503, error_code::unavailable},
      {504, error_code::timed_out},
      {100, error_code::corrupt},
      {600, error_code::corrupt},
  }));
  CAPTURE(status);
  CHECK(code_of(status) == code);
}

TEST_CASE("the town's own word tells two errors of one status apart") {
  CHECK(code_of(401, R"({"success":false,"error":"e","code":"token_expired"})") == error_code::token_expired);
  CHECK(code_of(409, R"({"success":false,"error":"e","code":"fenced"})") == error_code::fenced);
  CHECK(code_of(409, R"({"success":false,"error":"e","code":"branch_in_use"})") == error_code::conflict);
  CHECK(code_of(400, R"({"success":false,"error":"e","code":"too_large"})") == error_code::too_large);
}

TEST_CASE("an error's text is the town's, with its issues") {
  const auto answer = classify("container-ready", 400,
                               R"({"success":false,"error":"bad body","code":"invalid_body",)"
                               R"("issues":[{"path":"agents.0.branch","message":"must be a string"},{"path":1}]})",
                               {});
  CHECK(answer.data.error().message == "HTTP 400 invalid_body: bad body; agents.0.branch: must be a string");
}

TEST_CASE("foreign text is shown short, on one line and without secrets") {
  const secret token{"tok-0815-very-secret"};
  const auto message =
      classify("r", 502, "<html>\n\x01 tok-0815-very-secret " + std::string(5'000, 'x'), {}).data.error().message;
  CHECK(message.size() < 300);
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.find("very-secret") == std::string::npos);
  const auto quoted =
      classify("r", 500, R"({"success":false,"error":"line\nbreak tok-0815-very-secret","code":"x\ny"})", {});
  CHECK(quoted.data.error().message == "HTTP 500 x y: line break ***");
}

TEST_CASE("a secret that lies across the end of what is read of foreign text is shown in no part") {
  const secret token{"tok-" + std::string(700, 'y') + "-4711"};
  // Redacted, the first token leaves room for what of the second one stands before that end.
  for (const std::size_t blanks : {0U, 20U, 80U}) {
    const auto text = std::string(blanks, ' ') + token.reveal() + " " + token.reveal();
    CHECK(classify("r", 502, "<" + text, {}).data.error().message.find("yyy") == std::string::npos);
    const auto quoted = classify("r", 500, R"({"success":false,"error":")" + text + R"(","code":"x"})", {});
    CHECK(quoted.data.error().message.find("yyy") == std::string::npos);
  }
  const auto url = token.reveal() + std::string(75, ' ') + "https://user:hidden@host/";
  CHECK(classify("r", 502, url, {}).data.error().message.find("user") == std::string::npos);
}

TEST_CASE("Retry-After is read in seconds, up to an hour") {
  const auto read = [](std::string_view text) { return classify("r", 503, "", text).retry_after; };
  CHECK(read("7") == 7s);
  CHECK(read("0") == 0s);
  CHECK(read("999999") == 1h);
  for (const auto* text : {"", "-1", "soon", "1.5", "7 s", "99999999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT"})
    CHECK_FALSE(read(text));
}

TEST_CASE("what may be answered otherwise later is worth repeating") {
  for (const auto code :
       {error_code::unavailable, error_code::timed_out, error_code::rate_limited, error_code::corrupt})
    CHECK(is_worth_repeating(code));
  for (const auto code : {error_code::invalid_argument, error_code::unauthorized, error_code::forbidden,
                          error_code::not_found, error_code::fenced, error_code::conflict, error_code::too_large})
    CHECK_FALSE(is_worth_repeating(code));
}
