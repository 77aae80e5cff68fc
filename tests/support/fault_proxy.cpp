#include "fault_proxy.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

namespace townkeeper::test {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t chunk_bytes = 16 * 1024;
constexpr std::chrono::milliseconds drip_step{10};

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), std::string{"fault_proxy: "} + what};
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

class socket_owner {
public:
  explicit socket_owner(int fd = -1)
      : fd_{fd} {}
  socket_owner(socket_owner&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)} {}
  socket_owner& operator=(socket_owner&&) = delete;
  ~socket_owner() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }

private:
  int fd_;
};

/// One direction of a connection.
struct stream {
  std::vector<char> waiting; ///< read and not yet written
  std::int64_t passed = 0;   ///< bytes written since the connection was made
  bool ended = false;        ///< the sender has closed
  bool closed = false;       ///< and the receiver knows
};

struct connection {
  socket_owner client, server;
  stream up, down; ///< to the server, from the server
  clock::time_point next_drip = clock::now();
  bool broken = false;
};

} // namespace

struct fault_proxy::state {
  void serve();
  void accept_one();
  void read_into(stream& s, int fd, connection& c);
  void write_down(connection& c, const fault& f);
  void write_some(stream& s, int fd, std::size_t most, connection& c);
  std::size_t allowed_down(connection& c, const fault& f);
  void count(std::int64_t& counter, std::int64_t bytes);
  fault current() {
    const std::lock_guard lock{mutex};
    return what;
  }

