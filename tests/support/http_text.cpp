#include "http_text.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace townkeeper::test {

std::string http_text::value(std::string_view name) const {
  for (const auto& [key, text] : headers)
    if (key == name) return text;
  return {};
}

std::string lower_case(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

http_text parse_http_head(std::string_view head) {
  http_text out;
  std::size_t at = head.find("\r\n");
  out.first_line = head.substr(0, at);
  for (at += 2; at < head.size();) {
    const auto end = std::min(head.find("\r\n", at), head.size());
    const auto line = head.substr(at, end - at);
    at = end + 2;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto value = line.find_first_not_of(' ', colon + 1);
    out.headers.emplace_back(lower_case(line.substr(0, colon)),
                             value == std::string_view::npos ? "" : line.substr(value));
  }
  return out;
}

std::string to_text(const http_text& m, std::optional<std::size_t> length) {
  std::string out = m.first_line + "\r\n";
  for (const auto& [name, value] : m.headers) {
    if (name == "connection" || name == "keep-alive" || name == "expect") continue;
    if (length && (name == "content-length" || name == "transfer-encoding")) continue;
    out += name + ": " + value + "\r\n";
  }
  if (length) out += "content-length: " + std::to_string(*length) + "\r\n";
  return out + "connection: close\r\n\r\n";
}

bool decode_chunks(std::string_view raw, std::string& out) {
  out.clear();
  for (std::size_t at = 0;;) {
    const auto end = raw.find("\r\n", at);
    if (end == std::string_view::npos) return false;
    const auto size = std::strtoul(std::string{raw.substr(at, end - at)}.c_str(), nullptr, 16);
    if (end + 2 + size + 2 > raw.size()) return false;
    if (size == 0) return true;
    out += raw.substr(end + 2, size);
    at = end + 2 + size + 2;
  }
}

std::string to_text(const fixed_answer& answer) {
  http_text m{"HTTP/1.1 " + std::to_string(answer.status) + " Fault", {}, {}};
  for (const auto& [name, value] : answer.headers)
    m.headers.emplace_back(name, value);
  return to_text(m, answer.body.size()) + answer.body;
}

} // namespace townkeeper::test
