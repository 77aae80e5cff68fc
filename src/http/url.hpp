#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper::http {

/// An http or https URL taken apart (RFC 3986). No user information: credentials do not belong in URLs.
struct url {
  bool secure = false; ///< https
  std::string host;    ///< a name or an address; an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string target; ///< path and query as the request line has them; at least `/`

  /// `host:port`, without the port where it is the scheme's own: the Host header.
  std::string authority() const;
  /// `scheme://authority/path`, without the query: safe to show.
  std::string display() const;
};

/// `invalid_argument` for another scheme, user information, no host, a bad port, blanks or control characters. A
/// fragment is dropped.
result<url> parse_url(std::string_view text);

} // namespace townkeeper::http
