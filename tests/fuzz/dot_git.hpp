#pragma once

#include <string>
#include <string_view>

/// A second opinion on path_rules, written from git's documentation of core.protectHFS and core.protectNTFS in another
/// way: the name is brought into the form a file system would look it up by, then compared.
namespace townkeeper::fuzz {

/// Without what HFS+ ignores, in lower case.
inline std::string on_hfs(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const auto byte = [&](std::size_t i) {
      return i < name.size() ? static_cast<unsigned>(static_cast<unsigned char>(name[i])) : 0U;
    };
    const auto three = byte(0) << 16 | byte(1) << 8 | byte(2);
    const bool ignored = (three >= 0xE2808C && three <= 0xE2808F) || (three >= 0xE280AA && three <= 0xE280AE) ||
                         (three >= 0xE281AA && three <= 0xE281AF) || three == 0xEFBBBF;
    if (!ignored) out += name[0] >= 'A' && name[0] <= 'Z' ? static_cast<char>(name[0] + 32) : name[0];
    name.remove_prefix(ignored ? 3 : 1);
  }
  return out;
}

/// Up to a stream, without dots and spaces at the end, in lower case.
inline std::string on_ntfs(std::string_view name) {
  std::string out(name.substr(0, name.find(':')));
  while (out.ends_with('.') || out.ends_with(' '))
    out.pop_back();
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

/// True where some file system would take `name` for `.git`.
inline bool means_dot_git(std::string_view name) {
  if (on_hfs(name) == ".git") return true;
  for (;;) {
    const auto end = name.find('\\');
    const auto part = on_ntfs(name.substr(0, end));
    if (part == ".git" || part == "git~1") return true;
    if (end == std::string_view::npos) return false;
    name.remove_prefix(end + 1);
  }
}

} // namespace townkeeper::fuzz
