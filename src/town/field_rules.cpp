#include "town/field_rules.hpp"

#include <algorithm>

#include "core/ids.hpp"

namespace townkeeper::town {
namespace {

bool has_control(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; });
}

bool is_visible_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

} // namespace

const char* any_text(std::string_view) noexcept {
  return nullptr;
}

const char* not_empty(std::string_view text) noexcept {
  return text.empty() ? "must not be empty" : nullptr;
}

const char* one_line(std::string_view text) noexcept {
  if (text.empty()) return "must not be empty";
  return has_control(text) ? "must not hold a control character" : nullptr;
}

const char* valid_id(std::string_view text) noexcept {
  return is_valid_id(text)
             ? nullptr
             : "must be 1 to 128 letters, digits, dots, dashes or underscores, begin with a letter or digit, hold no "
               "\"..\" and not end in \".\" or \".lock\"";
}

const char* valid_branch(std::string_view text) noexcept {
  constexpr std::size_t longest = 512;
  if (text.size() > longest) return "must have at most 512 bytes";
  return is_valid_branch(text) ? nullptr : "is not a branch name that git accepts";
}

const char* valid_ref(std::string_view text) noexcept {
  constexpr std::string_view prefix = "refs/";
  if (!text.starts_with(prefix)) return "must begin with refs/";
  // The rules for what follows are those of a branch, but for a leading dash, which means nothing there.
  auto rest = text.substr(prefix.size());
  if (rest.starts_with('-')) rest.remove_prefix(1);
  return valid_branch(rest);
}

const char* recovery_ref(std::string_view text) noexcept {
  if (!text.starts_with("refs/townkeeper/")) return "must begin with refs/townkeeper/";
  return valid_ref(text);
}

const char* full_commit(std::string_view text) noexcept {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  const bool good = (text.size() == 40 || text.size() == 64) && std::all_of(text.begin(), text.end(), hex);
  return good ? nullptr : "must be a full commit id of 40 or 64 lower-case hexadecimal digits";
}

const char* identity_line(std::string_view text) noexcept {
  constexpr auto wrong = "must be \"Name <email>\" or a name, on one line";
  constexpr std::size_t longest = 512;
  if (text.size() > longest || one_line(text) != nullptr) return wrong;
  const auto open = text.find('<');
  const auto name = text.substr(0, open);
  if (name.find_first_not_of(' ') == std::string_view::npos || name.find('>') != std::string_view::npos) return wrong;
  if (open == std::string_view::npos) return nullptr;
  const auto email = text.substr(open + 1);
  const bool closed = email.size() > 1 && email.find('>') == email.size() - 1;
  return name.ends_with(' ') && closed && email.find_first_of("< ") == std::string_view::npos ? nullptr : wrong;
}

const char* header_word(std::string_view text) noexcept {
  constexpr std::size_t longest = 4096;
  if (text.empty() || text.size() > longest || !is_visible_ascii(text))
    return "must be 1 to 4,096 visible ASCII characters without spaces";
  return nullptr;
}

const char* url_shape(std::string_view text) noexcept {
  constexpr std::size_t longest = 2048;
  if (text.empty() || text.size() > longest) return "must have 1 to 2,048 bytes";
  if (has_control(text) || text.find_first_of(" \\") != std::string_view::npos)
    return "must not hold white space, a backslash or a control character";
  if (text.front() == '-') return "must not begin with '-'";
  if (text.front() == '/') return nullptr;
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return "must be a URL with a scheme";
  const auto authority = text.substr(scheme + 3, text.find('/', scheme + 3) - (scheme + 3));
  return authority.find('@') == std::string_view::npos
             ? nullptr
             : "must not hold a user name or token; give the rig a git token instead";
}

} // namespace townkeeper::town
