#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <thread>

#include "tests/unit/http/running_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;

namespace {

/// What a server says to these bytes, and how often its handler was called meanwhile.
struct verdict {
  answer said;
  bool closed = false;
  int handled = 0;
};

verdict say(std::string_view bytes, server_limits limits = {}) {
  std::atomic<int> handled{0};
  running_server server(
      [&](request r, const responder& answer_it) {
        ++handled;
        echo(std::move(r), answer_it);
      },
      limits);
  auto client = server.connect();
  client.send(bytes);
  client.half_close();
  verdict out{client.read_answer(), false, 0};
  out.closed = client.is_closed();
  out.handled = handled;
  return out;
}

void check_refused(const verdict& v, int status) {
  CHECK(v.said.status == status);
  CHECK(v.said.header("Connection") == "close");
  CHECK(v.said.body.starts_with(R"({"success":false,"error":")"));
  CHECK(v.closed);
  CHECK(v.handled == 0);
}

std::string post(std::string_view fields, std::string_view body, std::string_view version = "1.1") {
  return "POST / HTTP/" + std::string(version) + "\r\nHost: x\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

std::string header_of(std::size_t bytes) {
  std::string out = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
  out.append(bytes - out.size() - 4, 'x');
  return out + "\r\n\r\n";
}

} // namespace

TEST_CASE("what is no HTTP request is 400, and closed") {
  const auto bytes = GENERATE(as<std::string>{}, "garbage\r\n\r\n", "\x16\x03\x01\x02", "GET /\r\n\r\n",
                              "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
                              "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n",
                              "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", "GET / http/1.1\r\nHost: x\r\n\r\n",
                              "GET example.com HTTP/1.1\r\nHost: x\r\n\r\n", "* / HTTP/1.1\r\n", "\r\n\r\n\r\n\r\n");
  CAPTURE(bytes);
  check_refused(say(bytes), 400);
}

TEST_CASE("a header that is malformed is 400") {
  const auto fields =
      GENERATE(as<std::string>{}, "No colon\r\n", ": empty name\r\n", "Bad Name: x\r\n", "Space : x\r\n",
               "X: a\x01\x62\r\n", "X: a\rb\r\n", "X\xc3\xa9: y\r\n", "Host: second\r\n");
  CAPTURE(fields);
  check_refused(say(post(fields, "")), 400);
}

TEST_CASE("a header cut short by the client is 400") {
  check_refused(say("GET / HTTP/1.1\r\nHost: x\r\nX"), 400);
}

TEST_CASE("HTTP/1.1 without a Host is 400") {
  check_refused(say("GET / HTTP/1.1\r\n\r\n"), 400);
}

TEST_CASE("two fields of a name that may stand once are 400, equal ones as well, and the answer names it") {
  const auto [fields, name] = GENERATE(table<std::string, std::string>({
      {"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", "Authorization"},
      {"Authorization: Bearer a\r\nX: y\r\nauthorization: Bearer a\r\n", "Authorization"},
      {"Authorization: \r\nAuthorization: Bearer a\r\n", "Authorization"},
      {"Host: x\r\n", "Host"},
      {"Content-Length: 0\r\nContent-Length: 0\r\n", "Content-Length"},
  }));
  CAPTURE(fields);
  const auto v = say(post(fields, ""));
  check_refused(v, 400);
  CHECK(v.said.body.find(" one " + name) != std::string::npos);
}

TEST_CASE("lines that end in a bare line feed are 400") {
  check_refused(say("GET / HTTP/1.1\nHost: x\n\n"), 400);
  check_refused(say("GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n"), 400);
  check_refused(say("GET / HTTP/1.1\r\nHost: x\r\n\n"), 400);
}

// Request smuggling: each of these is one request to one reader and two to another (RFC 9112, 6.3 and 11.2).
TEST_CASE("a body whose length can be read in two ways is 400, and nothing after it is taken for a request") {
  const auto fields = GENERATE(
      as<std::string>{}, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n",
      "Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 5,6\r\n",
      "Content-Length: +5\r\n", "Content-Length: -5\r\n", "Content-Length: 0x5\r\n", "Content-Length: 5 5\r\n",
      "Content-Length: \r\n", "Content-Length: 18446744073709551621\r\n", "Transfer-Encoding: gzip\r\n",
      "Transfer-Encoding: identity\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunked, identity\r\n",
      "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
      "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: \r\n",
      "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
      "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: \"chunked\"\r\n",
      "Transfer-Encoding : chunked\r\n", "Transfer-Encoding: chunked;q=1\r\n");
  CAPTURE(fields);
  check_refused(say(post(fields, "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")), 400);
}

TEST_CASE("a transfer coding in HTTP/1.0 is 400") {
  const auto v = say(post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "1.0"));
  CHECK(v.said.status == 400);
  CHECK(v.closed);
  CHECK(v.handled == 0);
}

TEST_CASE("a malformed chunk is 400") {
  const auto body = GENERATE(as<std::string>{}, "x\r\n", "-1\r\na", "5\nabcde\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
                             "3\r\nabc0\r\n\r\n", "\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\na",
                             "3 3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n");
  CAPTURE(body);
  check_refused(say(post("Transfer-Encoding: chunked\r\n", body)), 400);
}

TEST_CASE("a body cut short by the client is never handled") {
  check_refused(say(post("Content-Length: 10\r\n", "abc")), 400);
  check_refused(say(post("Transfer-Encoding: chunked\r\n", "5\r\nabc")), 400);
  check_refused(say(post("Transfer-Encoding: chunked\r\n", "5\r\nabcde\r\n")), 400);
}

TEST_CASE("a folded header line is one line with blanks in it") { // RFC 9112, 5.2 allows that, or 400
  request got;
  running_server server([&](request r, const responder& answer_it) {
    got = std::move(r);
    answer_it(ok("1"));
  });
  auto client = server.connect();
  client.send("GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nY: c\r\n\r\n");
  REQUIRE(client.read_answer().status == 200);
  CHECK(got.headers.find("X") == "a b");
  CHECK(got.headers.size() == 3);
}

// -- sizes --------------------------------------------------------------------

TEST_CASE("a header of the limit is taken, one of a byte more is 431") {
  const server_limits limits{.max_header_bytes = 1000};
  CHECK(say(header_of(1000), limits).said.status == 200);
  check_refused(say(header_of(1001), limits), 431);
  CHECK(say(header_of(16 * 1024)).said.status == 200);
  check_refused(say(header_of(16 * 1024 + 1)), 431);
}

TEST_CASE("a request line and fields that are too large only together are 431") {
  check_refused(
      say("GET /" + std::string(600, 'a') + " HTTP/1.1\r\nHost: x\r\nX: " + std::string(600, 'x') + "\r\n\r\n",
          {.max_header_bytes = 1000}),
      431);
}

TEST_CASE("a header that grows line by line without end is 431") {
  running_server server(echo, {.max_header_bytes = 1000});
  auto client = server.connect();
  client.send("GET / HTTP/1.1\r\nHost: x\r\nX");
  for (int line = 0; line < 1000; ++line) {
    // Each line complete, and the next one begun: so a parser can take it off the buffer, and its size is easily
    // forgotten. Each in a segment of its own, so that the server reads it alone.
    if (!client.send("-Line: 0123456789\r\nX")) break;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  CHECK(client.read_answer().status == 431);
  CHECK(client.is_closed());
}

TEST_CASE("a request line without end is 431") {
  check_refused(say("GET /" + std::string(100'000, 'a')), 431);
}

TEST_CASE("a body of the limit is taken, one of a byte more is 413") {
  const server_limits limits{.max_body_bytes = 10};
  CHECK(say(post("Content-Length: 10\r\n", "0123456789"), limits).said.body == "POST / 0123456789");
  check_refused(say(post("Content-Length: 11\r\n", "0123456789a"), limits), 413);
  check_refused(say(post("Content-Length: 18446744073709551615\r\n", "0123456789a"), limits), 413);
}

TEST_CASE("chunks that grow beyond the limit are 413") {
  const server_limits limits{.max_body_bytes = 10};
  const auto chunked = [](std::string_view chunks) { return post("Transfer-Encoding: chunked\r\n", chunks); };
  CHECK(say(chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), limits).said.body == "POST / 0123456789");
  check_refused(say(chunked("5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"), limits), 413);
  check_refused(say(chunked("b\r\n"), limits), 413);
  check_refused(say(chunked("ffffffffffffffff\r\n"), limits), 413);
}

TEST_CASE("a client that sends on while it is refused is not cut off, and reads why") {
  running_server server(echo, {.max_body_bytes = 10, .linger_timeout = patience});
  auto client = server.connect();
  CHECK(client.send(post("Content-Length: 4194304\r\n", std::string(4UL * 1024 * 1024, 'x'))));
  CHECK(client.read_answer().status == 413);
  client.half_close();
  CHECK(client.is_closed());
}

TEST_CASE("trailers without end are refused and not collected") {
  const std::string trailers(200'000, 'x');
  check_refused(say(post("Transfer-Encoding: chunked\r\n", "0\r\nX: " + trailers)), 400);
}

TEST_CASE("refusals show nothing of the request") {
  const auto shown =
      say("GET /?token=abc123secret HTTP/1.1\r\nHost: x\r\nAuth\x01: Bearer abc123secret\r\n\r\n").said.body;
  CHECK_FALSE(shown.empty());
  CHECK(shown.find("abc123secret") == std::string::npos);
}
