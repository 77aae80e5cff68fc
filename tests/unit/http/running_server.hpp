#pragma once

#include <stdexcept>

#include "http/io_thread.hpp"
#include "http/server.hpp"
#include "tests/unit/http/peer.hpp"

namespace townkeeper::test {

/// A server on a free port of 127.0.0.1 and its I/O thread.
class running_server {
public:
  explicit running_server(http::handler handle, http::server_limits limits = {})
      : server_(io_, std::move(handle), limits) {
    io_.start();
    if (const auto listening = server_.listen_tcp("127.0.0.1:0"); !listening)
      throw std::runtime_error(to_string(listening.error()));
  }

  http::server& operator*() noexcept { return server_; }
  http::server* operator->() noexcept { return &server_; }
  peer connect() const { return peer::to(server_.bound_port()); }

private:
  http::io_thread io_;
  http::server server_;
};

/// A handler that answers 200 with the method, the path and the body of what it got.
inline void echo(http::request r, const http::responder& answer_it) {
  answer_it(
      {.status = 200, .content_type = "text/plain", .body = r.method + " " + r.path + " " + r.body, .headers = {}});
}

} // namespace townkeeper::test
