#include "git/gitignore_wildcard.hpp"

#include <cstdint>
#include <unordered_set>

namespace townkeeper::git {
namespace {

bool is_lower(char c) noexcept {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) noexcept {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool is_space(char c) noexcept { // git's own: no vertical tab, no form feed
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_print(char c) noexcept {
  return c >= 0x20 && c < 0x7f;
}
bool is_alnum(char c) noexcept {
  return is_lower(c) || is_upper(c) || is_digit(c);
}
unsigned char byte(char c) noexcept {
  return static_cast<unsigned char>(c);
}

enum class membership { outside, inside, unknown };

membership in_class(std::string_view name, char c, letter_case letters) {
  const auto is = [](bool yes) { return yes ? membership::inside : membership::outside; };
  if (name == "alnum") return is(is_alnum(c));
  if (name == "alpha") return is(is_lower(c) || is_upper(c));
  if (name == "blank") return is(c == ' ' || c == '\t');
  if (name == "cntrl") return is(byte(c) < 0x20 || c == 0x7f);
  if (name == "digit") return is(is_digit(c));
  if (name == "graph") return is(is_print(c) && c != ' ');
  if (name == "lower") return is(is_lower(c));
  if (name == "print") return is(is_print(c));
  if (name == "punct") return is(is_print(c) && c != ' ' && !is_alnum(c));
  if (name == "space") return is(is_space(c));
  if (name == "upper") return is(is_upper(c) || (letters == letter_case::folded && is_lower(c)));
  if (name == "xdigit") return is(is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
  return membership::unknown;
}

class matcher {
public:
  matcher(std::string_view pattern, std::string_view text, letter_case letters)
      : pattern_(pattern)
      , text_(text)
      , letters_(letters) {}

  bool run(std::size_t p, std::size_t t) {
    for (; p < pattern_.size(); ++p, ++t) {
      if (pattern_[p] == '*') return stars(p, t);
      if (t == text_.size()) return false;
      const auto c = folded(text_[t]);
      switch (pattern_[p]) {
      case '?':
        if (c == '/') return false;
        break;
      case '[':
        if (!bracket(p, c) || c == '/') return false;
        break;
      case '\\': // what follows is not folded, as in git
        if (++p == pattern_.size() || pattern_[p] != c) return false;
        break;
      default:
        if (folded(pattern_[p]) != c) return false;
      }
    }
    return t == text_.size();
  }

private:
  char folded(char c) const noexcept {
    return letters_ == letter_case::folded && is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
  }
  char at(std::size_t p) const noexcept { return p < pattern_.size() ? pattern_[p] : '\0'; }

  std::size_t after_stars(std::size_t p) const noexcept {
    while (at(p) == '*')
      ++p;
    return p;
  }

  /// `p` is at the first star of a run.
  bool stars(std::size_t p, std::size_t t) {
    const auto key = (std::uint64_t{p} << 32) | t;
    if (failed_.contains(key)) return false;
    ++depth_;
    const bool found = try_stars(p, t);
    // Only stars below stars are tried again.
    if (--depth_ > 0 && !found) failed_.insert(key);
    return found;
  }

  bool try_stars(std::size_t p, std::size_t t) {
    const auto first = p;
    p = after_stars(p);
    const bool at_start = first == 0 || pattern_[first - 1] == '/';
    const bool at_end = p == pattern_.size() || at(p) == '/' || (at(p) == '\\' && at(p + 1) == '/');
    const bool crosses = p - first > 1 && at_start && at_end;
    if (crosses && at(p) == '/') {
      // "**/**/" says no more than "**/".
      for (auto next = after_stars(p + 1); next - p > 2 && at(next) == '/'; next = after_stars(p + 1))
        p = next;
      if (run(p + 1, t)) return true;
    }
    if (p == pattern_.size()) return crosses || text_.find('/', t) == std::string_view::npos;
    for (;; ++t) {
      if (run(p, t)) return true;
      if (t == text_.size() || (!crosses && text_[t] == '/')) return false;
    }
  }

  /// `p` is at the opening bracket, and at the closing one when this returns true. A range or a class keeps what
  /// follows from being the end of a range.
  bool bracket(std::size_t& p, char c) const {
    const bool negated = at(p + 1) == '!' || at(p + 1) == '^';
    p += negated ? 2 : 1;
    bool matched = false;
    char before = '\0';
    do { // a closing bracket that comes first is one of the set
      auto now = at(p);
      if (p >= pattern_.size()) return false;
      if (now == '\\') {
        if (++p >= pattern_.size()) return false;
        now = pattern_[p];
        matched = matched || now == c;
      } else if (now == '-' && before != '\0' && p + 1 < pattern_.size() && pattern_[p + 1] != ']') {
        if (pattern_[++p] == '\\' && ++p >= pattern_.size()) return false;
        matched = matched || in_range(before, pattern_[p], c);
        now = '\0';
      } else if (now == '[' && at(p + 1) == ':') {
        const auto end = pattern_.find(']', p + 2);
        if (end == std::string_view::npos) return false;
        if (end - p > 2 && pattern_[end - 1] == ':') {
          const auto is = in_class(pattern_.substr(p + 2, end - p - 3), c, letters_);
          if (is == membership::unknown) return false;
          matched = matched || is == membership::inside;
          p = end;
          now = '\0';
        } else {
          matched = matched || c == '[';
        }
      } else {
        matched = matched || now == c;
      }
      before = now;
      ++p;
    } while (at(p) != ']');
    return matched != negated;
  }

  bool in_range(char low, char high, char c) const noexcept {
    const auto within = [&](char x) { return byte(low) <= byte(x) && byte(x) <= byte(high); };
    return within(c) || (letters_ == letter_case::folded && is_lower(c) && within(static_cast<char>(c - 'a' + 'A')));
  }

  std::string_view pattern_, text_;
  letter_case letters_;
  std::size_t depth_ = 0;
  std::unordered_set<std::uint64_t> failed_; ///< positions of stars in the pattern, and in the text
};

} // namespace

bool gitignore_wildcard(std::string_view pattern, std::string_view text, letter_case letters) {
  return matcher(pattern, text, letters).run(0, 0);
}

} // namespace townkeeper::git
