#include "http_fault_proxy.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <list>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>

#include "http_text.hpp"
#include "loopback_socket.hpp"

namespace townkeeper::test {

namespace {

constexpr int look_ms = 10; ///< how often what waits looks whether it still has to
constexpr std::size_t chunk_bytes = 16 * 1024;
constexpr std::size_t head_limit = 64 * 1024;
constexpr std::size_t body_limit = 256 * 1024 * 1024;

using std::chrono::milliseconds;

} // namespace

struct http_fault_proxy::state {
  using phase = http_rule::phase;

  struct worker {
    std::thread thread;
    std::atomic<bool> over = false;
  };
  /// One request on its way: which rules it fell under, and how far its parts have come.
  struct exchange {
    socket_owner client;
    std::string method, target;
    std::array<std::uint64_t, 3> rules{}; ///< by phase; 0: none
    std::array<std::int64_t, 3> passed{};
    milliseconds slow_close{0};
  };

  state(int port, std::uint64_t seed)
      : upstream_port{port}
      , random{seed} {}

  // Threads and rules.
  void accept_all();
  void serve(socket_owner client);
  bool stops() const { return stopping.load(); }
  void stop();
  std::optional<http_rule> rule(std::uint64_t id) const;
  std::uint64_t choose(const exchange& e, phase when);
  milliseconds jittered(const fault& f);
  void wait(milliseconds time) const;

  // Bytes.
  bool wait_readable(int fd) const;
  bool read_some(int fd, std::string& into) const;
  bool write_all(int fd, std::string_view bytes) const;
  bool deliver(exchange& e, phase when, int fd, std::string_view bytes);
  bool read_message(int fd, std::string& raw, http_text& m) const;

  // The conversation.
  void relay(exchange& e, http_text& request);
  socket_owner ask(exchange& e, const std::string& request, bool with_faults);
  void answer(exchange& e, int server);
  void rewrite_answer(exchange& e, int server, std::string& raw, http_text& head, const http_rule& how);

  const int upstream_port;
  loopback_listener listening = listen_on_loopback();
  std::atomic<bool> stopping = false;
  const socket_owner stopped{eventfd(0, EFD_CLOEXEC)}; ///< readable, for good, once it stops
  std::list<worker> workers;                           ///< of the accepting thread only
  std::thread accepting;

