#include "git/fetch_stream.hpp"

#include <fmt/core.h>
#include <git2.h>
#include <git2/sys/errors.h>
#include <git2/sys/stream.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "git/fetch_socket.hpp"
#include "git/fetch_tls.hpp"
#include "git/git_error.hpp"

namespace townkeeper::git {
namespace {

/// What libgit2 holds: its own struct first, ours behind it.
struct network_stream : git_stream {
  network_stream(transfer_watch& watch, std::string host_name, std::string port_name, bool with_tls)
      : git_stream{}
      , socket(watch)
      , host(std::move(host_name))
      , port(std::move(port_name)) {
    version = GIT_STREAM_VERSION;
    encrypted = with_tls ? 1 : 0;
    if (with_tls) tls.emplace(socket, host);
  }

  watched_socket socket;
  std::optional<tls_session> tls;
  std::string host, port;
  bool answered = false; ///< the latest thing that happened was an answer: what is written next is another request
};

network_stream& ours(git_stream* stream) noexcept {
  return *static_cast<network_stream*>(stream);
}

/// libgit2 wants a message of its own; what is true is in the watch.
int failed(const transfer_watch& watch) noexcept {
  git_error_set_str(GIT_ERROR_NET, watch.failure() ? watch.failure()->message.c_str() : "the transfer ended");
  return GIT_EUSER;
}

int stream_connect(git_stream* stream) {
  auto& self = ours(stream);
  auto& watch = self.socket.watch();
  if (!self.socket.connect(self.host, self.port)) return failed(watch);
  if (self.tls && !self.tls->handshake(watch.job().ca_file)) return failed(watch);
  return 0;
}

bool is_open(network_stream& self) {
  return self.tls ? self.tls->is_open() : self.socket.is_open();
}

ssize_t stream_read(git_stream* stream, void* into, size_t size) {
  auto& self = ours(stream);
  auto& watch = self.socket.watch();
  auto& head = watch.response();
  for (;;) {
    const auto got = self.tls ? self.tls->read(into, size) : self.socket.read(into, size);
    if (got < 0) return failed(watch);
    self.answered = true;
    watch.arrived({static_cast<const char*>(into), static_cast<std::size_t>(got)});
    // libgit2 1.8 would follow a redirect to any port of the same host, and crashes on one without a query: it gets to
    // see none. Where one may be followed, `fetch_session::open` does it.
    if (!head.is_redirect()) return got;
    if (got > 0 && !head.is_complete()) continue;
    watch.fail(error_code::redirect_refused,
               fmt::format("the remote redirects ({}) to {}; if the repository moved, set its new URL", head.status(),
                           head.location().empty() ? "nowhere" : head.location()));
    return failed(watch);
  }
}

ssize_t stream_write(git_stream* stream, const char* from, size_t size, int) {
  auto& self = ours(stream);
  // While a pack is prepared a server may have closed a connection that said nothing. Nothing of this request has been
  // sent yet, and nothing but the connection is forgotten with the old one: HTTP keeps no state.
  if (std::exchange(self.answered, false) && !is_open(self)) {
    self.socket.close();
    if (const int code = stream_connect(stream); code < 0) return code;
  }
  self.socket.watch().response().expect();
  const auto sent = self.tls ? self.tls->write(from, size) : self.socket.write(from, size);
  return sent < 0 ? failed(self.socket.watch()) : sent;
}

int stream_close(git_stream* stream) {
  ours(stream).socket.close();
  return 0;
}

void stream_free(git_stream* stream) {
  delete &ours(stream);
}

std::string bare_host(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::string out(host);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

int open_stream(git_stream** out, const char* host, const char* port, bool with_tls) {
  auto* watch = transfer_watch::current();
  if (watch == nullptr) {
    git_error_set_str(GIT_ERROR_NET, "a connection outside of any transfer");
    return GIT_ERROR;
  }
  const auto& peer = watch->peer();
  const auto name = bare_host(host);
  const bool same_port = std::to_string(peer.port) == port;
  const bool peer_tls = peer.kind == remote_address::scheme::https;
  if (name != peer.host || !same_port || peer_tls != with_tls) {
    watch->fail(error_code::redirect_refused, "libgit2 would connect to " + name + ":" + port + " instead");
    return failed(*watch);
  }
  *out = new network_stream(*watch, name, port, with_tls);
  auto& made = **out;
  made.connect = stream_connect;
  made.read = stream_read;
  made.write = stream_write;
  made.close = stream_close;
  made.free = stream_free;
  return 0;
}

int open_plain(git_stream** out, const char* host, const char* port) {
  return open_stream(out, host, port, false);
}
int open_encrypted(git_stream** out, const char* host, const char* port) {
  return open_stream(out, host, port, true);
}

} // namespace

result<void> register_streams() {
  git_stream_registration plain{GIT_STREAM_VERSION, open_plain, nullptr};
  git_stream_registration encrypted{GIT_STREAM_VERSION, open_encrypted, nullptr};
  if (const int code = git_stream_register(GIT_STREAM_STANDARD, &plain); code < 0) return last_error(code, "libgit2");
  if (const int code = git_stream_register(GIT_STREAM_TLS, &encrypted); code < 0) return last_error(code, "libgit2");
  return {};
}

} // namespace townkeeper::git
