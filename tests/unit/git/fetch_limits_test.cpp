// Deadlines, stalls and cancelling: a bad remote costs what its limits say, and no more.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "rig_disk.hpp"
#include "tests/support/fault_proxy.hpp"
#include "tests/support/remote.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

using steady = std::chrono::steady_clock;

/// What is left of a second or so for a machine under load; a deadline that is not obeyed costs the whole `total`.
constexpr auto slack = 2s;

/// A remote with a pack of some 300 KB, behind a proxy that can be made to fail.
struct slow_remote {
  static constexpr std::int64_t pack_bytes = 300'000;
  remote server;
  fault_proxy proxy{server.port()};
  rig_disk disk;
  git::repository_job job;

  slow_remote() {
    server.make_repository("app");
    server.commit("app", {.branch = "main", .files = {{"big", noise(pack_bytes)}}});
    job = disk.job(proxy.url("app"));
    job.limits = {.connect = 5s, .stall = 5s, .total = 20s};
  }

  /// Nothing half-made is left, and the rig can be restored once the remote behaves.
  void check_that_it_recovers() {
    CHECK_FALSE(fs::exists(disk.repository()));
    CHECK(fs::is_empty(disk.rig()));
    proxy.set({fault::kind::pass});
    job.cancel.reset();
    const auto done = restore(job);
    REQUIRE(done);
    CHECK(done->tips.at("main") == server.tip("app", "main"));
    CHECK(is_sound(disk.repository()));
  }
};

/// A port of 127.0.0.1 that answers no connection attempt: its backlog is full.
class deaf_port {
public:
  deaf_port() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(listening_, reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(listen(listening_, 0) == 0);
    REQUIRE(getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    // The kernel takes one more than the backlog; the next ones stay unanswered.
    for (int& fd : waiting_) {
      fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      connect(fd, reinterpret_cast<const sockaddr*>(&address), size);
    }
    pollfd last{waiting_.back(), POLLOUT, 0};
    REQUIRE(poll(&last, 1, 50) == 0);
  }
  deaf_port(const deaf_port&) = delete;
  deaf_port& operator=(const deaf_port&) = delete;
  ~deaf_port() {
    for (const int fd : waiting_)
      close(fd);
    close(listening_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/app.git"; }

private:
  int listening_ = -1;
  int port_ = 0;
  std::array<int, 4> waiting_{};
};

template <class F>
std::chrono::milliseconds time_of(F f) {
  const auto begin = steady::now();
  f();
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - begin);
}

} // namespace

TEST_CASE("a remote that takes no connection ends the attempt after the connect limit") {
  const deaf_port deaf;
  const rig_disk disk;
  auto job = disk.job(deaf.url());
  job.limits = {.connect = 300ms, .stall = 20s, .total = 20s};
  result<git::repository_restored> done = error{};
  const auto took = time_of([&] { done = restore(job); });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::timed_out);
  CHECK_THAT(done.error().message, ContainsSubstring("connection"));
  CHECK(took >= 300ms);
  CHECK(took < 300ms + slack);
}

TEST_CASE("a port nobody listens on is unavailable at once") {
  remote server;
  server.stop();
  const rig_disk disk;
  const auto done = restore(disk.job(server.url("app")));
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::unavailable);
  CHECK_THAT(done.error().message, ContainsSubstring("refused"));
}

TEST_CASE("a remote that accepts and never answers ends the attempt after the stall limit") {
  slow_remote slow;
  slow.job.limits.stall = 300ms;
  if (GENERATE(true, false)) {
    slow.proxy.set({fault::kind::hang});
  } else {
    slow.job.url = slow.server.url("app");
    slow.server.hang();
  }
  result<git::repository_restored> done = error{};
  const auto took = time_of([&] { done = restore(slow.job); });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::timed_out);
  CHECK(took >= 300ms);
  CHECK(took < 300ms + slack);
  slow.server.resume();
  slow.check_that_it_recovers();
}

