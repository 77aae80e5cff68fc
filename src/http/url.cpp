#include "http/url.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "core/secret.hpp"

namespace townkeeper::http {
namespace {

constexpr std::uint16_t http_port = 80;
constexpr std::uint16_t https_port = 443;

bool is_host_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}

} // namespace

std::string url::authority() const {
  const auto shown = host.find(':') == std::string::npos ? host : fmt::format("[{}]", host);
  return port == (secure ? https_port : http_port) ? shown : fmt::format("{}:{}", shown, port);
}

std::string url::display() const {
  return fmt::format("{}://{}{}", secure ? "https" : "http", authority(), target.substr(0, target.find('?')));
}

result<url> parse_url(std::string_view text) {
  const auto refused = [&](std::string_view why) {
    return error{error_code::invalid_argument, redact(std::string(text.substr(0, text.find('?')))),
                 fmt::format("not a URL to call: {}; write http://HOST[:PORT]/PATH or https://…", why)};
  };
  const auto blank = [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), blank)) return refused("it holds a blank or a control character");
  url out;
  auto rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    out.secure = true;
  } else {
    return refused("the scheme is neither http nor https");
  }
  rest = rest.substr(0, rest.find('#'));
  const auto path = std::min(rest.find_first_of("/?"), rest.size());
  auto authority = rest.substr(0, path);
  out.target = rest.substr(path);
  if (!out.target.starts_with('/')) out.target = fmt::format("/{}", out.target);
  if (authority.find('@') != std::string_view::npos) return refused("it holds user information");

  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return refused("an IPv6 address has no closing bracket");
    out.host = authority.substr(1, end - 1);
    const auto inner = [](char c) { return is_host_character(c) || c == ':'; };
    if (out.host.find(':') == std::string::npos || !std::all_of(out.host.begin(), out.host.end(), inner))
      return refused("what stands in brackets is no IPv6 address");
    authority.remove_prefix(end + 1);
  } else {
    const auto end = std::min(authority.find(':'), authority.size());
    out.host = authority.substr(0, end);
    if (!std::all_of(out.host.begin(), out.host.end(), is_host_character))
      return refused("the host has odd characters");
    authority.remove_prefix(end);
  }
  if (out.host.empty()) return refused("it names no host");
  out.port = out.secure ? https_port : http_port;
  if (authority.empty()) return out;
  const auto digits = authority.substr(1);
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (authority.front() != ':' || digits.empty() || failed != std::errc() || end != digits.data() + digits.size() ||
      out.port == 0)
    return refused("the port is no number from 1 to 65535");
  return out;
}

} // namespace townkeeper::http
