#pragma once

#include <optional>
#include <string>
#include <string_view>

/// The byte-level conversions of a checkout, as git makes them (gitattributes(5): `eol`, `ident`,
/// `working-tree-encoding`).
namespace townkeeper::git {

/// How the line ends of a blob look, and whether git would take it for binary.
struct text_profile {
  std::size_t lone_lf = 0, lone_cr = 0, crlf = 0;
  bool binary = false;
};
text_profile profile_of(std::string_view blob) noexcept;

/// Every line feed that no carriage return precedes gets one.
std::string with_crlf(std::string_view blob);

/// Every `$Id$`, and every `$Id: …$` git itself wrote once, becomes `$Id: <hex> $`.
std::string with_expanded_ident(std::string_view blob, std::string_view blob_hex);

/// From UTF-8 to `encoding` (an iconv name, or `UTF-16LE-BOM` / `UTF-16BE-BOM`); nothing when iconv does not know it or
/// the text cannot be written in it.
std::optional<std::string> encoded_as(std::string_view utf8, const std::string& encoding);

/// The reverse of each, as `git add` makes them. Every `\r\n` becomes `\n`.
std::string without_crlf(std::string_view text);
/// Every `$Id: …$` on one line becomes `$Id$`.
std::string with_collapsed_ident(std::string_view text);
/// From `encoding` to UTF-8, without a byte order mark; nothing when iconv does not know it, the text is not of it, or
/// a byte order mark that must be there is not (or the reverse), where git refuses the file.
std::optional<std::string> decoded_from(std::string_view text, const std::string& encoding);

/// True for the names of UTF-8, which need no conversion.
bool is_utf8_name(std::string_view encoding) noexcept;

} // namespace townkeeper::git
