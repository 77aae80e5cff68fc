#include "http/request_head.hpp"

#include <algorithm>

namespace townkeeper::http {

namespace wire = boost::beast::http;

std::string_view objection(const wire::request_header<>& header) {
  constexpr int http_1_1 = 11;
  // RFC 9112, 3.2: exactly one Host, or 400.
  if (header.version() == http_1_1 && header.count(wire::field::host) != 1)
    return "a request carries exactly one Host field";
  // RFC 9112, 6.3: a coding that does not end in chunked leaves the length unknown. Others than chunked we do not read.
  if (header.count(wire::field::transfer_encoding) > 0 &&
      (header.version() < http_1_1 || !equal_ignoring_case(header[wire::field::transfer_encoding], "chunked")))
    return "the only transfer coding here is chunked, in HTTP/1.1";
  // RFC 9110, 8.6: equal lengths may be refused like different ones.
  const auto length = header[wire::field::content_length];
  if (header.count(wire::field::content_length) > 1 || length.find(',') != std::string_view::npos)
    return "a request carries at most one Content-Length";
  // RFC 9110, 5.3: it is no list. Whoever stands in front of us may have looked at the other one.
  if (header.count(wire::field::authorization) > 1) return "a request carries at most one Authorization field";
  return {};
}

bool split_target(request& r) {
  std::string_view rest = r.target;
  if (const auto scheme = rest.find("://"); scheme != std::string_view::npos && rest.front() != '/') {
    const auto begin = rest.find_first_of("/?", scheme + 3);
    rest = begin == std::string_view::npos ? "/" : rest.substr(begin);
  }
  if (rest.empty() || (rest.front() != '/' && rest != "*")) return false;
  const auto question = std::min(rest.find('?'), rest.size());
  r.path = rest.substr(0, question);
  r.query = rest.substr(std::min(question + 1, rest.size()));
  return true;
}

} // namespace townkeeper::http
