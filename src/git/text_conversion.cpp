#include "git/text_conversion.hpp"

#include <iconv.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace townkeeper::git {
namespace {

/// git takes a blob for text while at least this many of its bytes are printable for each one that is not.
constexpr std::size_t printable_per_odd_byte = 128;

bool names_equal(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

class converter {
public:
  converter(const std::string& to, const char* from)
      : handle_(::iconv_open(to.c_str(), from)) {}
  converter(const converter&) = delete;
  converter& operator=(const converter&) = delete;
  ~converter() {
    if (known()) ::iconv_close(handle_);
  }
  // iconv_open(3): "(iconv_t) -1" says that there is no such conversion.
  bool known() const noexcept { return handle_ != reinterpret_cast<iconv_t>(-1); } // NOLINT(performance-no-int-to-ptr)

  bool run(std::string_view in, std::string& out) {
    auto* source = const_cast<char*>(in.data()); // iconv's signature; it does not write through it
    auto left = in.size();
    std::array<char, 4096> chunk{};
    for (bool flushing = false;;) {
      auto* target = chunk.data();
      auto room = chunk.size();
      const auto rc = ::iconv(handle_, flushing ? nullptr : &source, flushing ? nullptr : &left, &target, &room);
      const auto failed = rc == static_cast<std::size_t>(-1) ? errno : 0;
      out.append(chunk.data(), chunk.size() - room);
      if (failed == E2BIG) continue;
      if (failed != 0) return false;
      if (flushing) return true;
      flushing = true;
    }
  }

private:
  iconv_t handle_;
};

} // namespace

text_profile profile_of(std::string_view blob) noexcept {
  text_profile p;
  std::size_t printable = 0;
  std::size_t odd = 0;
  bool has_nul = false;
  for (std::size_t i = 0; i < blob.size(); ++i) {
    const auto c = static_cast<unsigned char>(blob[i]);
    if (c == '\r') {
      if (i + 1 < blob.size() && blob[i + 1] == '\n') {
        ++p.crlf;
        ++i;
      } else {
        ++p.lone_cr;
      }
    } else if (c == '\n') {
      ++p.lone_lf;
    } else if (c == '\b' || c == '\t' || c == '\f' || c == 0x1B || (c >= 0x20 && c != 0x7F)) {
      ++printable;
    } else {
      ++odd;
      has_nul = has_nul || c == 0;
    }
  }
  // A final ^Z is DOS's end of file, not a sign of binary data.
  if (!blob.empty() && blob.back() == 0x1A && odd > 0) --odd;
  p.binary = p.lone_cr > 0 || has_nul || printable / printable_per_odd_byte < odd;
  return p;
}

std::string with_crlf(std::string_view blob) {
  std::string out;
  out.reserve(blob.size() + static_cast<std::size_t>(std::count(blob.begin(), blob.end(), '\n')));
  char before = '\0';
  for (const char c : blob) {
    if (c == '\n' && before != '\r') out += '\r';
    out += c;
    before = c;
  }
  return out;
}

std::string with_expanded_ident(std::string_view blob, std::string_view blob_hex) {
  std::string out;
  for (;;) {
    const auto dollar = blob.find('$');
    if (dollar == std::string_view::npos) break;
    out += blob.substr(0, dollar + 1);
    blob.remove_prefix(dollar + 1);
    if (!blob.starts_with("Id") || blob.size() < 3) continue;
    if (blob[2] == '$') {
      blob.remove_prefix(3);
    } else if (blob[2] == ':') {
      const auto end = blob.find('$', 3);
      if (end == std::string_view::npos) break;
      const auto inside = blob.substr(3, end - 3);
      if (inside.find('\n') != std::string_view::npos) continue;
      // A space anywhere but first and last marks the expansion of another system, which is content.
      const auto space = inside.find(' ', 1);
      if (space != std::string_view::npos && space + 1 < inside.size()) continue;
      blob.remove_prefix(end + 1);
    } else {
      continue;
    }
    out += "Id: ";
    out += blob_hex;
    out += " $";
  }
  out += blob;
  return out;
}

std::optional<std::string> encoded_as(std::string_view utf8, const std::string& encoding) {
  std::string out;
  auto name = encoding;
  if (names_equal(encoding, "UTF-16LE-BOM")) {
    name = "UTF-16LE";
    out = "\xFF\xFE";
  } else if (names_equal(encoding, "UTF-16BE-BOM")) {
    name = "UTF-16BE";
    out = "\xFE\xFF";
  }
  converter conversion(name, "UTF-8");
  if (!conversion.known() || !conversion.run(utf8, out)) return std::nullopt;
  return out;
}

std::string without_crlf(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') out += text[i];
  return out;
}

std::string with_collapsed_ident(std::string_view text) {
  std::string out;
  for (;;) {
    const auto dollar = text.find("$Id");
    if (dollar == std::string_view::npos) break;
    out += text.substr(0, dollar + 3);
    text.remove_prefix(dollar + 3);
    if (!text.starts_with(':')) continue;
    const auto end = text.find('$', 1);
    if (end == std::string_view::npos) break;
    if (text.substr(0, end).find('\n') != std::string_view::npos) continue;
    text.remove_prefix(end);
  }
  out += text;
  return out;
}

std::optional<std::string> decoded_from(std::string_view text, const std::string& encoding) {
  const auto is_named = [&](std::string_view name) { return names_equal(encoding, name); };
  const bool little = text.starts_with("\xFF\xFE");
  const bool big = text.starts_with("\xFE\xFF");
  auto name = encoding;
  if (is_named("UTF-16LE-BOM") || is_named("UTF-16BE-BOM")) {
    name.resize(name.size() - std::string_view("-BOM").size());
    if (!(is_named("UTF-16LE-BOM") ? little : big)) return std::nullopt;
    text.remove_prefix(2);
  } else if ((is_named("UTF-16") || is_named("UTF16")) && !little && !big) {
    return std::nullopt;
  } else if ((is_named("UTF-16LE") || is_named("UTF-16BE")) && (little || big)) {
    return std::nullopt;
  }
  std::string out;
  converter conversion("UTF-8", name.c_str());
  if (!conversion.known() || !conversion.run(text, out)) return std::nullopt;
  return out;
}

bool is_utf8_name(std::string_view encoding) noexcept {
  return names_equal(encoding, "UTF-8") || names_equal(encoding, "UTF8");
}

} // namespace townkeeper::git
