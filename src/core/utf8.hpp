#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Names and messages of other people's repositories are bytes; JSON is UTF-8 (RFC 8259, section 8.1).
namespace townkeeper {

/// Length of the well-formed UTF-8 sequence that `text` begins with, 0 where it is not well-formed (RFC 3629, section
/// 4: no overlong form, no surrogate, nothing above U+10FFFF) or `text` is empty.
inline std::size_t utf8_sequence_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const auto first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first < 0xE0   ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
  if (length == 0 || text.size() < length) return 0;
  const unsigned char least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned char most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < least || byte(1) > most) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  return length;
}

/// `text` with U+FFFD in place of each byte that is no part of well-formed UTF-8.
inline std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto length = utf8_sequence_length(text);
    if (length == 0)
      out += "\xEF\xBF\xBD";
    else
      out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

/// The longest beginning of well-formed `text` that has at most `max_bytes` and ends between two characters; `…` says
/// that there was more.
inline std::string clipped_utf8(std::string_view text, std::size_t max_bytes) {
  constexpr std::string_view more = "…";
  if (text.size() <= max_bytes) return std::string(text);
  auto end = max_bytes > more.size() ? max_bytes - more.size() : 0;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;
  return std::string(text.substr(0, end)).append(more);
}

} // namespace townkeeper
