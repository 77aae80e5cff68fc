#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fault_proxy.hpp"
#include "fixed_answer.hpp"

namespace townkeeper::test {

/// One fault of an http_fault_proxy: on which route, in which part of the conversation, how often.
struct http_rule {
  enum class phase {
    request,       ///< what the client sends, head and body
    response_head, ///< the server has done what it was asked to; its status and headers
    response_body,
  };

  std::string method = {}; ///< empty: any
  std::string path = {};   ///< what the request's target begins with, or has somewhere when it begins with `*`
  phase when = phase::response_body;
  /// On the bytes of that part. In `request`, `duplicate` sends the whole request to the server twice (the first
  /// answer goes nowhere). `from` means nothing here.
  fault what = {};
  std::optional<fixed_answer> answer = {};                     ///< the server is not asked
  std::function<std::string(const std::string&)> rewrite = {}; ///< of the answer's body
  int times = -1; ///< for so many requests; negative: until the rules are others
};

/// An HTTP/1.1 proxy on 127.0.0.1 and a free port in front of another port of this machine, which fails by rules. Each
/// connection has a thread of its own and serves one request (`Connection: close`). Every member may be called by any
/// thread; what stalls is let go when the rules are others.
class http_fault_proxy {
public:
  explicit http_fault_proxy(int upstream_port, std::uint64_t seed = 1);
  ~http_fault_proxy();
  http_fault_proxy(const http_fault_proxy&) = delete;
  http_fault_proxy& operator=(const http_fault_proxy&) = delete;

  int port() const noexcept;
  /// `http://127.0.0.1:<port>`
  std::string base_url() const;
  /// `http://127.0.0.1:<port>/<name>.git`
  std::string url(const std::string& name) const;

  /// From now on, for open requests too. The first rule that fits a request and a phase counts.
  void set(std::vector<http_rule> rules);
  void clear() { set({}); }

  /// `POST /path` of every request so far, in the order their heads were read.
  std::vector<std::string> requests() const;
  /// How many of them begin with `method` and have `path` in them.
  std::size_t count(const std::string& method, const std::string& path) const;
  /// How many times a rule has been applied since the last `set`.
  std::size_t applied() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace townkeeper::test
