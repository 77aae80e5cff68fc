#include "fault_proxy.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "loopback_socket.hpp"

namespace townkeeper::test {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t chunk_bytes = 16 * 1024;
constexpr std::chrono::milliseconds drip_step{10};

/// From here to the next mark the bytes may pass once it is time.
struct mark {
  std::int64_t from = 0;
  clock::time_point due;
};

/// One direction of a connection.
struct stream {
  std::vector<char> waiting; ///< read and not yet written
  std::vector<char> recent;  ///< the last bytes written, for a duplicate
  std::deque<mark> delays;   ///< of waiting bytes, while there is a latency
  std::int64_t received = 0; ///< bytes read since the connection was made
  std::int64_t passed = 0;   ///< bytes written since then, as the sender counts them
  clock::time_point next_drip = clock::now();
  std::optional<clock::time_point> ended; ///< the sender has closed
  bool closed = false;                    ///< and the receiver knows, or was told so
  bool repeated = false;                  ///< the duplicate has been put in
};

struct connection {
  socket_owner client, server;
  stream up, down; ///< to the server, from the server
  bool broken = false;
};

} // namespace

struct fault_proxy::state {
  void serve();
  void accept_one();
  void read_into(stream& s, int fd, connection& c, const fault& f);
  void forward(stream& s, int fd, connection& c, const fault& f);
  void write_some(stream& s, int fd, std::size_t most, connection& c);
  void repeat(stream& s, const fault& f);
  void end_if_over(stream& s, int fd, const fault& f);
  static bool concerns(const stream& s, const connection& c, const fault& f);
  static bool is_held(const stream& s, const fault& f);
  static std::size_t allowed(stream& s, const fault& f);
  void count(std::int64_t& counter, std::int64_t bytes);
  fault current() {
    const std::lock_guard lock{mutex};
    return what;
  }