  mutable std::mutex mutex; ///< guards what follows
  std::vector<std::pair<std::uint64_t, http_rule>> rules;
  std::uint64_t next_rule = 1;
  std::vector<std::string> requests;
  std::size_t applied = 0;
  std::mt19937_64 random;
};

// -- threads and rules ------------------------------------------------------------------------------------------------

void http_fault_proxy::state::accept_all() {
  while (wait_readable(listening.socket.get())) {
    const int client = accept4(listening.socket.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    for (auto it = workers.begin(); it != workers.end();) {
      if (it->over) it->thread.join();
      it = it->over ? workers.erase(it) : std::next(it);
    }
    auto& made = workers.emplace_back();
    made.thread = std::thread{[this, client, &made] {
      serve(socket_owner{client});
      made.over = true;
    }};
  }
  for (auto& each : workers)
    each.thread.join();
}

std::optional<http_rule> http_fault_proxy::state::rule(std::uint64_t id) const {
  const std::lock_guard lock{mutex};
  for (const auto& [each, what] : rules)
    if (each == id) return what;
  return std::nullopt;
}

std::uint64_t http_fault_proxy::state::choose(const exchange& e, phase when) {
  const std::lock_guard lock{mutex};
  for (auto& [id, r] : rules) {
    const bool anywhere = r.path.starts_with("*");
    const bool fits = (r.method.empty() || r.method == e.method) && r.when == when && r.times != 0 &&
                      (anywhere ? e.target.find(r.path.substr(1)) != std::string::npos : e.target.starts_with(r.path));
    if (!fits) continue;
    if (r.times > 0) --r.times;
    ++applied;
    return id;
  }
  return 0;
}

milliseconds http_fault_proxy::state::jittered(const fault& f) {
  const std::lock_guard lock{mutex};
  const auto more = f.jitter.count() > 0 ? random() % static_cast<std::uint64_t>(f.jitter.count() + 1) : 0;
  return f.delay + milliseconds{static_cast<std::int64_t>(more)};
}

void http_fault_proxy::state::wait(milliseconds time) const {
  const auto until = std::chrono::steady_clock::now() + time;
  while (!stops() && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::min(time, milliseconds{look_ms}));
}

// -- bytes ------------------------------------------------------------------------------------------------------------

/// False when the proxy stops. Connections are kept by the hundred: whoever waits for one takes no time.
bool http_fault_proxy::state::wait_readable(int fd) const {
  std::array<pollfd, 2> waiting{{{fd, POLLIN, 0}, {stopped.get(), POLLIN, 0}}};
  while (poll(waiting.data(), waiting.size(), -1) < 0) {
  }
  return !stops();
}

void http_fault_proxy::state::stop() {
  stopping = true;
  const std::uint64_t once = 1;
  if (write(stopped.get(), &once, sizeof once) != sizeof once) std::terminate(); // never: nobody else writes there
}

/// False at the end.
bool http_fault_proxy::state::read_some(int fd, std::string& into) const {
  std::array<char, chunk_bytes> chunk{};
  if (!wait_readable(fd)) return false;
  const ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
  if (n > 0) into.append(chunk.data(), static_cast<std::size_t>(n));
  return n > 0;
}

bool http_fault_proxy::state::write_all(int fd, std::string_view bytes) const {
  while (!bytes.empty() && !stops()) {
    pollfd waiting{fd, POLLOUT, 0};
    if (poll(&waiting, 1, look_ms) == 0) continue;
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) return false;
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return bytes.empty();
}

/// Sends bytes of a part as its rule says. False when the exchange is over.
bool http_fault_proxy::state::deliver(exchange& e, phase when, int fd, std::string_view bytes) {
  const auto part = static_cast<std::size_t>(when);
  auto& passed = e.passed[part];
  do {
    const auto f = e.rules[part] == 0 ? fault{} : rule(e.rules[part]).value_or(http_rule{}).what;
    const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, f.bytes - passed));
    auto size = bytes.size();
    std::string changed;
    switch (f.what) {
    case fault::kind::hang:
      size = 0;
      break;
    case fault::kind::stall:
    case fault::kind::cut:
    case fault::kind::reset:
    case fault::kind::half_close:
      size = std::min(size, left);
      break;
    case fault::kind::flip:
      changed = bytes;
      if (passed <= f.bytes && left < size) changed[left] = static_cast<char>(changed[left] ^ 1);
      break;
    case fault::kind::duplicate:
      changed = bytes;
      if (when != phase::request && passed <= f.bytes && left <= size) {
        const auto length = std::min(left, static_cast<std::size_t>(f.length));
        changed.insert(left, changed.substr(left - length, length));
      }
      break;
    case fault::kind::drip:
      size = std::min(size, static_cast<std::size_t>(std::max<std::int64_t>(1, f.bytes * look_ms / 1000)));
      wait(milliseconds{std::max<std::int64_t>(look_ms, 1000 / std::max<std::int64_t>(1, f.bytes))});
      break;
    case fault::kind::latency:
      wait(jittered(f));
      break;
    case fault::kind::slow_close:
      e.slow_close = f.delay;
      break;
    case fault::kind::pass:
      break;
    }
    if (!write_all(fd, changed.empty() ? bytes.substr(0, size) : std::string_view{changed})) return false;
    passed += static_cast<std::int64_t>(size);
    bytes.remove_prefix(size);
    const bool reached = passed >= f.bytes;
    if (f.what == fault::kind::cut && reached) return false;
    if (f.what == fault::kind::reset && reached) {
      make_abortive(e.client.get());
      return false;
    }
    if (f.what == fault::kind::half_close && reached) {
      shutdown(fd, SHUT_WR);
      std::string rest;
      while (read_some(e.client.get(), rest) && rest.size() < body_limit) {
      }
      return false;
    }
    if (size == 0 && !bytes.empty()) std::this_thread::sleep_for(milliseconds{look_ms});
  } while (!bytes.empty() && !stops());
  return !stops();
}

/// Reads until the head is there; what follows it stays in `raw`.
bool http_fault_proxy::state::read_message(int fd, std::string& raw, http_text& m) const {
  std::size_t end = 0;
  while ((end = raw.find("\r\n\r\n")) == std::string::npos)
    if (raw.size() > head_limit || !read_some(fd, raw)) return false;
  m = parse_http_head(std::string_view{raw}.substr(0, end));
  raw.erase(0, end + 4);
  return true;
}

// -- the conversation -------------------------------------------------------------------------------------------------

void http_fault_proxy::state::serve(socket_owner client) {
  exchange e{std::move(client), {}, {}, {}, {}, {}};
  std::string raw;
  http_text request;
  if (!read_message(e.client.get(), raw, request)) return;
  const auto space = request.first_line.find(' ');
  e.method = request.first_line.substr(0, space);
  e.target = request.first_line.substr(space + 1, request.first_line.rfind(' ') - space - 1);
  {
    const std::lock_guard lock{mutex};
    requests.push_back(e.method + " " + e.target);
  }
  if (!request.value("expect").empty() && !write_all(e.client.get(), "HTTP/1.1 100 Continue\r\n\r\n")) return;
  if (request.value("transfer-encoding") == "chunked") {
    while (!decode_chunks(raw, request.body))
      if (raw.size() > body_limit || !read_some(e.client.get(), raw)) return;
  } else {
    const auto length = std::strtoul(request.value("content-length").c_str(), nullptr, 10);
    while (raw.size() < length)
      if (raw.size() > body_limit || !read_some(e.client.get(), raw)) return;
    request.body = raw.substr(0, length);
  }
  relay(e, request);
  wait(e.slow_close);
}

