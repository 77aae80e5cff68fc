#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "http/listening_socket.hpp"
#include "tests/unit/http/peer.hpp"

namespace townkeeper::test {

/// A server on a free port of 127.0.0.1 (or a Unix socket) that does on each connection what a test tells it, byte by
/// byte. Each connection has a thread of its own and ends with its script.
class scripted_server {
public:
  /// `connection` counts from 1.
  using script = std::function<void(peer&, int connection)>;

  explicit scripted_server(script s);
  scripted_server(script s, const std::filesystem::path& unix_socket);
  ~scripted_server();
  scripted_server(const scripted_server&) = delete;
  scripted_server& operator=(const scripted_server&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  std::string url(std::string_view path = "/") const;
  int connections() const noexcept { return connections_; }

private:
  void accept_all();

  script script_;
  http::unique_fd listening_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::vector<std::thread> scripts_; ///< of the accepting thread until that has ended
  std::thread accepting_;
};

/// An answer with that body, keep-alive.
std::string answer_text(std::string_view body, int status = 200, std::string_view fields = {});

} // namespace townkeeper::test
