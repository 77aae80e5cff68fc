#include <catch2/catch_test_macros.hpp>

#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"
#include "tests/unit/http/running_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

void label_of(const request& r, const responder& answer_it) {
  answer_it({.body = "<" + r.label + "> from " + r.peer.substr(0, r.peer.find(':')), .headers = {}});
}

std::string ask(peer client) {
  client.get("/");
  return client.read_answer().body;
}

/// A socket file nobody listens on, as a process that was killed leaves it.
void leave_stale_socket(const fs::path& path) {
  auto left = listen_on_unix(path);
  REQUIRE(left);
}

} // namespace

TEST_CASE("a request carries the label of the Unix socket it came in on, one over TCP none") {
  const temp_dir dir("unix");
  running_server server(label_of);
  REQUIRE(server->listen_unix(dir.path() / "a.sock", "agent-a"));
  REQUIRE(server->listen_unix(dir.path() / "b.sock", "agent-b"));
  CHECK(ask(peer::to(dir.path() / "a.sock")) == "<agent-a> from unix");
  CHECK(ask(peer::to(dir.path() / "b.sock")) == "<agent-b> from unix");
  CHECK(ask(server.connect()) == "<> from 127.0.0.1");
}

TEST_CASE("a Unix socket is closed to other users, and leaves no other file") {
  const temp_dir dir("unix");
  running_server server(label_of);
  const auto before = ::umask(0);
  const auto listening = server->listen_unix(dir.path() / "a.sock", "a");
  ::umask(before);
  REQUIRE(listening);
  struct stat made {};
  REQUIRE(::lstat((dir.path() / "a.sock").c_str(), &made) == 0);
  CHECK(S_ISSOCK(made.st_mode));
  CHECK((made.st_mode & 07777U) == 0600U);
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("a stale socket file is replaced") {
  const temp_dir dir("unix");
  leave_stale_socket(dir.path() / "a.sock");
  leave_stale_socket(dir.path() / "a.sock.new"); // killed just before the rename
  running_server server(label_of);
  REQUIRE(server->listen_unix(dir.path() / "a.sock", "a"));
  CHECK(ask(peer::to(dir.path() / "a.sock")) == "<a> from unix");
}

TEST_CASE("a socket someone listens on is a conflict, and goes on working") {
  const temp_dir dir("unix");
  running_server first(label_of), second(label_of);
  REQUIRE(first->listen_unix(dir.path() / "a.sock", "first"));
  const auto refused = second->listen_unix(dir.path() / "a.sock", "second");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::conflict);
  second->stop(0ms);
  CHECK(ask(peer::to(dir.path() / "a.sock")) == "<first> from unix");
}

TEST_CASE("a file that is no socket is refused and left alone") {
  const temp_dir dir("unix");
  running_server server(label_of);
  std::ofstream(dir.path() / "file") << "precious";
  fs::create_directory(dir.path() / "directory");
  fs::create_symlink("elsewhere", dir.path() / "link");
  for (const auto* name : {"file", "directory", "link"}) {
    CAPTURE(name);
    const auto refused = server->listen_unix(dir.path() / name, "a");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == error_code::conflict);
  }
  server->stop(0ms);
  CHECK(fs::file_size(dir.path() / "file") == 8);
  CHECK(fs::is_directory(dir.path() / "directory"));
  CHECK(fs::is_symlink(dir.path() / "link"));
  CHECK_FALSE(fs::exists(dir.path() / "elsewhere"));
}

TEST_CASE("a Unix socket without a label, or with a path too long, is refused") {
  const temp_dir dir("unix");
  running_server server(label_of);
  CHECK(server->listen_unix(dir.path() / "a", "").error().code == error_code::invalid_argument);
  CHECK(server->listen_unix(dir.path() / std::string(sizeof(sockaddr_un::sun_path), 'a'), "a").error().code ==
        error_code::invalid_argument);
  CHECK(server->listen_unix(dir.path() / "absent" / "a", "a").error().code == error_code::disk);
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("a removed Unix socket is gone, with its connections, and no other one is touched") {
  const temp_dir dir("unix");
  running_server server(label_of);
  REQUIRE(server->listen_unix(dir.path() / "a.sock", "a"));
  REQUIRE(server->listen_unix(dir.path() / "b.sock", "b"));
  auto to_a = peer::to(dir.path() / "a.sock"), to_b = peer::to(dir.path() / "b.sock"), over_tcp = server.connect();
  for (auto* each : {&to_a, &to_b, &over_tcp}) {
    each->get("/");
    REQUIRE(each->read_answer().status == 200);
  }
  server->remove_unix(dir.path() / "a.sock");
  server->remove_unix(dir.path() / "never-there");
  CHECK_FALSE(fs::exists(dir.path() / "a.sock"));
  CHECK(to_a.is_closed());
  for (auto* each : {&to_b, &over_tcp}) {
    each->get("/");
    CHECK(each->read_answer().status == 200);
  }
}

TEST_CASE("a request in work on a Unix socket that is removed is answered first") {
  const temp_dir dir("unix");
  std::promise<responder> asked;
  running_server server([&](const request&, responder answer_it) { asked.set_value(std::move(answer_it)); });
  REQUIRE(server->listen_unix(dir.path() / "a.sock", "a"));
  auto client = peer::to(dir.path() / "a.sock");
  client.get("/");
  const auto answer_it = asked.get_future().get();
  server->remove_unix(dir.path() / "a.sock");
  answer_it(ok("1"));
  CHECK(client.read_answer().header("Connection") == "close");
  CHECK(client.is_closed());
}

TEST_CASE("a stop removes the socket files it made, and not one that took a name meanwhile") {
  const temp_dir dir("unix");
  running_server server(label_of), successor(label_of);
  REQUIRE(server->listen_unix(dir.path() / "mine", "a"));
  REQUIRE(server->listen_unix(dir.path() / "taken", "a"));
  fs::remove(dir.path() / "taken");
  REQUIRE(successor->listen_unix(dir.path() / "taken", "b"));
  server->stop(0ms);
  CHECK_FALSE(fs::exists(dir.path() / "mine"));
  CHECK(ask(peer::to(dir.path() / "taken")) == "<b> from unix");
}

// -- TCP addresses ------------------------------------------------------------

TEST_CASE("a TCP address is numeric, with a port") {
  for (const auto* text : {"", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
                           "example.com:80", "::1:80", "[::1]", "[127.0.0.1]:0", "127.0.0.1:0 ", "256.0.0.1:0"}) {
    CAPTURE(text);
    const auto refused = listen_on_tcp(text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == error_code::invalid_argument);
  }
  CHECK(listen_on_tcp("localhost:0"));
  CHECK(listen_on_tcp("0.0.0.0:0"));
}

TEST_CASE("a TCP address that is taken is a conflict") {
  const auto first = listen_on_tcp("127.0.0.1:0");
  REQUIRE(first);
  REQUIRE(first->port != 0);
  const auto second = listen_on_tcp("127.0.0.1:" + std::to_string(first->port));
  REQUIRE_FALSE(second);
  CHECK(second.error().code == error_code::conflict);
}