TEST_CASE("a remote that falls silent in mid-pack ends the attempt after the stall limit") {
  slow_remote slow;
  slow.job.limits.stall = 300ms;
  slow.proxy.set({fault::kind::stall, slow_remote::pack_bytes / 2});
  result<git::repository_restored> done = error{};
  const auto took = time_of([&] { done = restore(slow.job); });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::timed_out);
  CHECK_THAT(done.error().message, ContainsSubstring("sent nothing"));
  CHECK(took < 300ms + slack);
  CHECK(slow.proxy.bytes_from_server() == slow_remote::pack_bytes / 2);
  slow.check_that_it_recovers();
}

TEST_CASE("a remote that drips is a stalled one") {
  slow_remote slow;
  slow.job.limits.stall = 500ms;
  slow.proxy.set({fault::kind::drip, 900}); // never silent for long, and below 1024 bytes a second in the pack
  result<git::repository_restored> done = error{};
  const auto took = time_of([&] { done = restore(slow.job); });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::timed_out);
  CHECK_THAT(done.error().message, ContainsSubstring("a second"));
  CHECK(took < 3s + slack); // the advertisement alone takes one second
  slow.check_that_it_recovers();
}

TEST_CASE("a slow remote that keeps above the stall rate ends at the total limit") {
  slow_remote slow;
  slow.job.limits = {.connect = 5s, .stall = 5s, .total = 700ms};
  slow.proxy.set({fault::kind::drip, 50'000}); // 300 KB would take 6 s
  result<git::repository_restored> done = error{};
  const auto took = time_of([&] { done = restore(slow.job); });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::timed_out);
  CHECK_THAT(done.error().message, ContainsSubstring("in all"));
  CHECK(took >= 700ms);
  CHECK(took < 700ms + slack);
  slow.check_that_it_recovers();
}

TEST_CASE("cancelling ends a transfer within 100 ms, whether data flows or not") {
  const fault when =
      GENERATE(fault{fault::kind::drip, 50'000}, fault{fault::kind::stall, 100'000}, fault{fault::kind::hang, 0});
  // The best of three, because a busy machine may be late by itself; one that waits for a limit is late each time.
  auto best = 1'000'000ms;
  slow_remote slow;
  for (int i = 0; i < 3 && best >= 100ms; ++i) {
    slow.proxy.reset_counts();
    slow.proxy.set(when);
    slow.job.cancel = std::make_shared<std::atomic<bool>>(false);
    auto attempt = std::async(std::launch::async, [&] { return restore(slow.job); });
    if (when.what == fault::kind::hang)
      while (slow.proxy.connections() == 0)
        std::this_thread::yield();
    else
      REQUIRE(slow.proxy.wait_for_bytes(20'000, 5s));
    REQUIRE(attempt.wait_for(60ms) == std::future_status::timeout); // it is in the middle of it
    const auto took = time_of([&] {
      *slow.job.cancel = true;
      attempt.wait();
    });
    const auto done = attempt.get();
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::cancelled);
    best = std::min(best, took);
  }
  CHECK(best < 100ms);
  slow.check_that_it_recovers();
}

TEST_CASE("a job that was cancelled before it began touches nothing") {
  slow_remote slow;
  slow.job.cancel = std::make_shared<std::atomic<bool>>(true);
  const auto done = restore(slow.job);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::cancelled);
  CHECK(slow.proxy.connections() == 0);
}

TEST_CASE("what has come is told while it comes") {
  slow_remote slow;
  std::vector<git::transfer_progress> told;
  const auto done = git::restore_repository(slow.job, [&](const git::transfer_progress& p) { told.push_back(p); });
  REQUIRE(done);
  REQUIRE_FALSE(told.empty());
  CHECK(std::is_sorted(told.begin(), told.end(),
                       [](const auto& a, const auto& b) { return a.received_bytes < b.received_bytes; }));
  CHECK(told.back().fetching);
  CHECK(told.back().received_bytes == done->fetched_bytes);
  CHECK(told.back().received_objects == done->fetched_objects);
  CHECK(told.back().total_objects == done->fetched_objects);
  CHECK(done->fetched_bytes > slow_remote::pack_bytes);
}
