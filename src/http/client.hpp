#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/error.hpp"
#include "http/io_thread.hpp"
#include "http/message.hpp"
#include "http/name_lookup.hpp"

namespace townkeeper::http {

struct client_request {
  std::string method = "GET";
  std::string url;         ///< absolute, http or https, without user information
  header_fields headers{}; ///< beside Host, Content-Length and User-Agent, which the client writes
  std::string body{};
  std::filesystem::path unix_socket{}; ///< not empty: connect there; `url` gives Host and target alone, and is http
  std::chrono::milliseconds connect_timeout{10'000}; ///< name lookup, TCP and TLS together
  std::chrono::milliseconds total_timeout{
      30'000}; ///< from `send` to the last byte of the answer, with everything between
  std::size_t max_response_bytes = 16UL * 1024 * 1024;
};

struct client_response {
  unsigned status = 0;
  header_fields headers{};
  std::string body{};
};

struct client_options {
  std::filesystem::path ca_file{}; ///< PEM; trusted beside the system's own authorities
  lookup_function lookup = system_lookup;
};

class client_state;

/// An HTTP/1.1 client on an I/O thread. Any status is an answer, not an error. Keeps a few connections open per host.
///
/// Errors: `invalid_argument` (URL or header), `unavailable` (no address, refused, reset, cut short), `timed_out`,
/// `tls_failed`, `too_large`, `corrupt` (not HTTP), `redirect_refused` (3xx to another host, scheme or port; a redirect
/// within the same origin is returned as it is, none is followed), `cancelled` (the client or its thread ended). No
/// error holds a header, a body or a query.
///
/// A request on a kept connection that the server has closed meanwhile is repeated once on a new one: always where no
/// byte of an answer had come, and later only for idempotent methods (RFC 9110, 9.2.2; RFC 9112, 9.3.1 asks that of the
/// user of the client otherwise: every POST of CONTRACT.md is idempotent by content or by its Idempotency-Key). TLS
/// is 1.2 or newer; chain and host name are verified. Proxies are not used.
class client {
public:
  using callback = std::function<void(result<client_response>)>;

  /// `invalid_config` where the CA file cannot be read. `io` must outlive the client.
  static result<std::unique_ptr<client>> create(io_thread& io, client_options options = {});

  /// Every callback that was not called yet is called with `cancelled` before this returns. Not from within a callback
  /// of this client.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// Sends `r`; `done` is called exactly once, on the I/O thread (where that has stopped: at once, here). From any
  /// thread.
  void send(client_request r, callback done);

  static constexpr std::size_t max_requests_at_once = 256; ///< one more is `unavailable` at once
  static constexpr std::size_t max_kept_per_host = 4;
  static constexpr std::size_t max_kept = 16;
  static constexpr std::chrono::seconds keep_for{15}; ///< less than the 30 s after which servers like ours close

private:
  client(io_thread& io, std::shared_ptr<client_state> state);
  io_thread& io_;
  std::shared_ptr<client_state> state_;
};

} // namespace townkeeper::http
