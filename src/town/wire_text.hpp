#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "core/secret.hpp"
#include "core/utf8.hpp"
#include "town/json_writer.hpp"

/// Text for people on its way into a document. Only for the sources of this library.
namespace townkeeper::town {

/// Valid UTF-8, without a secret, at most `max_bytes` long.
inline std::string wire_text(std::string_view foreign, std::size_t max_bytes) {
  return clipped_utf8(redact(valid_utf8(foreign)), max_bytes);
}

/// The same on one line: a space stands for each control character.
inline std::string wire_line(std::string_view foreign, std::size_t max_bytes) {
  auto out = wire_text(foreign, max_bytes);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, ' ');
  return out;
}

inline void error_member(json_writer& out, const std::optional<error>& failure, std::size_t max_bytes) {
  if (failure) out.member("error", wire_text(to_string(*failure), max_bytes));
}

} // namespace townkeeper::town