  int upstream_port = 0;
  socket_owner listening{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  socket_owner wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::list<connection> open; ///< of the proxy's thread only

  std::mutex mutex; ///< guards what follows
  std::condition_variable counted;
  fault what;
  bool stopping = false;
  std::int64_t connections = 0, from_server = 0, from_client = 0;
};

void fault_proxy::state::count(std::int64_t& counter, std::int64_t bytes) {
  {
    const std::lock_guard lock{mutex};
    counter += bytes;
  }
  counted.notify_all();
}

void fault_proxy::state::accept_one() {
  socket_owner client{accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (client.get() < 0) return;
  count(connections, 1);
  socket_owner server{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto address = loopback(upstream_port);
  // A server that is down looks like one to the client: its connection breaks.
  if (connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  fcntl(server.get(), F_SETFL, O_NONBLOCK);
  const int on = 1;
  for (const int fd : {client.get(), server.get()})
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  open.push_back({std::move(client), std::move(server), {}, {}});
}

void fault_proxy::state::read_into(stream& s, int fd, connection& c) {
  std::array<char, chunk_bytes> chunk{};
  const ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
  if (n > 0)
    s.waiting.insert(s.waiting.end(), chunk.begin(), chunk.begin() + n);
  else if (n == 0)
    s.ended = true;
  else if (errno != EAGAIN && errno != EINTR)
    c.broken = true;
}

void fault_proxy::state::write_some(stream& s, int fd, std::size_t most, connection& c) {
  const auto size = std::min(most, s.waiting.size());
  const ssize_t n = size == 0 ? 0 : send(fd, s.waiting.data(), size, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) c.broken = true;
  if (n > 0) {
    s.waiting.erase(s.waiting.begin(), s.waiting.begin() + n);
    s.passed += n;
    count(&s == &c.down ? from_server : from_client, n);
  }
  if (s.ended && s.waiting.empty() && !std::exchange(s.closed, true)) shutdown(fd, SHUT_WR);
}

/// How many of the server's waiting bytes may pass now.
std::size_t fault_proxy::state::allowed_down(connection& c, const fault& f) {
  const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, f.bytes - c.down.passed));
  switch (f.what) {
  case fault::kind::hang:
    return 0;
  case fault::kind::stall:
  case fault::kind::cut:
    return left;
  case fault::kind::drip: {
    if (clock::now() < c.next_drip) return 0;
    const auto rate = std::max<std::int64_t>(1, f.bytes);
    const auto step = std::max<std::chrono::milliseconds>(drip_step, std::chrono::milliseconds{1000 / rate});
    c.next_drip = clock::now() + step;
    return static_cast<std::size_t>(std::max<std::int64_t>(1, rate * step.count() / 1000));
  }
  default:
    return c.down.waiting.size();
  }
}

void fault_proxy::state::write_down(connection& c, const fault& f) {
  const auto at = f.bytes - c.down.passed;
  if (f.what == fault::kind::flip && at >= 0 && at < static_cast<std::int64_t>(c.down.waiting.size())) {
    // Byte and all before it in one step, so that it is flipped once.
    write_some(c.down, c.client.get(), static_cast<std::size_t>(at), c);
    if (c.down.passed == f.bytes && !c.down.waiting.empty()) {
      c.down.waiting.front() = static_cast<char>(c.down.waiting.front() ^ 1);
      write_some(c.down, c.client.get(), 1, c);
    }
    return;
  }
  write_some(c.down, c.client.get(), allowed_down(c, f), c);
  if (f.what == fault::kind::cut && c.down.passed >= f.bytes) c.broken = true;
}

void fault_proxy::state::serve() {
  for (;;) {
    const auto f = current();
    const bool hangs = f.what == fault::kind::hang;
    std::vector<pollfd> all{{wake.get(), POLLIN, 0}, {listening.get(), POLLIN, 0}};
    for (const auto& c : open) {
      const bool takes_up = !hangs && !c.up.ended && c.up.waiting.size() < chunk_bytes;
      const bool takes_down = !c.down.ended && c.down.waiting.size() < chunk_bytes;
      const bool gives_up = !hangs && !c.up.waiting.empty();
      const bool held =
          hangs || f.what == fault::kind::drip || (f.what == fault::kind::stall && c.down.passed >= f.bytes);
      const bool gives_down = !held && !c.down.waiting.empty();
      const auto client = static_cast<short>((takes_up ? POLLIN : 0) | (gives_down ? POLLOUT : 0));
      const auto server = static_cast<short>((takes_down ? POLLIN : 0) | (gives_up ? POLLOUT : 0));
      // With nothing asked for a hang-up would be reported all the time: -1 is ignored by poll(2).
      all.push_back({client != 0 ? c.client.get() : -1, client, 0});
      all.push_back({server != 0 ? c.server.get() : -1, server, 0});
    }
    poll(all.data(), all.size(), f.what == fault::kind::drip ? static_cast<int>(drip_step.count()) : -1);
    if (all[0].revents != 0) {
      std::uint64_t ignored = 0;
      if (read(wake.get(), &ignored, sizeof ignored) < 0 && errno != EAGAIN) return;
      const std::lock_guard lock{mutex};
      if (stopping) return;
    }
    auto ready = all.begin() + 2;
    const auto now = current();
    for (auto& c : open) {
      const auto client = (ready++)->revents, server = (ready++)->revents;
      if ((client & (POLLIN | POLLHUP | POLLERR)) != 0 && !c.up.ended) read_into(c.up, c.client.get(), c);
      if ((server & (POLLIN | POLLHUP | POLLERR)) != 0 && !c.down.ended) read_into(c.down, c.server.get(), c);
      if (now.what != fault::kind::hang) {
        write_some(c.up, c.server.get(), c.up.waiting.size(), c);
        write_down(c, now);
      }
    }
    open.remove_if([](const connection& c) { return c.broken || (c.up.closed && c.down.closed); });
    if (all[1].revents != 0) accept_one();
  }
}

fault_proxy::fault_proxy(int upstream_port)
    : state_{std::make_unique<state>()} {
  state_->upstream_port = upstream_port;
  auto address = loopback(0);
  socklen_t size = sizeof address;
  const int fd = state_->listening.get();
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(fd, SOMAXCONN) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail("cannot listen");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread{[this] { state_->serve(); }};
}

fault_proxy::~fault_proxy() {
  {
    const std::lock_guard lock{state_->mutex};
    state_->stopping = true;
  }
  eventfd_write(state_->wake.get(), 1);
  thread_.join();
}

std::string fault_proxy::url(const std::string& name, const std::string& scheme) const {
  return scheme + "://127.0.0.1:" + std::to_string(port_) + "/" + name + ".git";
}

void fault_proxy::set(const fault& f) {
  {
    const std::lock_guard lock{state_->mutex};
    state_->what = f;
  }
  eventfd_write(state_->wake.get(), 1);
}

std::int64_t fault_proxy::connections() const {
  const std::lock_guard lock{state_->mutex};
  return state_->connections;
}

std::int64_t fault_proxy::bytes_from_server() const {
  const std::lock_guard lock{state_->mutex};
  return state_->from_server;
}

std::int64_t fault_proxy::bytes_from_client() const {
  const std::lock_guard lock{state_->mutex};
  return state_->from_client;
}

void fault_proxy::reset_counts() {
  const std::lock_guard lock{state_->mutex};
  state_->connections = state_->from_server = state_->from_client = 0;
}

bool fault_proxy::wait_for_bytes(std::int64_t bytes, std::chrono::milliseconds deadline) const {
  std::unique_lock lock{state_->mutex};
  return state_->counted.wait_for(lock, deadline, [&] { return state_->from_server >= bytes; });
}

} // namespace townkeeper::test