  int upstream_port = 0;
  loopback_listener listening = listen_on_loopback();
  socket_owner wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::list<connection> open; ///< of the proxy's thread only, as is the next
  std::mt19937_64 random;

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
  socket_owner client{accept4(listening.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
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

bool fault_proxy::state::concerns(const stream& s, const connection& c, const fault& f) {
  return f.what == fault::kind::hang || (&s == &c.down) == (f.from == fault::side::server);
}

void fault_proxy::state::read_into(stream& s, int fd, connection& c, const fault& f) {
  std::array<char, chunk_bytes> chunk{};
  const ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
  if (n > 0) {
    if (f.what == fault::kind::latency && concerns(s, c, f)) {
      const auto more = f.jitter.count() > 0 ? random() % static_cast<std::uint64_t>(f.jitter.count() + 1) : 0;
      auto due = clock::now() + f.delay + std::chrono::milliseconds{static_cast<std::int64_t>(more)};
      if (!s.delays.empty()) due = std::max(due, s.delays.back().due);
      s.delays.push_back({s.received, due});
    }
    s.waiting.insert(s.waiting.end(), chunk.begin(), chunk.begin() + n);
    s.received += n;
  } else if (n == 0) {
    s.ended = clock::now();
  } else if (errno != EAGAIN && errno != EINTR) {
    c.broken = true;
  }
}

void fault_proxy::state::write_some(stream& s, int fd, std::size_t most, connection& c) {
  const auto size = s.closed ? 0 : std::min(most, s.waiting.size());
  const ssize_t n = size == 0 ? 0 : send(fd, s.waiting.data(), size, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) c.broken = true;
  if (n <= 0) return;
  s.recent.insert(s.recent.end(), s.waiting.begin(), s.waiting.begin() + n);
  if (s.recent.size() > chunk_bytes) s.recent.erase(s.recent.begin(), s.recent.end() - chunk_bytes);
  s.waiting.erase(s.waiting.begin(), s.waiting.begin() + n);
  s.passed += n;
  count(&s == &c.down ? from_server : from_client, n);
}

/// True where nothing may pass whatever comes, until the fault is another.
bool fault_proxy::state::is_held(const stream& s, const fault& f) {
  return f.what == fault::kind::hang || (f.what == fault::kind::stall && s.passed >= f.bytes);
}

/// How many of the waiting bytes may pass now.
std::size_t fault_proxy::state::allowed(stream& s, const fault& f) {
  const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, f.bytes - s.passed));
  switch (f.what) {
  case fault::kind::hang:
    return 0;
  case fault::kind::stall:
  case fault::kind::cut:
  case fault::kind::reset:
  case fault::kind::half_close:
    return left;
  case fault::kind::flip: // up to the byte, then the byte, then all
    return left > 0 ? left : (s.passed == f.bytes ? 1 : s.waiting.size());
  case fault::kind::duplicate:
    return left > 0 ? left : s.waiting.size();
  case fault::kind::drip: {
    if (clock::now() < s.next_drip) return 0;
    const auto rate = std::max<std::int64_t>(1, f.bytes);
    const auto step = std::max<std::chrono::milliseconds>(drip_step, std::chrono::milliseconds{1000 / rate});
    s.next_drip = clock::now() + step;
    return static_cast<std::size_t>(std::max<std::int64_t>(1, rate * step.count() / 1000));
  }
  default:
    return s.waiting.size();
  }
}

/// Puts the bytes before the offset in once more; they count as one with the first of them.
void fault_proxy::state::repeat(stream& s, const fault& f) {
  if (f.what != fault::kind::duplicate || s.repeated || s.passed < f.bytes || s.recent.empty()) return;
  s.repeated = true;
  const auto length = std::min(static_cast<std::size_t>(std::max<std::int64_t>(1, f.length)), s.recent.size());
  const std::vector<char> again(s.recent.end() - static_cast<std::ptrdiff_t>(length), s.recent.end());
  s.waiting.insert(s.waiting.begin(), again.begin(), again.end());
}

void fault_proxy::state::end_if_over(stream& s, int fd, const fault& f) {
  if (!s.ended || !s.waiting.empty() || s.closed) return;
  if (f.what == fault::kind::slow_close && clock::now() < *s.ended + f.delay) return;
  s.closed = true;
  shutdown(fd, SHUT_WR);
}

void fault_proxy::state::forward(stream& s, int fd, connection& c, const fault& f) {
  const bool flips = f.what == fault::kind::flip && s.passed == f.bytes && !s.waiting.empty();
  if (flips) s.waiting.front() = static_cast<char>(s.waiting.front() ^ 1);
  // What came while there was a latency keeps its time when the fault has changed since.
  auto most = s.waiting.size();
  while (!s.delays.empty() && s.delays.front().due <= clock::now())
    s.delays.pop_front();
  if (!s.delays.empty()) most = static_cast<std::size_t>(std::max<std::int64_t>(0, s.delays.front().from - s.passed));
  write_some(s, fd, std::min(most, allowed(s, f)), c);
  if (flips && s.passed == f.bytes) s.waiting.front() = static_cast<char>(s.waiting.front() ^ 1); // it did not go
  repeat(s, f);
  const bool reached = s.passed >= f.bytes;
  if (f.what == fault::kind::cut && reached) c.broken = true;
  if (f.what == fault::kind::reset && reached) {
    make_abortive(c.client.get());
    make_abortive(c.server.get());
    c.broken = true;
  }
  if (f.what == fault::kind::half_close && reached && !s.closed) {
    s.closed = true;
    shutdown(fd, SHUT_WR);
  }
  end_if_over(s, fd, f);
}

void fault_proxy::state::serve() {
  constexpr fault none;
  for (;;) {
    const auto f = current();
    const bool timed = f.what == fault::kind::drip || f.what == fault::kind::slow_close;
    bool waits = timed;
    std::vector<pollfd> all{{wake.get(), POLLIN, 0}, {listening.socket.get(), POLLIN, 0}};
    for (const auto& c : open) {
      const auto takes = [&](const stream& s) {
        return !s.ended && !(f.what == fault::kind::hang && &s == &c.up) &&
               (s.closed || s.waiting.size() < chunk_bytes);
      };
      const auto gives = [&](const stream& s) {
        const bool held = (concerns(s, c, f) && (timed || is_held(s, f))) || !s.delays.empty();
        return !held && !s.closed && !s.waiting.empty();
      };
      waits = waits || !c.up.delays.empty() || !c.down.delays.empty();
      const auto client = static_cast<short>((takes(c.up) ? POLLIN : 0) | (gives(c.down) ? POLLOUT : 0));
      const auto server = static_cast<short>((takes(c.down) ? POLLIN : 0) | (gives(c.up) ? POLLOUT : 0));
      // With nothing asked for a hang-up would be reported all the time: -1 is ignored by poll(2).
      all.push_back({client != 0 ? c.client.get() : -1, client, 0});
      all.push_back({server != 0 ? c.server.get() : -1, server, 0});
    }
    poll(all.data(), all.size(), waits ? static_cast<int>(drip_step.count()) : -1);
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
      if ((client & (POLLIN | POLLHUP | POLLERR)) != 0 && !c.up.ended) read_into(c.up, c.client.get(), c, now);
      if ((server & (POLLIN | POLLHUP | POLLERR)) != 0 && !c.down.ended) read_into(c.down, c.server.get(), c, now);
      // Behind an end that was feigned nothing is waited for.
      for (auto* s : {&c.up, &c.down})
        if (s->closed) s->waiting.clear();
      if (now.what == fault::kind::hang) continue;
      forward(c.up, c.server.get(), c, concerns(c.up, c, now) ? now : none);
      if (!c.broken) forward(c.down, c.client.get(), c, concerns(c.down, c, now) ? now : none);
    }
    open.remove_if(
        [](const connection& c) { return c.broken || (c.up.closed && c.down.closed && c.up.ended && c.down.ended); });
    if (all[1].revents != 0) accept_one();
  }
}

fault_proxy::fault_proxy(int upstream_port, std::uint64_t seed)
    : state_{std::make_unique<state>()} {
  state_->random.seed(seed);
  state_->upstream_port = upstream_port;
  port_ = state_->listening.port;
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
