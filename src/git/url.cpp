#include "git/url.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/secret.hpp"
#include "git/jobs.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t max_url_length = 2048;
constexpr std::uint16_t https_port = 443;
constexpr std::uint16_t http_port = 80;

error refused(const std::string& url, std::string_view why) {
  std::string shown = url.substr(0, 200);
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return {error_code::invalid_argument, redact(shown), "not a usable git URL: " + std::string(why)};
}

bool is_alnum(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

bool is_host_name(std::string_view host) noexcept {
  return !host.empty() && host.size() <= 253 && host.front() != '-' && host.front() != '.' &&
         host.find("..") == std::string_view::npos &&
         std::all_of(host.begin(), host.end(), [](char c) { return is_alnum(c) || c == '.' || c == '-' || c == '_'; });
}

bool has_parent_segment(std::string_view path) noexcept {
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

bool is_refused_ipv4(std::uint32_t host_order) noexcept {
  const auto top = host_order >> 24;
  return top == 0 || (host_order >> 16) == 0xA9FE || top >= 224; // 0/8, 169.254/16, multicast and above
}

bool is_refused_ipv6(const in6_addr& a) noexcept {
  if (IN6_IS_ADDR_V4MAPPED(&a) || IN6_IS_ADDR_V4COMPAT(&a)) {
    if (IN6_IS_ADDR_LOOPBACK(&a)) return false;
    std::uint32_t v4 = 0;
    std::memcpy(&v4, &a.s6_addr[12], sizeof v4);
    return is_refused_ipv4(ntohl(v4));
  }
  return IN6_IS_ADDR_UNSPECIFIED(&a) || IN6_IS_ADDR_LINKLOCAL(&a) || IN6_IS_ADDR_MULTICAST(&a);
}

/// An address literal in any spelling the resolver would take (`169.254.1.1`, `2851995905`, `0xa9fe0101`, `fe80::1`).
struct literal {
  std::optional<in_addr> v4;
  std::optional<in6_addr> v6;
};

literal read_literal(const std::string& host) noexcept {
  literal out;
  in_addr v4{};
  in6_addr v6{};
  if (inet_aton(host.c_str(), &v4) != 0)
    out.v4 = v4;
  else if (inet_pton(AF_INET6, host.c_str(), &v6) == 1)
    out.v6 = v6;
  return out;
}

result<remote_address> parse_authority(const std::string& url, remote_address address, std::string_view rest) {
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size()) return refused(url, "it names no repository path");
  auto authority = rest.substr(0, slash);
  address.path = std::string(rest.substr(slash));
  if (authority.find('@') != std::string_view::npos)
    return refused(url, "user name or password in it; credentials are given by the town or GIT_TOKEN");
  std::string_view port;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return refused(url, "an IPv6 host needs its closing bracket");
    address.host = lower(authority.substr(1, close - 1));
    if (!read_literal(address.host).v6) return refused(url, "what stands in brackets is no IPv6 address");
    port = authority.substr(close + 1);
  } else {
    const auto colon = authority.find(':');
    address.host = lower(authority.substr(0, colon));
    if (!is_host_name(address.host)) return refused(url, "the host name is empty or malformed");
    if (colon != std::string_view::npos) port = authority.substr(colon);
  }
  if (port.empty()) return address;
  const auto digits = port.substr(1);
  unsigned number = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (port.front() != ':' || failure != std::errc{} || end != digits.data() + digits.size() || number == 0 ||
      number > 65535)
    return refused(url, "the port is not a number from 1 to 65535");
  address.port = static_cast<std::uint16_t>(number);
  return address;
}

} // namespace

bool is_loopback_host(const std::string& host) noexcept {
  if (host == "localhost") return true;
  const auto address = read_literal(host);
  if (address.v4) return (ntohl(address.v4->s_addr) >> 24) == 127;
  return address.v6 && IN6_IS_ADDR_LOOPBACK(&*address.v6);
}

bool may_carry_credentials(const remote_address& address) noexcept {
  return address.kind == remote_address::scheme::https ||
         (address.kind == remote_address::scheme::http && is_loopback_host(address.host));
}

bool is_refused_address(const sockaddr& address) noexcept {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_refused_ipv4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, reinterpret_cast<const std::byte*>(&address), sizeof v6);
    return is_refused_ipv6(v6.sin6_addr);
  }
  return true;
}

result<remote_address> parse_url(const std::string& url) {
  if (url.empty()) return refused(url, "it is empty");
  if (url.size() > max_url_length) return refused(url, "longer than 2048 bytes");
  if (url.front() == '-') return refused(url, "begins with '-'");
  constexpr std::string_view never = " \\?#<>\"`{}|^";
  for (const char c : url)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || never.find(c) != std::string_view::npos)
      return refused(url, "control character, white space, backslash, query or fragment in it");
  remote_address address;
  if (url.front() == '/') {
    address.kind = remote_address::scheme::file;
    address.path = url;
  } else if (const auto colon = url.find("://"); colon == std::string::npos) {
    return refused(url, "write https://host/path");
  } else {
    const auto scheme = lower(std::string_view(url).substr(0, colon));
    const auto rest = std::string_view(url).substr(colon + 3);
    if (scheme == "file") {
      if (!rest.starts_with('/')) return refused(url, "a file URL has three slashes and an absolute path");
      address.kind = remote_address::scheme::file;
      address.path = std::string(rest);
    } else if (scheme == "https" || scheme == "http") {
      address.kind = scheme == "https" ? remote_address::scheme::https : remote_address::scheme::http;
      address.port = scheme == "https" ? https_port : http_port;
      auto parsed = parse_authority(url, std::move(address), rest);
      if (!parsed) return parsed.error();
      address = std::move(*parsed);
    } else {
      return refused(url, "only https (and http to loopback or an allowed host) is spoken");
    }
  }
  if (has_parent_segment(address.path)) return refused(url, "a '..' segment in the path");
  return address;
}

result<void> check_url(const std::string& url, const url_policy& policy) {
  const auto address = parse_url(url);
  if (!address) return address.error();
  if (address->kind == remote_address::scheme::file) {
    if (!policy.allow_file) return refused(url, "local repositories are not allowed here");
    return {};
  }
  const auto literal_address = read_literal(address->host);
  if ((literal_address.v4 && is_refused_ipv4(ntohl(literal_address.v4->s_addr))) ||
      (literal_address.v6 && is_refused_ipv6(*literal_address.v6)))
    return refused(url, "a link-local, unspecified, multicast or broadcast address");
  if (address->kind == remote_address::scheme::http && !is_loopback_host(address->host)) {
    const auto allowed = std::any_of(policy.allow_http_hosts.begin(), policy.allow_http_hosts.end(),
                                     [&](const auto& host) { return lower(host) == address->host; });
    if (!allowed) return refused(url, "plain http is for loopback; use https, or name the host in git.allow_http");
  }
  return {};
}

} // namespace townkeeper::git
