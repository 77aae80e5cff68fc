#include "tests/support/fault_proxy.hpp"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <string>
#include <thread>

#include "tests/support/loopback_socket.hpp"

using namespace townkeeper::test;

namespace {

using clock_type = std::chrono::steady_clock;

/// Says its piece to the one who connects, closes its side, and listens until the other side closes.
class talker {
public:
  explicit talker(std::string piece)
      : piece_{std::move(piece)}
      , thread_{[this] { serve(); }} {}
  ~talker() {
    // Wakes it where nobody has connected.
    shutdown(listening_.socket.get(), SHUT_RDWR);
    thread_.join();
  }
  int port() const { return listening_.port; }

private:
  void serve() {
    pollfd waiting{listening_.socket.get(), POLLIN, 0};
    poll(&waiting, 1, -1);
    const socket_owner client{accept4(listening_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (client.get() < 0) return;
    send(client.get(), piece_.data(), piece_.size(), MSG_NOSIGNAL);
    shutdown(client.get(), SHUT_WR);
    std::array<char, 4096> chunk{};
    while (recv(client.get(), chunk.data(), chunk.size(), 0) > 0) {
    }
  }

  std::string piece_;
  loopback_listener listening_ = listen_on_loopback();
  std::thread thread_;
};

struct listened {
  std::string text;
  bool ended = false; ///< the other side closed
  int error = 0;      ///< errno of the last read
};

/// Reads until the end or until nothing has come for a while.
listened listen_to(int fd, std::chrono::milliseconds patience) {
  listened out;
  std::array<char, 4096> chunk{};
  for (;;) {
    pollfd waiting{fd, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(patience.count())) <= 0) return out;
    const ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
    if (n > 0) {
      out.text.append(chunk.data(), static_cast<std::size_t>(n));
      continue;
    }
    out.ended = n == 0;
    out.error = n < 0 ? errno : 0;
    return out;
  }
}

listened listen_with(const fault& f, const std::string& piece,
                     std::chrono::milliseconds patience = std::chrono::seconds{20}) {
  talker upstream{piece};
  fault_proxy proxy{upstream.port()};
  proxy.set(f);
  const auto client = connect_to_loopback(proxy.port());
  REQUIRE(client.get() >= 0);
  return listen_to(client.get(), patience);
}

constexpr std::chrono::milliseconds short_while{300};

} // namespace

TEST_CASE("a TCP proxy without a fault passes every byte and the end") {
  const auto all = listen_with({}, "0123456789");
  CHECK(all.text == "0123456789");
  CHECK(all.ended);
}

TEST_CASE("a TCP proxy stalls, cuts, resets, half-closes, flips and repeats where it was told to") {
  using kind = fault::kind;
  const std::string piece = "0123456789";
  SECTION("stall") {
    const auto all = listen_with({kind::stall, 4}, piece, short_while);
    CHECK(all.text == "0123");
    CHECK_FALSE(all.ended);
  }
  SECTION("hang") {
    const auto all = listen_with({kind::hang}, piece, short_while);
    CHECK(all.text.empty());
    CHECK_FALSE(all.ended);
  }
  SECTION("cut") {
    const auto all = listen_with({kind::cut, 4}, piece);
    CHECK(all.text == "0123");
    CHECK(all.ended);
  }
  SECTION("reset") {
    const auto all = listen_with({kind::reset, 4}, piece);
    CHECK(all.text.size() <= 4); // a RST may overtake what the kernel holds
    CHECK(all.error == ECONNRESET);
  }
  SECTION("flip") {
    CHECK(listen_with({kind::flip, 4}, piece).text == "0123556789");
  }
  SECTION("duplicate") {
    CHECK(listen_with({.what = kind::duplicate, .bytes = 6, .length = 3}, piece).text == "0123453456789");
  }
  SECTION("drip") {
    const auto begun = clock_type::now();
    CHECK(listen_with({kind::drip, 20}, piece).text == piece);
    CHECK(clock_type::now() - begun >= std::chrono::milliseconds{400});
  }
  SECTION("latency") {
    const auto begun = clock_type::now();
    CHECK(listen_with({.what = kind::latency, .delay = std::chrono::milliseconds{200}, .jitter = short_while}, piece)
              .text == piece);
    CHECK(clock_type::now() - begun >= std::chrono::milliseconds{200});
  }
  SECTION("slow close") {
    const auto begun = clock_type::now();
    const auto all = listen_with({.what = kind::slow_close, .delay = std::chrono::milliseconds{200}}, piece);
    CHECK(all.text == piece);
    CHECK(all.ended);
    CHECK(clock_type::now() - begun >= std::chrono::milliseconds{200});
  }
}

TEST_CASE("after a half-close by the proxy the client's own bytes still arrive") {
  talker upstream{"0123456789"};
  {
    fault_proxy proxy{upstream.port()};
    proxy.set({fault::kind::half_close, 4});
    const auto client = connect_to_loopback(proxy.port());
    const auto all = listen_to(client.get(), std::chrono::seconds{20});
    CHECK(all.text == "0123");
    CHECK(all.ended);
    REQUIRE(send(client.get(), "still here", 10, MSG_NOSIGNAL) == 10);
    shutdown(client.get(), SHUT_WR);
    for (int i = 0; i < 2000 && proxy.bytes_from_client() < 10; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    CHECK(proxy.bytes_from_client() == 10);
  }
}

TEST_CASE("a TCP proxy breaks what the client sends where it was told to") {
  talker upstream{""};
  fault_proxy proxy{upstream.port()};
  proxy.set({.what = fault::kind::stall, .bytes = 3, .from = fault::side::client});
  const auto client = connect_to_loopback(proxy.port());
  REQUIRE(send(client.get(), "0123456789", 10, MSG_NOSIGNAL) == 10);
  std::this_thread::sleep_for(short_while);
  CHECK(proxy.bytes_from_client() == 3);
  // Switched while it runs: the rest passes.
  proxy.set({});
  for (int i = 0; i < 2000 && proxy.bytes_from_client() < 10; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  CHECK(proxy.bytes_from_client() == 10);
}
