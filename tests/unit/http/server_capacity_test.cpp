#include <catch2/catch_test_macros.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/unit/http/running_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;
using namespace std::chrono_literals;

namespace {

/// A handler that keeps every request but `/livez` until it is told to answer.
class holding_handler {
public:
  void operator()(request r, const responder& answer_it) {
    if (r.path == "/livez") return answer_it(ok("\"live\""));
    const std::lock_guard lock(mutex_);
    held_.push_back(answer_it);
  }

  std::size_t held() {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }

  void answer_all() {
    const std::lock_guard lock(mutex_);
    for (const auto& each : held_)
      each(ok("\"held\""));
    held_.clear();
  }

private:
  std::mutex mutex_;
  std::vector<responder> held_;
};

bool is_live(const running_server& server) {
  auto probe = server.connect();
  probe.get("/livez");
  return probe.read_answer().status == 200;
}

/// True while the server has not closed it: nothing is there to be read, not even an end.
bool is_open(const peer& client) {
  char byte = 0;
  return ::recv(client.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/// As many descriptors as may be needed here; false where they are not allowed.
bool allow_descriptors(rlim_t count) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= count) return true;
  limit.rlim_cur = std::min(count, limit.rlim_max);
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= count;
}

} // namespace

// -- connections --------------------------------------------------------------

TEST_CASE("a connection too many takes the place of the one that has idled longest") {
  running_server server(echo, {.max_connections = 3});
  std::vector<peer> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(server.connect());
    clients.back().get("/");
    REQUIRE(clients.back().read_answer().status == 200);
  }
  clients[0].get("/again"); // now the second has idled longest
  REQUIRE(clients[0].read_answer().status == 200);
  CHECK(is_live(server));
  CHECK(clients[1].is_closed());
  CHECK(is_open(clients[0]));
  CHECK(is_open(clients[2]));
}

TEST_CASE("where none idles, the one that takes longest over its header goes") {
  holding_handler holding;
  running_server server(std::ref(holding), {.max_connections = 3});
  std::vector<peer> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(server.connect());
    clients.back().send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"); // then it is known to be in the second header
    REQUIRE(eventually([&] { return holding.held() == 1; }));
    holding.answer_all();
    REQUIRE(clients.back().read_answer().status == 200);
  }
  auto at_work = server.connect();
  at_work.get("/work");
  REQUIRE(eventually([&] { return holding.held() == 1; }));
  CHECK(is_live(server));
  CHECK(clients[0].is_closed());
  CHECK(is_open(clients[1]));
  holding.answer_all();
  CHECK(at_work.read_answer().status == 200);
}

TEST_CASE("a probe that has just come in is not the one that makes room, while others hold their headers back") {
  running_server server(echo, {.max_connections = 4});
  std::vector<peer> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(server.connect());
    slow.back().send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"); // then it is known to be in the second header
    REQUIRE(slow.back().read_answer().status == 200);
  }
  auto probe = server.connect();
  CHECK(is_live(server)); // comes in after the probe, which has sent nothing yet
  probe.get("/livez");
  CHECK(probe.read_answer().status == 200);
  CHECK(slow[0].is_closed());
  CHECK(is_open(slow[3]));
}

TEST_CASE("bodies that are held back make room for a probe, the oldest first") {
  running_server server(echo, {.max_connections = 4});
  std::vector<peer> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(server.connect());
    slow.back().send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    REQUIRE(slow.back().read_answer().status == 100);
  }
  auto probe = server.connect();
  CHECK(is_live(server));
  probe.get("/livez");
  CHECK(probe.read_answer().status == 200);
  CHECK(slow[0].is_closed());
  CHECK(is_open(slow[3]));
  slow[3].send("body");
  CHECK(slow[3].read_answer().body == "POST / body");
}

