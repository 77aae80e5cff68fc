#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/unit/http/running_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;
using namespace std::chrono_literals;

namespace {

using clock_type = std::chrono::steady_clock;

/// Sends one byte each 10 ms until the server takes no more or says something; how long that took.
clock_type::duration drip(peer& client, char byte, std::string_view first) {
  const auto begin = clock_type::now();
  client.send(first);
  while (clock_type::now() < begin + patience && client.send({&byte, 1})) {
    char ignored = 0;
    if (::recv(client.fd(), &ignored, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) break;
    std::this_thread::sleep_for(10ms);
  }
  return clock_type::now() - begin;
}

} // namespace

TEST_CASE("a header that drips is cut at the deadline, however lively the client") {
  running_server server(echo, {.header_timeout = 200ms});
  auto client = server.connect();
  const auto took = drip(client, 'x', "GET / HTTP/1.1\r\nHost: x\r\nX: ");
  CHECK(took >= 150ms);
  CHECK(took < patience);
  CHECK(client.read_answer().status == 408);
  CHECK(client.is_closed());
}

TEST_CASE("a header that stops is cut at the deadline") {
  running_server server(echo, {.header_timeout = 100ms});
  auto client = server.connect();
  client.send("GET / HT");
  CHECK(client.read_answer().status == 408);
  CHECK(client.is_closed());
  CHECK(eventually([&] { return server->connection_count() == 0; }));
}

TEST_CASE("the header's deadline counts from its own first byte on a kept connection too") {
  running_server server(echo, {.header_timeout = 100ms});
  auto client = server.connect();
  client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HT");
  CHECK(client.read_answer().status == 200);
  CHECK(client.read_answer().status == 408);
}

TEST_CASE("a body that drips is cut at the deadline") {
  const auto header =
      GENERATE(as<std::string>{}, "Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfffff\r\n");
  CAPTURE(header);
  running_server server(echo, {.body_timeout = 200ms});
  auto client = server.connect();
  const auto took = drip(client, 'x', "POST / HTTP/1.1\r\nHost: x\r\n" + header);
  CHECK(took >= 150ms);
  CHECK(took < patience);
  CHECK(client.read_answer().status == 408);
  CHECK(client.is_closed());
}

TEST_CASE("the deadlines for reading are over while a handler works") {
  std::vector<responder> held;
  running_server server([&](request, responder answer_it) { held.push_back(std::move(answer_it)); },
                        {.header_timeout = 50ms, .body_timeout = 50ms, .idle_timeout = 5s, .handler_timeout = 200ms});
  auto client = server.connect();
  for (int i = 0; i < 2; ++i) { // on one connection, which the deadlines must not have harmed
    const auto begin = clock_type::now();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    const auto got = client.read_answer();
    CHECK(got.status == 503);
    CHECK(got.header("Retry-After") == "1");
    CHECK(clock_type::now() - begin >= 150ms);
  }
}

TEST_CASE("a connection without a request is closed without a word, before the first one and after the last") {
  running_server server(echo, {.idle_timeout = 100ms});
  auto fresh = server.connect();
  auto used = server.connect();
  used.get("/");
  CHECK(used.read_answer().status == 200);
  CHECK(fresh.is_closed());
  CHECK(used.is_closed());
  CHECK(fresh.unread().empty());
  CHECK(used.unread().empty());
  CHECK(eventually([&] { return server->connection_count() == 0; }));
}

TEST_CASE("a connection in use outlives the idle timeout") {
  running_server server(echo, {.idle_timeout = 300ms});
  auto client = server.connect();
  const auto begin = clock_type::now();
  while (clock_type::now() < begin + 600ms) {
    client.get("/");
    REQUIRE(client.read_answer().status == 200);
    std::this_thread::sleep_for(30ms);
  }
}

TEST_CASE("a handler that does not answer in time is answered for, and its late answer reaches nobody") {
  std::mutex mutex;
  std::vector<responder> held;
  std::atomic<std::size_t> asked{0};
  running_server server(
      [&](request r, responder answer_it) {
        if (r.path == "/at-once") return echo(std::move(r), answer_it);
        const std::lock_guard lock(mutex);
        held.push_back(std::move(answer_it));
        ++asked;
      },
      {.handler_timeout = 1s});
  auto client = server.connect(), other = server.connect();
  client.get("/first");
  CHECK(client.read_answer().status == 503);
  client.get("/second");
  REQUIRE(eventually([&] { return asked == 2; }));
  const std::lock_guard lock(mutex);
  held[0](ok("\"first\"")); // while the second one waits for its own
  other.get("/at-once");
  CHECK(other.read_answer().status == 200);
  held[1](ok("\"second\""));
  CHECK(client.read_answer().body == R"({"success":true,"data":"second"})");
}

TEST_CASE("a client that does not take its answer is closed") {
  const auto large = std::make_shared<const std::string>(64UL * 1024 * 1024, 'x');
  std::atomic<bool> asked = false;
  running_server server(
      [&](const request&, const responder& answer_it) {
        asked = true;
        response out;
        out.body = large;
        answer_it(std::move(out));
      },
      {.write_timeout = 100ms});
  auto client = server.connect();
  client.get("/");
  REQUIRE(eventually([&] { return asked.load(); })); // before that, there are none for another reason
  CHECK(eventually([&] { return server->connection_count() == 0; }));
  CHECK(client.is_closed());
}

TEST_CASE("a client that is refused and does not close is closed after a while") {
  running_server server(echo, {.linger_timeout = 100ms});
  auto client = server.connect();
  client.send("garbage\r\n\r\n");
  CHECK(client.read_answer().status == 400);
  CHECK(eventually([&] { return server->connection_count() == 0; }));
}
