#pragma once

#include <map>
#include <string>

namespace townkeeper::test {

/// An answer in the place of the server's.
struct fixed_answer {
  int status = 500;
  std::map<std::string, std::string> headers = {}; ///< `{"Retry-After", "7"}`, `{"Location", "http://…"}`
  std::string body = {};
};

} // namespace townkeeper::test