TEST_CASE("a body on its way stays where it is the others that idle") {
  running_server server(echo, {.max_connections = 3});
  auto upload = server.connect();
  upload.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  REQUIRE(upload.read_answer().status == 100);
  std::vector<peer> idle;
  for (int i = 0; i < 6; ++i) {
    idle.push_back(server.connect());
    idle.back().get("/");
    REQUIRE(idle.back().read_answer().status == 200);
  }
  upload.send("body");
  CHECK(upload.read_answer().body == "POST / body");
}

TEST_CASE("clients that do not take their answers make room for a probe") {
  const auto large = std::make_shared<const std::string>(64UL * 1024 * 1024, 'x');
  running_server server(
      [&](const request& r, const responder& answer_it) {
        if (r.path == "/livez") return answer_it(ok("\"live\""));
        response out;
        out.body = large;
        answer_it(std::move(out));
      },
      {.max_connections = 3});
  std::vector<peer> deaf;
  for (int i = 0; i < 3; ++i) {
    deaf.push_back(server.connect());
    deaf.back().get("/large");
    REQUIRE_FALSE(deaf.back().read_until("\r\n").empty()); // it is being written
  }
  CHECK(is_live(server));
  CHECK(is_live(server));
}

TEST_CASE("where all are at work, the new one is 503 and the others are not disturbed") {
  holding_handler holding;
  running_server server(std::ref(holding), {.max_connections = 2});
  auto first = server.connect(), second = server.connect();
  first.get("/1");
  second.get("/2");
  REQUIRE(eventually([&] { return holding.held() == 2; }));
  auto third = server.connect();
  const auto refused = third.read_answer();
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  CHECK(refused.body.ends_with(R"("code":"too_many_clients"})"));
  CHECK(third.is_closed());
  CHECK(third.unread().empty()); // Content-Length says the truth
  holding.answer_all();
  CHECK(first.read_answer().status == 200);
  CHECK(second.read_answer().status == 200);
  CHECK(is_live(server));
}

TEST_CASE("thousands of idle connections do not keep a probe from its answer") {
  constexpr std::size_t flood = 2000;
  if (!allow_descriptors(2 * flood + 256)) SKIP("not enough file descriptors allowed here");
  running_server server(echo); // as it is configured: 1,024 connections
  std::vector<peer> hoard;
  hoard.reserve(flood);
  for (std::size_t i = 0; i < flood; ++i) {
    hoard.push_back(server.connect());
    if (i % 2 == 1) hoard.back().send("GET /livez HT"); // half of them in mid-header
    if (i % 200 == 199) REQUIRE(is_live(server));
  }
  CHECK(is_live(server));
  CHECK(server->connection_count() <= 1024);
}

TEST_CASE("where descriptors run out, idle connections make room for a probe") {
#ifdef __SANITIZE_ADDRESS__
  SKIP("UBSan opens a pipe to look at an object's memory, and takes it for invalid where it gets none");
#endif
  running_server server(echo);
  std::vector<peer> idle;
  for (int i = 0; i < 20; ++i)
    idle.push_back(server.connect());
  REQUIRE(eventually([&] { return server->connection_count() == 20; }));
  auto probe_fd = unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); // made before there are none left
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  auto none_left = before;
  none_left.rlim_cur = static_cast<rlim_t>(probe_fd.get()) + 1;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none_left) == 0);
  probe_fd = {};
  auto probe = server.connect(); // takes that last one, the server has to make room for its own side
  probe.get("/livez");
  const auto got = probe.read_answer();
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(got.status == 200);
  CHECK(std::count_if(idle.begin(), idle.end(), is_open) < 20);
}

// -- bodies -------------------------------------------------------------------

