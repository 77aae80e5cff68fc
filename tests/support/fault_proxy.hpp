#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace townkeeper::test {

/// What a fault_proxy does to the bytes that come from the server. Offsets count from each connection's first such
/// byte.
struct fault {
  enum class kind {
    pass,
    hang,  ///< accepts, and forwards nothing in either direction
    stall, ///< after `bytes`: nothing more, the connection stays open
    cut,   ///< after `bytes`: the connection is closed
    flip,  ///< the lowest bit of the byte at offset `bytes` is inverted
    drip,  ///< `bytes` a second, evenly, in steps of 10 ms (so at least 100 a second), or one byte as often as needed
  };
  kind what = kind::pass;
  std::int64_t bytes = 0;
};

/// A TCP proxy on 127.0.0.1 and a free port that forwards to another port of this machine, or fails to. One thread of
/// its own; every member may be called by any thread.
class fault_proxy {
public:
  explicit fault_proxy(int upstream_port);
  ~fault_proxy();
  fault_proxy(const fault_proxy&) = delete;
  fault_proxy& operator=(const fault_proxy&) = delete;

  int port() const noexcept { return port_; }
  /// `http://127.0.0.1:<port>/<name>.git`
  std::string url(const std::string& name, const std::string& scheme = "http") const;

  /// From now on, for open connections too.
  void set(const fault& f);

  /// Since the start or `reset_counts`.
  std::int64_t connections() const;
  std::int64_t bytes_from_server() const;
  std::int64_t bytes_from_client() const;
  void reset_counts();

  /// Waits until that many bytes of the server have passed. False: not within the deadline.
  bool wait_for_bytes(std::int64_t bytes, std::chrono::milliseconds deadline) const;

private:
  struct state;
  std::unique_ptr<state> state_;
  int port_ = 0;
  std::thread thread_;
};

} // namespace townkeeper::test
