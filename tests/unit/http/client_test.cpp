#include "http/client.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "core/secret.hpp"
#include "http/blocking_client.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"
#include "tests/unit/http/running_client.hpp"
#include "tests/unit/http/running_server.hpp"
#include "tests/unit/http/scripted_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;
using namespace std::chrono_literals;

namespace {

/// Answers every request on every connection with the number of the connection.
void number_of(peer& client, int connection) {
  while (!client.read_request().empty())
    client.send(answer_text(std::to_string(connection)));
}

/// Says `bytes` to the first request of each connection, and closes.
scripted_server::script says(std::string bytes) {
  return [bytes = std::move(bytes)](peer& client, int) {
    client.read_request();
    client.send(bytes);
  };
}

/// Reads and says nothing until the client goes.
void hangs(peer& client, int) {
  client.is_closed();
}

error_code code_of(const client_answer& a) {
  REQUIRE_FALSE(a);
  return a.error().code;
}

std::uint16_t port_nobody_listens_on() {
  return listen_on_tcp("127.0.0.1:0")->port;
}

} // namespace

// -- answers ------------------------------------------------------------------

TEST_CASE("a request arrives as it was given, and its answer comes back whole") {
  std::string got;
  scripted_server server([&](peer& client, int) {
    got = client.read_request();
    client.send(answer_text("body", 201, "X-One: 1\r\nX-Two: 2\r\n"));
  });
  running_client client;
  const auto a = client.ask({.method = "POST",
                             .url = server.url("/a?b=c#d"),
                             .headers = {{"Authorization", "Bearer t"}, {"Content-Type", "application/json"}},
                             .body = "{}"});
  REQUIRE(a);
  CHECK(a->status == 201);
  CHECK(a->body == "body");
  CHECK(a->headers.find("x-two") == "2");
  CHECK(got == "POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) +
                   "\r\nUser-Agent: townkeeper\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\n"
                   "Content-Length: 2\r\n\r\n{}");
}

TEST_CASE("any status is an answer") {
  const auto status = GENERATE(200, 204, 302, 304, 400, 401, 404, 409, 429, 500, 503);
  scripted_server server(says(answer_text("", status)));
  running_client client;
  const auto a = client.get(server.url());
  REQUIRE(a);
  CHECK(a->status == static_cast<unsigned>(status));
}

TEST_CASE("an empty POST says that its body is empty, a GET says nothing of one") {
  std::vector<std::string> got;
  scripted_server server([&](peer& client, int) {
    for (int i = 0; i < 2; ++i) {
      got.push_back(client.read_request());
      client.send(answer_text(""));
    }
  });
  running_client client;
  REQUIRE(client.ask({.method = "POST", .url = server.url()}));
  REQUIRE(client.get(server.url()));
  CHECK(got.at(0).find("Content-Length: 0\r\n") != std::string::npos);
  CHECK(got.at(1).find("Content-Length") == std::string::npos);
}

TEST_CASE("chunked answers, answers that end with the connection, and answers to HEAD are read") {
  running_client client;
  scripted_server chunked(
      says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  CHECK(client.get(chunked.url())->body == "abcde");
  scripted_server to_the_end(says("HTTP/1.1 200 OK\r\n\r\nabc"));
  CHECK(client.get(to_the_end.url())->body == "abc");
  scripted_server head(says("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"));
  CHECK(client.ask({.method = "HEAD", .url = head.url()})->headers.find("Content-Length") == "99");
}

TEST_CASE("interim answers are passed over") {
  scripted_server server(
      says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer_text("final")));
  running_client client;
  CHECK(client.get(server.url())->body == "final");
}

TEST_CASE("a refusal that comes before the body was taken is an answer") {
  scripted_server server([](peer& client, int) {
    client.read_until("\r\n\r\n");
    client.send(answer_text("too large", 413, "Connection: close\r\n"));
    client.half_close();
    client.is_closed();
  });
  running_client client;
  const auto a = client.ask({.method = "PUT", .url = server.url(), .body = std::string(8UL * 1024 * 1024, 'x')});
  REQUIRE(a);
  CHECK(a->status == 413);
}