TEST_CASE("bodies together have a budget, and a request without a body needs none of it") {
  holding_handler holding;
  running_server server(std::ref(holding), {.max_body_bytes = 100, .max_body_bytes_together = 150});
  auto first = server.connect();
  first.send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x'));
  REQUIRE(eventually([&] { return holding.held() == 1; }));

  auto second = server.connect();
  second.send("POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 51\r\n\r\n" + std::string(51, 'x'));
  const auto refused = second.read_answer();
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  auto chunked = server.connect(); // of unknown length, so at most 100
  chunked.send("POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  CHECK(chunked.read_answer().status == 503);
  CHECK(is_live(server));

  auto third = server.connect();
  third.send("POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n" + std::string(50, 'x'));
  CHECK(eventually([&] { return holding.held() == 2; }));
  holding.answer_all();
  CHECK(first.read_answer().status == 200);
  CHECK(third.read_answer().status == 200);
}

TEST_CASE("a body's share of the budget is given back, whatever becomes of the request") {
  running_server server(echo, {.max_body_bytes = 100, .max_body_bytes_together = 100, .body_timeout = 50ms});
  const auto full = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x');
  {
    auto kept = server.connect();
    kept.send(full + full);
    CHECK(kept.read_answer().status == 200);
    CHECK(kept.read_answer().status == 200);
  }
  {
    auto late = server.connect();
    late.send(full.substr(0, full.size() - 1));
    CHECK(late.read_answer().status == 408);
  }
  {
    auto gone = server.connect();
    gone.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n");
    REQUIRE(gone.read_answer().status == 100); // now it has its share
  }
  CHECK(eventually([&] { return server->connection_count() == 0; }));
  auto last = server.connect();
  last.send(full);
  CHECK(last.read_answer().status == 200);
}

// -- stopping -----------------------------------------------------------------

TEST_CASE("a stop lets requests in work finish, closes idle connections and takes no new one") {
  holding_handler holding;
  running_server server(std::ref(holding));
  auto idle = server.connect(), in_header = server.connect(), at_work = server.connect();
  in_header.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /");
  REQUIRE(in_header.read_answer().status == 200);
  at_work.send("GET /work HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(eventually([&] { return holding.held() == 1; }));

  auto stopped = std::async(std::launch::async, [&] { server->stop(patience); });
  CHECK(idle.is_closed());
  CHECK(in_header.is_closed());
  CHECK(is_open(at_work));
  CHECK_THROWS_AS(server.connect(), std::system_error);
  holding.answer_all();
  const auto got = at_work.read_answer();
  CHECK(got.body == R"({"success":true,"data":"held"})");
  CHECK(got.header("Connection") == "close");
  CHECK(at_work.is_closed());
  CHECK(at_work.unread().empty()); // the pipelined one was not begun
  at_work = peer(unique_fd());
  stopped.get();
  CHECK(server->connection_count() == 0);
}

TEST_CASE("a stop gives up what has no answer at the deadline") {
  holding_handler holding;
  running_server server(std::ref(holding));
  auto client = server.connect();
  client.get("/work");
  REQUIRE(eventually([&] { return holding.held() == 1; }));
  server->stop(50ms);
  CHECK(server->connection_count() == 0);
  CHECK(client.is_closed());
  CHECK(client.unread().empty());
  holding.answer_all();
  server->stop(50ms);
}

TEST_CASE("a body that is on its way when the server stops is still handled") {
  running_server server(echo);
  auto client = server.connect();
  client.send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  REQUIRE(client.read_answer().status == 100);
  auto stopped = std::async(std::launch::async, [&] { server->stop(patience); });
  CHECK(eventually([&] {
    try {
      server.connect();
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  }));
  client.send("body");
  CHECK(client.read_answer().body == "POST /1 body");
  client = peer(unique_fd());
  stopped.get();
}

TEST_CASE("an answer that comes when server and thread are gone reaches nobody and harms nobody") {
  holding_handler holding;
  {
    running_server server(std::ref(holding));
    auto client = server.connect();
    client.get("/work");
    REQUIRE(eventually([&] { return holding.held() == 1; }));
  }
  holding.answer_all();
  CHECK(holding.held() == 0);
}
