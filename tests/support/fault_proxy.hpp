#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace townkeeper::test {

/// What a proxy does to the bytes that pass it. Offsets count from the first byte that passes: of a connection in
/// `fault_proxy`, of a part of one message in `http_fault_proxy`.
struct fault {
  enum class kind {
    pass,
    hang,       ///< accepts, and forwards nothing in either direction
    stall,      ///< after `bytes`: nothing more, the connection stays open
    cut,        ///< after `bytes`: the connection is closed (what was to come is truncated)
    flip,       ///< the lowest bit of the byte at offset `bytes` is inverted
    drip,       ///< a bandwidth: `bytes` a second, evenly, in steps of 10 ms (so at least 100 a second), or one byte as
                ///< often as needed
    reset,      ///< after `bytes`: both ends get a RST, not an end
    half_close, ///< after `bytes`: the receiver is told that nothing more comes, its own bytes still pass
    slow_close, ///< all passes, and the receiver learns `delay` later that it was all
    latency,    ///< each piece arrives `delay`, and up to `jitter` more, after it was sent; their order stays
    duplicate,  ///< the `length` bytes before offset `bytes` come a second time there
  };
  enum class side { server, client };

  kind what = kind::pass;
  std::int64_t bytes = 0;
  std::chrono::milliseconds delay{0}, jitter{0};
  std::int64_t length = 0;  ///< 1 to 16,384
  side from = side::server; ///< whose bytes; those of the other side pass
};

/// A TCP proxy on 127.0.0.1 and a free port that forwards to another port of this machine, or fails to. One thread of
/// its own; every member may be called by any thread.
class fault_proxy {
public:
  /// `seed`: of the jitter.
  explicit fault_proxy(int upstream_port, std::uint64_t seed = 1);
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
