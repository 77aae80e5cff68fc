#include "git/path_rules.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

namespace townkeeper::git {
namespace {

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return a == lower(b); });
}

// -- HFS+: names compare after certain code points are dropped ---------------

/// Takes one code point off the front; 0 at the end and at bytes that are no UTF-8 (as the end, which is the careful
/// reading: HFS+ would show such bytes in another form).
std::uint32_t take_code_point(std::string_view& text) noexcept {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 0;
  if (length == 0 || text.size() < length) {
    text = {};
    return 0;
  }
  constexpr std::array<unsigned, 5> lead_mask{0, 0x7F, 0x1F, 0x0F, 0x07};
  std::uint32_t value = first & lead_mask[length];
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0U) != 0x80U) {
      text = {};
      return 0;
    }
    value = (value << 6) | (next & 0x3FU);
  }
  text.remove_prefix(length);
  return value;
}

bool ignored_by_hfs(std::uint32_t c) noexcept {
  return (c >= 0x200C && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF;
}

std::uint32_t take_hfs_code_point(std::string_view& text) noexcept {
  auto c = take_code_point(text);
  while (ignored_by_hfs(c))
    c = take_code_point(text);
  return c;
}

bool equals_on_hfs(std::string_view name, std::string_view dot_name) noexcept {
  for (const char expected : dot_name) {
    const auto c = take_hfs_code_point(name);
    if (c > 127 || lower(static_cast<char>(c)) != expected) return false;
  }
  return take_hfs_code_point(name) == 0;
}

// -- NTFS: short names, trailing dots and spaces, streams --------------------

/// What may follow a name on NTFS without making it another file.
bool is_ntfs_tail(std::string_view rest) noexcept {
  const auto end = rest.find_first_not_of(". ");
  return end == std::string_view::npos || rest[end] == ':';
}

bool is_dot_git_on_ntfs(std::string_view name) noexcept {
  if (starts_with_ignoring_case(name, ".git")) return is_ntfs_tail(name.substr(4));
  if (starts_with_ignoring_case(name, "git~1")) return is_ntfs_tail(name.substr(5));
  return false;
}

/// The generated short name when `gitmod~1` to `~4` are taken: leading characters of "gi7eba", a tilde, digits; eight
/// in all.
bool is_hashed_short_name(std::string_view name) noexcept {
  constexpr std::string_view prefix = "gi7eba";
  constexpr std::size_t length = 8;
  if (name.size() < length) return false;
  const auto tilde = name.find('~');
  if (tilde == std::string_view::npos || tilde > prefix.size() || tilde + 1 >= length) return false;
  for (std::size_t i = 0; i < tilde; ++i)
    if (lower(name[i]) != prefix[i]) return false;
  if (name[tilde + 1] < '1' || name[tilde + 1] > '9') return false;
  for (auto i = tilde + 2; i < length; ++i)
    if (name[i] < '0' || name[i] > '9') return false;
  return is_ntfs_tail(name.substr(length));
}

bool is_dot_gitmodules_on_ntfs(std::string_view name) noexcept {
  constexpr std::string_view full = ".gitmodules";
  if (starts_with_ignoring_case(name, full)) return is_ntfs_tail(name.substr(full.size()));
  if (name.size() >= 8 && starts_with_ignoring_case(name, "gitmod~") && name[7] >= '1' && name[7] <= '4')
    return is_ntfs_tail(name.substr(8));
  return is_hashed_short_name(name);
}

/// A backslash separates directories on Windows, so each part behind one is looked at as a name of its own.
template <class Predicate>
bool any_backslash_part(std::string_view name, Predicate predicate) noexcept {
  for (;;) {
    const auto end = name.find('\\');
    if (predicate(name.substr(0, end))) return true;
    if (end == std::string_view::npos) return false;
    name.remove_prefix(end + 1);
  }
}

error refused(std::string_view path, std::string_view reason) {
  return {error_code::invalid_argument, printable(path),
          fmt::format("{}; the commit must be mended on the remote before it can be checked out", reason)};
}

} // namespace

bool is_dot_git(std::string_view name) noexcept {
  return equals_on_hfs(name, ".git") || any_backslash_part(name, is_dot_git_on_ntfs);
}

bool is_dot_gitmodules(std::string_view name) noexcept {
  return equals_on_hfs(name, ".gitmodules") || any_backslash_part(name, is_dot_gitmodules_on_ntfs);
}

result<void> check_entry_name(std::string_view name, entry_kind kind, std::string_view path) {
  if (name.empty()) return refused(path, "holds an empty name");
  if (name == "." || name == "..") return refused(path, "names a directory outside its own");
  if (name.find('/') != std::string_view::npos) return refused(path, "holds a slash inside one name");
  if (name.find('\0') != std::string_view::npos) return refused(path, "holds a NUL inside one name");
  if (is_dot_git(name)) return refused(path, "is a spelling of .git");
  if (kind == entry_kind::symlink && is_dot_gitmodules(name))
    return refused(path, ".gitmodules must not be a symbolic link");
  if (path.size() > max_path_length) return refused(path, fmt::format("is longer than {} bytes", max_path_length));
  return {};
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(u));
    } else {
      out += c;
    }
  }
  return out;
}

} // namespace townkeeper::git
