#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "http/io_thread.hpp"
#include "http/responder.hpp"

namespace townkeeper::http {

/// What one client may take. Each time is a deadline for the whole of its step, not a pause between bytes, so that a
/// client that drips (slowloris) gains nothing.
struct server_limits {
  std::size_t max_connections = 1024;                       ///< TCP and Unix together
  std::size_t max_header_bytes = 16 * 1024;                 ///< request line and fields; more: 431
  std::size_t max_body_bytes = 1024 * 1024;                 ///< CONTRACT.md; more: 413
  std::size_t max_body_bytes_together = 32UL * 1024 * 1024; ///< bodies of all requests being read or handled; more: 503
  std::chrono::milliseconds header_timeout{5'000};    ///< from a request's first byte to its last header byte; then 408
  std::chrono::milliseconds body_timeout{30'000};     ///< from there to its last body byte; then 408
  std::chrono::milliseconds idle_timeout{30'000};     ///< without a byte of a next request; then closed
  std::chrono::milliseconds handler_timeout{120'000}; ///< for the handler's answer; then 503
  std::chrono::milliseconds write_timeout{30'000};    ///< for the client to take the answer; then closed
  std::chrono::milliseconds linger_timeout{2'000};    ///< for the client to close after our last answer
};

class server_state;

/// An HTTP/1.1 server: keep-alive, pipelining, HEAD, chunked request bodies, `Expect: 100-continue`; on a TCP address,
/// on Unix sockets, or both. A connection too many takes the place of one that waits for its client: first of one that
/// is done and has only to be closed, else of the one that has taken longest over its next request or its header, or,
/// where those are more, over its body or over taking its answer. Only where every connection waits for a handler is
/// the new one answered 503. So probes are answered also while someone hoards connections, in whatever way.
///
/// Functions may be called from any thread but not from a handler, and wait for the I/O thread, which must run while a
/// server is in use.
class server {
public:
  /// `handle` is called on the I/O thread.
  server(io_thread& io, handler handle, server_limits limits = {});
  /// Stops at once.
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Listens on `ADDRESS:PORT`, numeric (`0.0.0.0:8080`, `[::1]:0`; port 0: any). Errors: `invalid_argument`,
  /// `conflict` (in use), `disk`.
  result<void> listen_tcp(std::string_view address_and_port);

  /// The port of the latest `listen_tcp`; 0 before.
  std::uint16_t bound_port() const noexcept;

  /// Listens on a new Unix socket of mode 0600; each request that comes in on it carries `label`, which must not be
  /// empty. A stale socket file is replaced. Errors: `invalid_argument` (path too long, no label), `conflict` (someone
  /// listens there, or it is no socket), `disk`.
  result<void> listen_unix(const std::filesystem::path& path, std::string label);

  /// Stops listening there, removes the file, closes the socket's connections (a request in work is answered first).
  /// Unknown paths are ignored.
  void remove_unix(const std::filesystem::path& path);

  /// Stops accepting, removes the socket files, closes idle connections, lets requests in work be answered for at most
  /// `deadline`, closes the rest, and returns when all is closed. A second call does nothing.
  void stop(std::chrono::milliseconds deadline);

  /// How many connections are open now.
  std::size_t connection_count() const noexcept;

private:
  io_thread& io_;
  std::shared_ptr<server_state> state_;
};

} // namespace townkeeper::http
