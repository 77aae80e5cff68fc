#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fixed_answer.hpp"

namespace townkeeper::test {

/// A request or an answer of HTTP/1.1, as text.
struct http_text {
  std::string first_line, body;
  std::vector<std::pair<std::string, std::string>> headers; ///< names in lower case

  /// Of the first header of that name; empty: none.
  std::string value(std::string_view name) const;
};

/// ASCII alone.
std::string lower_case(std::string_view text);

/// `head`: without the empty line at its end. The body stays empty.
http_text parse_http_head(std::string_view head);

/// The head, with the empty line, of a message whose connection ends after it. Without `length` the headers that say
/// the body's length stay as they are.
std::string to_text(const http_text& m, std::optional<std::size_t> length);

/// The whole answer.
std::string to_text(const fixed_answer& answer);

/// True once `raw` holds the whole of a chunked body; `out` is what it means.
bool decode_chunks(std::string_view raw, std::string& out);

} // namespace townkeeper::test
