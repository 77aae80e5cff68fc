#pragma once

#include <cstdint>
#include <string>

#include "core/error.hpp"

struct sockaddr;

namespace townkeeper::git {

/// A remote's URL taken apart, as `check_url` reads it.
struct remote_address {
  enum class scheme { https, http, file };
  scheme kind = scheme::https;
  std::string host;       ///< lower case, IPv6 without brackets; empty for files
  std::uint16_t port = 0; ///< the scheme's own when the URL names none; 0 for files
  std::string path;       ///< begins with `/`
};

/// Takes apart an https, http or file URL, or an absolute path. No userinfo, query, fragment, control character,
/// backslash, white space or `..` segment: `invalid_argument` says which. Opens nothing. What a policy allows is
/// `check_url`'s matter.
result<remote_address> parse_url(const std::string& url);

/// True for `localhost`, 127.0.0.0/8 and ::1 (RFC 6761 section 6.3, RFC 5735, RFC 4291), by name or literal.
bool is_loopback_host(const std::string& host) noexcept;

/// True where credentials may be sent: over https, or over http to loopback.
bool may_carry_credentials(const remote_address& address) noexcept;

/// True where no git remote can be: unspecified, link-local (cloud metadata services live there), multicast and
/// broadcast addresses, also as IPv4-mapped IPv6. Asked of every resolved address before a socket is opened.
bool is_refused_address(const sockaddr& address) noexcept;

} // namespace townkeeper::git
