#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "git/fetch_socket.hpp"

namespace townkeeper::git {

/// TLS 1.2 or 1.3 over a watched socket. The chain must lead to the CA file (empty: the system's bundle) and the
/// certificate must name the host; there is no way to go on without (RFC 9110 section 4.3.4).
class tls_session {
public:
  tls_session(watched_socket& socket, const std::string& host);

  /// Handshake and verification. False: the watch knows why (`tls_failed` names what does not verify).
  bool handshake(const std::string& ca_file);
  /// As `watched_socket::read` and `write`.
  ssize_t read(void* into, std::size_t size);
  ssize_t write(const char* from, std::size_t size);
  /// As `watched_socket::is_open`; the peer may also have said so by TLS's own word.
  bool is_open() noexcept;

private:
  struct free_ssl {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };

  /// True: try again; false: the watch knows why.
  bool settle(int outcome);
  bool name_host();

  watched_socket& socket_;
  std::string host_;
  std::unique_ptr<SSL, free_ssl> ssl_;
};

} // namespace townkeeper::git
