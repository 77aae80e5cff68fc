#include "siege.hpp"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "loopback_socket.hpp"

namespace townkeeper::test {

namespace {

using clock_type = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds tick{10};
constexpr std::size_t most_connecting = 512; // no more are on their way at once than any backlog holds
constexpr std::string_view slow_begin = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";

/// This process may have so many descriptors, and some for the rest of the test.
void allow_descriptors(std::size_t count) {
  const rlim_t wanted = count + 512;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  if (limit.rlim_cur < wanted || setrlimit(RLIMIT_NOFILE, &limit) != 0)
    throw std::runtime_error{"a siege of " + std::to_string(count) + " needs " + std::to_string(wanted) +
                             " descriptors; the hard limit (ulimit -Hn) is " + std::to_string(limit.rlim_max)};
}

} // namespace

struct siege::state {
  struct client {
    int fd = -1;
    bool slow = false;
    bool connected = false;
    bool answered = false;
  };

  siege_options options;
  std::vector<client> clients;
  std::deque<std::size_t> closed; ///< those to be opened, of the thread only, as is all but the counts
  std::size_t connecting = 0;
  int epoll = -1;
  std::atomic<std::size_t> open{0}, opened{0}, ended{0}, answered{0}, failed{0};
  std::atomic<bool> stop{false};
  std::thread thread;

  explicit state(const siege_options& o)
      : options{o}
      , clients(o.silent + o.slow) {
    allow_descriptors(clients.size());
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < clients.size(); ++i) {
      // Spread evenly, so that both kinds are there from the first on.
      clients[i].slow = (i + 1) * o.slow / clients.size() != i * o.slow / clients.size();
      closed.push_back(i);
    }
    thread = std::thread{[this] { run(); }};
  }

  ~state() {
    stop = true;
    thread.join();
    for (const auto& each : clients)
      if (each.fd >= 0) close(each.fd);
    close(epoll);
  }

  void run() {
    auto last = clock_type::now();
    double may_open = 0, may_drip = 0;
    std::size_t next_drip = 0;
    while (!stop) {
      wait();
      const auto now = clock_type::now();
      const double passed = std::chrono::duration<double>{now - last}.count();
      last = now;
      const auto rate = static_cast<double>(options.opened_per_second);
      may_open = std::min(may_open + passed * rate, rate / 10);
      for (; may_open >= 1 && !closed.empty() && connecting < most_connecting; --may_open)
        open_one();
      const auto all = static_cast<double>(clients.size());
      may_drip = std::min(may_drip + all * passed / std::chrono::duration<double>{options.drip}.count(), all);
      for (; may_drip >= 1; --may_drip, next_drip = (next_drip + 1) % clients.size())
        drip(clients[next_drip]);
    }
  }

  void wait() {
    std::array<epoll_event, 512> events{};
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), static_cast<int>(tick.count()));
    for (int i = 0; i < count; ++i) {
      const auto& event = events.at(static_cast<std::size_t>(i));
      const auto which = static_cast<std::size_t>(event.data.u64);
      if (!clients[which].connected)
        connected(which, (event.events & (EPOLLERR | EPOLLHUP)) == 0);
      else
        read(which);
    }
  }

  void open_one() {
    const auto which = closed.front();
    closed.pop_front();
    auto& c = clients[which];
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    c.connected = c.answered = false;
    ++connecting;
    const auto address = loopback(options.port);
    const bool begun =
        connect(c.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EINPROGRESS;
    epoll_event wanted{};
    wanted.events = EPOLLOUT;
    wanted.data.u64 = which;
    if (!begun || epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &wanted) != 0) connected(which, false);
  }

  void connected(std::size_t which, bool success) {
    auto& c = clients[which];
    --connecting;
    if (!success) {
      ++failed;
      return forget(which);
    }
    c.connected = true;
    ++open;
    ++opened;
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.u64 = which;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c.fd, &wanted);
    if (c.slow) std::ignore = ::send(c.fd, slow_begin.data(), slow_begin.size(), MSG_NOSIGNAL);
  }

  void read(std::size_t which) {
    auto& c = clients[which];
    char bytes[4096];
    const auto got = recv(c.fd, bytes, sizeof bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) {
      if (!std::exchange(c.answered, true)) ++answered;
      return;
    }
    --open;
    ++ended;
    forget(which);
  }

  /// What the server says to it is seen by `read`.
  void drip(const client& c) const {
    if (c.slow && c.connected && c.fd >= 0) std::ignore = ::send(c.fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void forget(std::size_t which) {
    auto& c = clients[which];
    if (c.fd >= 0) close(c.fd); // takes it out of epoll
    c.fd = -1;
    c.connected = false;
    closed.push_back(which);
  }
};

siege::siege(const siege_options& options)
    : state_{std::make_unique<state>(options)} {}

siege::~siege() = default;

siege_counts siege::counts() const {
  return {state_->open, state_->opened, state_->ended, state_->answered, state_->failed};
}

bool siege::wait_until_laid(milliseconds deadline) const {
  const auto until = clock_type::now() + deadline;
  while (state_->opened < state_->clients.size()) {
    if (clock_type::now() >= until) return false;
    std::this_thread::sleep_for(tick);
  }
  return true;
}

probe_answer probe(int port, const std::string& path) {
  const auto request = "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
  const auto begun = clock_type::now();
  probe_answer out;
  std::string all;
  const socket_owner made{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const timeval limit{10, 0};
  setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const auto address = loopback(port);
  if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::send(made.get(), request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    char bytes[16 * 1024];
    for (ssize_t got = 0; (got = recv(made.get(), bytes, sizeof bytes, 0)) > 0;)
      all.append(bytes, static_cast<std::size_t>(got));
  }
  out.took_ms = std::chrono::duration<double, std::milli>{clock_type::now() - begun}.count();
  const auto body = all.find("\r\n\r\n");
  if (body == std::string::npos || !all.starts_with("HTTP/1.1 ")) return out;
  out.status = std::stoi(all.substr(9, 3));
  out.body = all.substr(body + 4);
  return out;
}

} // namespace townkeeper::test