TEST_CASE("client and server of this library understand each other") {
  running_server server(echo);
  running_client client;
  const auto a = client.ask({.method = "POST",
                             .url = "http://127.0.0.1:" + std::to_string(server->bound_port()) + "/x",
                             .body = std::string(500'000, 'x')});
  REQUIRE(a);
  CHECK(a->body == "POST /x " + std::string(500'000, 'x'));
}

TEST_CASE("a blocking request needs no thread of the caller's") {
  running_server server(echo);
  const auto a = send_and_wait({.url = "http://127.0.0.1:" + std::to_string(server->bound_port()) + "/b"});
  REQUIRE(a);
  CHECK(a->body == "GET /b ");
  CHECK(code_of(send_and_wait({.url = "nonsense"})) == error_code::invalid_argument);
}

// -- failures -----------------------------------------------------------------

TEST_CASE("a refused connection is unavailable") {
  running_client client;
  CHECK(code_of(client.get("http://127.0.0.1:" + std::to_string(port_nobody_listens_on()))) == error_code::unavailable);
}

TEST_CASE("a connection that ends before or in the answer is unavailable") {
  const auto bytes =
      GENERATE(as<std::string>{}, "", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nX: y\r\n",
               "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "HTTP/1.1 100 Continue\r\n\r\n");
  CAPTURE(bytes);
  scripted_server server(says(bytes));
  running_client client;
  CHECK(code_of(client.get(server.url())) == error_code::unavailable);
}

TEST_CASE("what is no HTTP answer is corrupt") {
  const auto bytes = GENERATE(as<std::string>{}, "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 20 OK\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
  CAPTURE(bytes);
  scripted_server server(says(bytes));
  running_client client;
  CHECK(code_of(client.get(server.url())) == error_code::corrupt);
}

TEST_CASE("an answer larger than allowed is refused, however it says its length") {
  const auto bytes =
      GENERATE(as<std::string>{}, answer_text("0123456789a"),
               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n6789a\r\n0\r\n\r\n",
               "HTTP/1.1 200 OK\r\n\r\n0123456789a");
  CAPTURE(bytes);
  scripted_server server(says(bytes));
  running_client client;
  CHECK(code_of(client.ask({.url = server.url(), .max_response_bytes = 10})) == error_code::too_large);
  CHECK(client.ask({.url = server.url(), .max_response_bytes = 11}));
}

TEST_CASE("an answer's header without end is refused, also line by line") {
  scripted_server server([](peer& client, int) {
    client.read_request();
    client.send("HTTP/1.1 200 OK\r\nX");
    for (int line = 0; line < 2000 && client.send("-Line: " + std::string(1000, 'x') + "\r\nX"); ++line)
      std::this_thread::sleep_for(std::chrono::microseconds(100)); // so that the client reads each line alone
  });
  running_client client;
  CHECK(code_of(client.get(server.url())) == error_code::too_large);
}

TEST_CASE("a server that takes the request and says nothing is timed out, one that drips too") {
  running_client client;
  scripted_server silent(hangs);
  CHECK(code_of(client.ask({.url = silent.url(), .total_timeout = 100ms})) == error_code::timed_out);
  scripted_server dripping([](peer& server_side, int) {
    server_side.read_request();
    server_side.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    while (server_side.send("x"))
      std::this_thread::sleep_for(5ms);
  });
  CHECK(code_of(client.ask({.url = dripping.url(), .total_timeout = 150ms})) == error_code::timed_out);
}

TEST_CASE("a name lookup that hangs is timed out, and nobody waits for it") {
  const auto released = std::make_shared<std::promise<void>>();
  const auto release = released->get_future().share();
  running_client client(
      {.ca_file = {}, .lookup = [release](const std::string&) -> result<std::vector<numeric_address>> {
         release.wait(); // as getaddrinfo may, which cannot be cancelled
         return std::vector<numeric_address>{"127.0.0.1"};
       }});
  const auto a = client.ask({.url = "http://slow.example/", .connect_timeout = 50ms});
  CHECK(code_of(a) == error_code::timed_out);
  CHECK(a.error().message.find("no connection") != std::string::npos);
  client.end();
  released->set_value();
}

TEST_CASE("a handshake that hangs counts as connecting") {
  scripted_server server(hangs);
  running_client client;
  const auto a = client.ask({.url = "https://127.0.0.1:" + std::to_string(server.port()), .connect_timeout = 100ms});
  CHECK(code_of(a) == error_code::timed_out);
  CHECK(a.error().message.find("no connection") != std::string::npos);
}

TEST_CASE("a host name is looked up, and each of its addresses tried") {
  scripted_server server(number_of);
  std::string asked_for;
  running_client client({.ca_file = {}, .lookup = [&](const std::string& host) -> result<std::vector<numeric_address>> {
                           asked_for = host;
                           return std::vector<numeric_address>{"127.0.0.2", "::1", "127.0.0.1"};
                         }});
  const auto a = client.get("http://town.example:" + std::to_string(server.port()));
  REQUIRE(a);
  CHECK(a->body == "1");
  CHECK(asked_for == "town.example");
}

TEST_CASE("a host name without an address is unavailable") {
  running_client client({.ca_file = {}, .lookup = [](const std::string& host) -> result<std::vector<numeric_address>> {
                           return error{error_code::unavailable, host, "no address"};
                         }});
  CHECK(code_of(client.get("http://nowhere.example/")) == error_code::unavailable);
}

TEST_CASE("a request that would not be sent as it is meant is refused") {
  running_client client;
  const std::string here = "http://127.0.0.1:1/";
  const auto refused = [&](client_request r) {
    return code_of(client.ask(std::move(r))) == error_code::invalid_argument;
  };
  CHECK(refused({.method = "GET / HTTP/1.1\r\nX:", .url = here}));
  CHECK(refused({.method = "", .url = here}));
  CHECK(refused({.url = here, .headers = {{"X\r\nY", "1"}}}));
  CHECK(refused({.url = here, .headers = {{"", "1"}}}));
  CHECK(refused({.url = here, .headers = {{"X", "1\r\nY: 2"}}}));
  CHECK(refused({.url = here, .headers = {{"X", std::string("1\0", 2)}}}));
  CHECK(refused({.url = here, .headers = {{"host", "elsewhere"}}}));
  CHECK(refused({.url = here, .headers = {{"Content-Length", "0"}}}));
  CHECK(refused({.url = here, .headers = {{"Transfer-Encoding", "chunked"}}}));
  CHECK(refused({.url = here, .headers = {{"Connection", "close"}}}));
  CHECK(refused({.url = "ftp://127.0.0.1/"}));
  CHECK(refused({.url = "https://h/", .unix_socket = "/tmp/x"}));
  CHECK(refused({.url = here, .unix_socket = std::string(200, 'x')}));
}

TEST_CASE("more requests at once than allowed are unavailable, and the others are answered") {
  std::mutex mutex;
  std::condition_variable opened;
  bool open = false;
  scripted_server server([&](peer& client, int) {
    client.read_request();
    std::unique_lock lock(mutex);
    opened.wait_for(lock, patience, [&] { return open; });
    client.send(answer_text("1"));
  });
  running_client client;
  std::vector<std::future<client_answer>> coming;
  for (std::size_t i = 0; i < client::max_requests_at_once; ++i)
    coming.push_back(client.send({.url = server.url()}));
  CHECK(code_of(client.get(server.url())) == error_code::unavailable);
  {
    const std::lock_guard lock(mutex);
    open = true;
  }
  opened.notify_all();
  CHECK(std::all_of(coming.begin(), coming.end(), [](auto& each) { return each.get().has_value(); }));
}

// -- redirects ----------------------------------------------------------------

TEST_CASE("a redirect to another origin is refused, one within the origin is returned, none is followed") {
  std::string location;
  scripted_server server([&](peer& client, int) {
    client.read_request();
    client.send(answer_text("moved", 307, "Location: " + location + "\r\n"));
  });
  running_client client;
  const auto same = server.url("/there");
  for (const auto& there :
       {std::string("/there"), std::string("there?next=http://other.example/"), std::string("?x=a:b"), same}) {
    CAPTURE(there);
    location = there;
    const auto a = client.get(server.url());
    REQUIRE(a);
    CHECK(a->status == 307);
  }
  const auto other_name = "http://localhost" + same.substr(same.rfind(':'));
  for (const auto& there :
       {std::string("http://other.example/?token=hidden-query"), std::string("https://127.0.0.1/"),
        std::string("http://127.0.0.1:1/"), std::string("//other.example/"), std::string("ftp://127.0.0.1/"),
        std::string("file:/etc/passwd"), std::string("http://u:p@127.0.0.1/"), other_name}) {
    CAPTURE(there);
    location = there;
    const auto a = client.get(server.url());
    CHECK(code_of(a) == error_code::redirect_refused);
    CHECK(to_string(a.error()).find("hidden-query") == std::string::npos);
  }
  CHECK(server.connections() == 12);
}

// -- kept connections ---------------------------------------------------------

TEST_CASE("a connection is kept for the next request to the same host") {
  scripted_server first(number_of), second(number_of);
  running_client client;
  CHECK(client.get(first.url())->body == "1");
  CHECK(client.get(second.url())->body == "1");
  CHECK(client.get(first.url("/again"))->body == "1");
  CHECK(first.connections() == 1);
  CHECK(second.connections() == 1);
}

TEST_CASE("a connection is not kept where the server closes it, or said more than its answer") {
  const auto bytes =
      GENERATE(as<std::string>{}, answer_text("x", 200, "Connection: close\r\n"),
               "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", answer_text("x") + "HTTP/1.1 200 OK\r\n");
  CAPTURE(bytes);
  scripted_server server([&](peer& client, int) {
    client.read_request();
    client.send(bytes);
    client.is_closed();
  });
  running_client client;
  CHECK(client.get(server.url())->body == "x");
  CHECK(client.get(server.url())->body == "x");
  CHECK(server.connections() == 2);
}

TEST_CASE("a kept connection that the server closed meanwhile is not used") {
  std::atomic<bool> closed{false}, used{false};
  scripted_server server([&](peer& client, int connection) {
    client.read_request();
    client.send(answer_text(std::to_string(connection)));
    if (connection > 1) return;
    client.half_close();
    closed = true;
    used = !client.read_request().empty();
  });
  running_client client;
  CHECK(client.get(server.url())->body == "1");
  REQUIRE(eventually([&] { return closed.load(); }));
  CHECK(client.ask({.method = "POST", .url = server.url()})->body == "2");
  CHECK_FALSE(used);
}

TEST_CASE("a request that meets a connection just being closed is repeated once, on a new one") {
  const auto method = GENERATE(as<std::string>{}, "GET", "POST");
  CAPTURE(method);
  scripted_server server([&](peer& client, int connection) {
    client.read_request();
    client.send(answer_text(std::to_string(connection)));
    if (connection == 1) client.read_request(); // takes the next one and closes without a word
  });
  running_client client;
  CHECK(client.get(server.url())->body == "1");
  CHECK(client.ask({.method = method, .url = server.url(), .body = "again"})->body == "2");
}

TEST_CASE("a request on a new connection that breaks is not repeated") {
  scripted_server server([](peer& client, int) { client.read_request(); });
  running_client client;
  CHECK(code_of(client.get(server.url())) == error_code::unavailable);
  CHECK(server.connections() == 1);
}

TEST_CASE("where a piece of the answer had come, only an idempotent request is repeated") {
  scripted_server server([](peer& client, int connection) {
    client.read_request();
    client.send(answer_text(std::to_string(connection)));
    if (connection % 2 == 0) return;
    client.read_request();
    client.send("HTTP/1.1 200 OK\r\nContent-Le");
  });
  running_client client;
  CHECK(client.get(server.url())->body == "1");
  CHECK(client.ask({.method = "PUT", .url = server.url(), .body = "x"})->body == "2");
  CHECK(client.get(server.url())->body == "3");
  CHECK(code_of(client.ask({.method = "POST", .url = server.url(), .body = "x"})) == error_code::unavailable);
  CHECK(server.connections() == 3);
}

TEST_CASE("a connection whose request timed out is not used again") {
  scripted_server server([](peer& client, int connection) {
    while (!client.read_request().empty())
      if (connection > 1) client.send(answer_text(std::to_string(connection)));
  });
  running_client client;
  CHECK(code_of(client.ask({.url = server.url(), .total_timeout = 50ms})) == error_code::timed_out);
  CHECK(client.get(server.url())->body == "2");
}

TEST_CASE("no more connections are kept per host than allowed") {
  constexpr std::size_t at_once = client::max_kept_per_host + 2;
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t arrived = 0;
  std::atomic<std::size_t> closed{0};
  scripted_server server([&](peer& client, int) {
    client.read_request();
    {
      std::unique_lock lock(mutex); // all at once, so that each needs a connection of its own
      ++arrived;
      changed.notify_all();
      changed.wait_for(lock, patience, [&] { return arrived == at_once; });
    }
    client.send(answer_text("1"));
    client.is_closed();
    ++closed;
  });
  running_client client;
  std::vector<std::future<client_answer>> coming;
  for (std::size_t i = 0; i < at_once; ++i)
    coming.push_back(client.send({.url = server.url()}));
  for (auto& each : coming)
    REQUIRE(each.get());
  CHECK(eventually([&] { return closed == at_once - client::max_kept_per_host; }));
  client.end();
  CHECK(eventually([&] { return closed == at_once; }));
}

// -- Unix sockets -------------------------------------------------------------

TEST_CASE("a request goes over a Unix socket, with Host and target from its URL") {
  const temp_dir dir("client");
  std::string got;
  scripted_server server(
      [&](peer& client, int) {
        got = client.read_request();
        client.send(answer_text("over unix"));
      },
      dir.path() / "s");
  running_client client({.ca_file = {}, .lookup = [](const std::string&) -> result<std::vector<numeric_address>> {
                           FAIL("no name is looked up for a Unix socket");
                           return std::vector<numeric_address>{};
                         }});
  const auto a = client.ask({.url = "http://townkeeper/prime?x", .unix_socket = dir.path() / "s"});
  REQUIRE(a);
  CHECK(a->body == "over unix");
  CHECK(got.starts_with("GET /prime?x HTTP/1.1\r\nHost: townkeeper\r\n"));
}

TEST_CASE("a Unix socket that is not there is unavailable, and the error names it") {
  running_client client;
  const auto a = client.ask({.url = "http://x/", .unix_socket = "/nonexistent/socket"});
  CHECK(code_of(a) == error_code::unavailable);
  CHECK(a.error().message.find("/nonexistent/socket") != std::string::npos);
}

TEST_CASE("connections over different Unix sockets are not mixed up") {
  const temp_dir dir("client");
  running_server server(
      [](const request& r, const responder& answer_it) { answer_it({.body = r.label, .headers = {}}); });
  REQUIRE(server->listen_unix(dir.path() / "a", "agent-a"));
  REQUIRE(server->listen_unix(dir.path() / "b", "agent-b"));
  running_client client;
  for (int i = 0; i < 2; ++i) {
    CHECK(client.ask({.url = "http://x/", .unix_socket = dir.path() / "a"})->body == "agent-a");
    CHECK(client.ask({.url = "http://x/", .unix_socket = dir.path() / "b"})->body == "agent-b");
  }
}

// -- the end of a client ------------------------------------------------------

TEST_CASE("a client that ends calls every callback with cancelled, before it is gone") {
  scripted_server server(hangs);
  running_client client({.ca_file = {}, .lookup = [](const std::string&) -> result<std::vector<numeric_address>> {
                           std::this_thread::sleep_for(100ms);
                           return std::vector<numeric_address>{"127.0.0.1"};
                         }});
  std::vector<std::future<client_answer>> coming;
  coming.push_back(client.send({.url = server.url()}));
  coming.push_back(client.send({.url = server.url("/2")}));
  coming.push_back(client.send({.url = "http://in-lookup.example/"}));
  REQUIRE(eventually([&] { return server.connections() == 2; }));
  client.end();
  for (auto& each : coming) {
    REQUIRE(each.wait_for(0ms) == std::future_status::ready);
    CHECK(code_of(each.get()) == error_code::cancelled);
  }
}

TEST_CASE("a request after the thread has ended is cancelled at once") {
  running_client client;
  client.io().stop();
  auto coming = client.send({.url = "http://127.0.0.1/"});
  REQUIRE(coming.wait_for(0ms) == std::future_status::ready);
  CHECK(code_of(coming.get()) == error_code::cancelled);
}

// -- secrets ------------------------------------------------------------------

TEST_CASE("no error shows a header, a body or a query") {
  running_client client;
  scripted_server closes(says("")), garbage(says("hidden-answer \r\n\r\n")), silent(hangs),
      large(says(answer_text("hidden-answer"))),
      redirect(says(answer_text("hidden-answer", 302, "Location: https://x/?hidden-answer\r\n")));
  const auto dead = "http://127.0.0.1:" + std::to_string(port_nobody_listens_on());
  for (const auto& url : {closes.url(), garbage.url(), silent.url(), large.url(), redirect.url(), dead + "/",
                          dead + "/a b", std::string("http://u:hidden-password@127.0.0.1/")}) {
    CAPTURE(url);
    const auto a = client.ask({.method = "POST",
                               .url = url + "?q=hidden-query",
                               .headers = {{"Authorization", "Bearer hidden-header"}},
                               .body = "hidden-body",
                               .total_timeout = 100ms,
                               .max_response_bytes = 4});
    REQUIRE_FALSE(a);
    CHECK(to_string(a.error()).find("hidden") == std::string::npos);
  }
  const auto bad = client.ask({.url = dead, .headers = {{"X", "hidden-header\r\n"}}});
  REQUIRE_FALSE(bad);
  CHECK(to_string(bad.error()).find("hidden") == std::string::npos);
}

TEST_CASE("a CA file that cannot be read or holds no certificate is a configuration error") {
  io_thread io;
  const temp_dir dir("client");
  std::ofstream(dir.path() / "garbage.pem") << "not PEM";
  for (const auto* name : {"absent.pem", "garbage.pem"}) {
    CAPTURE(name);
    const auto refused = client::create(io, {.ca_file = dir.path() / name});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == error_code::invalid_config);
    CHECK(refused.error().object == (dir.path() / name).string());
  }
}