void http_fault_proxy::state::relay(exchange& e, http_text& request) {
  for (const auto when : {phase::request, phase::response_head, phase::response_body})
    e.rules[static_cast<std::size_t>(when)] = choose(e, when);
  for (const auto id : e.rules)
    if (const auto r = rule(id); r && r->answer) {
      write_all(e.client.get(), to_text(*r->answer));
      return;
    }
  const auto text = to_text(request, request.body.size()) + request.body;
  const auto of_request = rule(e.rules[0]);
  if (of_request && of_request->what.what == fault::kind::duplicate) {
    const auto first = ask(e, text, false);
    std::string nowhere;
    http_text head;
    if (first.get() >= 0) read_message(first.get(), nowhere, head);
  }
  const auto server = ask(e, text, true);
  if (server.get() >= 0) answer(e, server.get());
}

/// The server's connection with the request on it; none where it did not get there.
socket_owner http_fault_proxy::state::ask(exchange& e, const std::string& request, bool with_faults) {
  auto server = connect_to_loopback(upstream_port);
  if (server.get() < 0) return server;
  const bool sent = with_faults ? deliver(e, phase::request, server.get(), request) : write_all(server.get(), request);
  return sent ? std::move(server) : socket_owner{};
}

void http_fault_proxy::state::answer(exchange& e, int server) {
  std::string raw;
  http_text head;
  if (!read_message(server, raw, head)) return;
  if (const auto r = rule(e.rules[2]); r && r->rewrite) return rewrite_answer(e, server, raw, head, *r);
  if (!deliver(e, phase::response_head, e.client.get(), to_text(head, std::nullopt))) return;
  const bool chunked = head.value("transfer-encoding") == "chunked";
  const auto length = head.value("content-length");
  const auto status = head.first_line.substr(std::min<std::size_t>(9, head.first_line.size()), 3);
  const bool empty = e.method == "HEAD" || status == "204" || status == "304" || length == "0";
  const auto whole = length.empty() ? body_limit : std::strtoul(length.c_str(), nullptr, 10);
  std::size_t sent = 0;
  while (!empty) {
    if (raw.empty() && !read_some(server, raw)) return;
    // Only a connection that the server keeps open needs this: the last chunk is the last that was read.
    const bool last = chunked && raw.ends_with("0\r\n\r\n") && (raw.size() == 5 || raw.ends_with("\r\n0\r\n\r\n"));
    if (!deliver(e, phase::response_body, e.client.get(), raw)) return;
    sent += raw.size();
    raw.clear();
    if (last || sent >= whole) return;
  }
}

void http_fault_proxy::state::rewrite_answer(exchange& e, int server, std::string& raw, http_text& head,
                                             const http_rule& how) {
  if (head.value("transfer-encoding") == "chunked") {
    while (!decode_chunks(raw, head.body))
      if (!read_some(server, raw)) break;
  } else {
    const auto length = std::strtoul(head.value("content-length").c_str(), nullptr, 10);
    while (raw.size() < length && read_some(server, raw)) {
    }
    head.body = raw;
  }
  const auto body = how.rewrite(head.body);
  write_all(e.client.get(), to_text(head, body.size()) + body);
}

// -- http_fault_proxy -------------------------------------------------------------------------------------------------

http_fault_proxy::http_fault_proxy(int upstream_port, std::uint64_t seed)
    : state_{std::make_unique<state>(upstream_port, seed)} {
  state_->accepting = std::thread{[this] { state_->accept_all(); }};
}

http_fault_proxy::~http_fault_proxy() {
  state_->stop();
  state_->accepting.join();
}

int http_fault_proxy::port() const noexcept {
  return state_->listening.port;
}

std::string http_fault_proxy::base_url() const {
  return "http://127.0.0.1:" + std::to_string(port());
}

std::string http_fault_proxy::url(const std::string& name) const {
  return base_url() + "/" + name + ".git";
}

void http_fault_proxy::set(std::vector<http_rule> rules) {
  const std::lock_guard lock{state_->mutex};
  state_->rules.clear();
  state_->applied = 0;
  for (auto& each : rules)
    state_->rules.emplace_back(state_->next_rule++, std::move(each));
}

std::vector<std::string> http_fault_proxy::requests() const {
  const std::lock_guard lock{state_->mutex};
  return state_->requests;
}

std::size_t http_fault_proxy::count(const std::string& method, const std::string& path) const {
  std::size_t found = 0;
  for (const auto& each : requests())
    if (each.starts_with(method + " ") && each.find(path) != std::string::npos) ++found;
  return found;
}

std::size_t http_fault_proxy::applied() const {
  const std::lock_guard lock{state_->mutex};
  return state_->applied;
}

} // namespace townkeeper::test
