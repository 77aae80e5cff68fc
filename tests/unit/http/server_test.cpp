#include "http/server.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/secret.hpp"
#include "http/router.hpp"
#include "tests/unit/http/running_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;
using namespace std::chrono_literals;

// -- one request after the other ----------------------------------------------

TEST_CASE("a server answers several requests on one connection") {
  running_server server(echo);
  auto client = server.connect();
  for (const auto* path : {"/1", "/2", "/3"}) {
    client.get(path);
    const auto got = client.read_answer();
    CHECK(got.status == 200);
    CHECK(got.body == std::string("GET ") + path + " ");
    CHECK(got.header("Content-Type") == "text/plain");
    CHECK(got.header("Cache-Control") == "no-store");
    CHECK(got.header("Date").ends_with(" GMT"));
  }
  CHECK(server->connection_count() == 1);
}

TEST_CASE("pipelined requests are answered one after the other, in their order") {
  std::thread later;
  running_server server([&](request r, responder answer_it) {
    if (r.path != "/1") return echo(std::move(r), answer_it);
    later = std::thread([answer_it] { answer_it(ok("\"late\"")); });
  });
  auto client = server.connect();
  client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
              "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
              "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.read_answer().body == R"({"success":true,"data":"late"})");
  CHECK(client.read_answer().body == "POST /2 body");
  CHECK(client.read_answer().body == "GET /3 ");
  CHECK(client.unread().empty());
  later.join();
}

TEST_CASE("a request may arrive byte by byte") {
  running_server server(echo);
  auto client = server.connect();
  for (const char byte : std::string("PUT /slow?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"))
    client.send({&byte, 1});
  CHECK(client.read_answer().body == "PUT /slow abc");
}

TEST_CASE("a handler gets method, target, path, query, headers, body and peer") {
  request got;
  running_server server([&](request r, const responder& answer_it) {
    got = std::move(r);
    answer_it(ok("1"));
  });
  auto client = server.connect();
  client.send("PATCH /a%2Fb?c=d HTTP/1.1\r\nhost: x\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 2\r\n\r\n{}");
  REQUIRE(client.read_answer().status == 200);
  CHECK(got.method == "PATCH");
  CHECK(got.target == "/a%2Fb?c=d");
  CHECK(got.path == "/a%2Fb");
  CHECK(got.query == "c=d");
  CHECK(got.headers.find("X-TWO") == "1");
  CHECK(got.headers.size() == 4);
  CHECK(got.body == "{}");
  CHECK(got.peer.starts_with("127.0.0.1:"));
  CHECK(got.label.empty());
}

