#pragma once

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace townkeeper::test {

struct http_request {
  std::string method = "GET";
  std::string url; ///< `http://host:port/path`; no other scheme
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::chrono::milliseconds timeout{20'000}; ///< for all of it: connect, send, receive
};

struct http_response {
  int status = 0;
  std::map<std::string, std::string> headers; ///< names in lower case
  std::string body;
};

/// One request on a connection of its own, synchronously. `invalid_argument` for a URL it cannot read, `unavailable`
/// when the peer refuses or hangs up, `timed_out` after `timeout`. Any HTTP status is a response.
result<http_response> send(const http_request& request);

} // namespace townkeeper::test