TEST_CASE("a target in absolute form is read as its path") {
  running_server server(echo);
  auto client = server.connect();
  client.send(
      "GET http://elsewhere/livez?x HTTP/1.1\r\nHost: x\r\n\r\nGET http://elsewhere HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.read_answer().body == "GET /livez ");
  CHECK(client.read_answer().body == "GET / ");
}

TEST_CASE("HEAD is answered with the length of GET's body and without it") {
  running_server server(echo);
  auto client = server.connect();
  client.send("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.read_answer(true).header("Content-Length") == "8");
  CHECK(client.read_answer().body == "GET /x ");
}

TEST_CASE("204 has neither body nor length") {
  running_server server([](const request&, const responder& answer_it) {
    answer_it({.status = 204, .body = "not to be sent", .headers = {}});
  });
  auto client = server.connect();
  client.get("/1");
  const auto got = client.read_answer();
  CHECK(got.status == 204);
  CHECK_FALSE(got.headers.find("Content-Length"));
  client.get("/2");
  CHECK(client.read_answer().status == 204);
}

TEST_CASE("a router's refusals leave the connection usable") {
  router routes;
  routes.add("GET", "/livez", echo);
  routes.add("POST", "/agents/start", accepts(secret("control-token")), echo);
  running_server server(routes);
  auto client = server.connect();
  client.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.read_answer().status == 404);
  client.send("BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto refused = client.read_answer();
  CHECK(refused.status == 405);
  CHECK(refused.header("Allow") == "GET, HEAD, OPTIONS");
  client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.read_answer().status == 204);
  client.send("POST /agents/start HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  const auto unauthorized = client.read_answer();
  CHECK(unauthorized.status == 401);
  CHECK(unauthorized.header("WWW-Authenticate") == "Bearer");
  client.send("POST /agents/start HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer control-token\r\n"
              "Content-Length: 2\r\n\r\n{}");
  CHECK(client.read_answer().body == "POST /agents/start {}");
}

TEST_CASE("a chunked body arrives whole, with its extensions and trailers left out") {
  request got;
  running_server server([&](request r, const responder& answer_it) {
    got = r;
    echo(std::move(r), answer_it);
  });
  auto client = server.connect();
  client.send("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
              "3;ext=1\r\nabc\r\n5\r\ndefgh\r\n0\r\nAuthorization: Bearer smuggled\r\n\r\n");
  CHECK(client.read_answer().body == "POST /c abcdefgh");
  CHECK(got.bearer_token().empty());
  client.get("/next");
  CHECK(client.read_answer().body == "GET /next ");
}

// -- the end of a connection --------------------------------------------------

TEST_CASE("Connection: close is granted") {
  running_server server(echo);
  auto client = server.connect();
  client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK(client.read_answer().header("Connection") == "close");
  CHECK(client.is_closed());
}

TEST_CASE("an HTTP/1.0 client needs no Host and gets a closed connection, unless it asks to keep it") {
  running_server server(echo);
  auto client = server.connect();
  client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(client.read_answer().header("Connection") == "keep-alive");
  client.send("GET /b HTTP/1.0\r\n\r\n");
  CHECK(client.read_answer().body == "GET /b ");
  CHECK(client.is_closed());
}

TEST_CASE("a client that has said all it will say still gets its answer") {
  running_server server(echo);
  auto client = server.connect();
  client.send("POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
  client.half_close();
  CHECK(client.read_answer().body == "POST /half hi");
  CHECK(client.is_closed());
}

TEST_CASE("a client that goes before, in or after its request leaves no connection behind") {
  std::vector<responder> held;
  std::atomic<std::size_t> handled{0};
  running_server server([&](const request&, responder answer_it) {
    held.push_back(std::move(answer_it));
    ++handled;
  });
  { auto before = server.connect(); }
  {
    auto in_header = server.connect();
    in_header.send("GET /x HT");
  }
  {
    auto in_body = server.connect();
    in_body.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
  }
  auto while_handled = server.connect();
  while_handled.get("/x");
  REQUIRE(eventually([&] { return handled == 1; }));
  while_handled.reset();
  CHECK(eventually([&] { return server->connection_count() == 1; })); // its answer may still come
  held.front()(ok("1"));
  CHECK(eventually([&] { return server->connection_count() == 0; }));
}

TEST_CASE("a client that goes in the middle of its answer costs nobody else anything") {
  const auto large = std::make_shared<const std::string>(32UL * 1024 * 1024, 'x');
  running_server server([&](const request& r, const responder& answer_it) {
    if (r.path == "/livez") return answer_it(ok("1"));
    response out;
    out.body = large;
    answer_it(std::move(out));
  });
  auto gone = server.connect();
  gone.get("/large");
  CHECK_FALSE(gone.read_until("xxxx").empty());
  gone.reset();
  auto other = server.connect();
  other.get("/livez");
  CHECK(other.read_answer().status == 200);
  CHECK(eventually([&] { return server->connection_count() == 1; }));
}

// -- the handler's answer -----------------------------------------------------

TEST_CASE("a handler may answer later, from another thread, and twice: the first answer counts") {
  std::thread worker;
  running_server server([&](const request& r, responder answer_it) {
    if (r.path != "/twice") return answer_it(ok("\"once\""));
    worker = std::thread([answer_it = std::move(answer_it)] {
      answer_it(ok("\"first\""));
      answer_it(ok("\"second\""));
    });
  });
  auto client = server.connect();
  client.get("/twice");
  CHECK(client.read_answer().body == R"({"success":true,"data":"first"})");
  worker.join();
  client.get("/next");
  CHECK(client.read_answer().body == R"({"success":true,"data":"once"})");
}

TEST_CASE("a handler that drops its responder answers 500, one that throws too") {
  running_server server([](const request& r, const responder&) {
    if (r.path == "/throws") throw std::runtime_error("circumstances of a bug");
  });
  auto client = server.connect();
  client.get("/drops");
  CHECK(client.read_answer().status == 500);
  client.get("/throws");
  const auto got = client.read_answer();
  CHECK(got.status == 500);
  CHECK(got.body.find("circumstances of") == std::string::npos);
}

TEST_CASE("what a handler puts into a header value cannot end its line") {
  running_server server([](const request&, const responder& answer_it) {
    answer_it({.content_type = "text/plain\r\nX-A: 1", .body = "b", .headers = {{"X-B", "1\r\nX-C: 2\n\nbody"}}});
  });
  auto client = server.connect();
  client.get("/");
  const auto got = client.read_answer();
  CHECK(got.body == "b");
  CHECK_FALSE(got.headers.find("X-A"));
  CHECK_FALSE(got.headers.find("X-C"));
}

TEST_CASE("a status no client understands becomes 500") {
  running_server server([](const request& r, const responder& answer_it) {
    answer_it({.status = r.path == "/low" ? 101 : 700, .body = "b", .headers = {}});
  });
  auto client = server.connect();
  client.get("/low");
  CHECK(client.read_answer().status == 500);
  client.get("/high");
  CHECK(client.read_answer().status == 500);
}

// -- Expect -------------------------------------------------------------------

TEST_CASE("a client that expects 100-continue is told to go on before its body is read") {
  running_server server(echo);
  auto client = server.connect();
  client.send("POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.read_answer().status == 100);
  client.send("ok");
  CHECK(client.read_answer().body == "POST /e ok");
}

TEST_CASE("a client whose body would be refused is not told to go on") {
  running_server server(echo, {.max_body_bytes = 10});
  auto client = server.connect();
  client.send("POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.read_answer().status == 413);
  CHECK(client.is_closed());
}

TEST_CASE("a client that expects 100-continue and sends no body is answered at once") {
  running_server server(echo);
  auto client = server.connect();
  client.send("GET /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.read_answer().status == 200);
}
