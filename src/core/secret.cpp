#include "core/secret.hpp"

#include <algorithm>
#include <cctype>
#include <mutex>
#include <shared_mutex>
#include <vector>

namespace townkeeper {
namespace {

constexpr std::size_t min_redacted_length = 6; // a shorter value would blank out ordinary words
constexpr std::size_t max_registered = 4096; // rotated tokens of a long-lived container; the oldest are expired by then

struct registry {
  std::shared_mutex mutex;
  std::vector<std::string> forms; ///< longest first, so that a secret that contains another is replaced whole
};

registry& the_registry() {
  static registry r;
  return r;
}

std::string base64(std::string_view in) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < in.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = (group << 8) | (i + k < in.size() ? static_cast<unsigned char>(in[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k <= in.size() ? alphabet[(group >> (18 - 6 * k)) & 63U] : '=';
  }
  return out;
}

std::string percent_encoded(std::string_view in) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : in) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += digits[u >> 4];
      out += digits[u & 15];
    }
  }
  return out;
}

void replace_all(std::string& text, std::string_view what) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 3))
    text.replace(at, what.size(), "***");
}

/// `scheme://user:password@host` loses everything between `//` and `@`.
void strip_userinfo(std::string& text) {
  for (auto at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    const auto begin = at + 3;
    const auto end = std::min(text.find_first_of("/ \t\r\n\"'<>", begin), text.size());
    const auto last_at = text.rfind('@', end == 0 ? 0 : end - 1);
    if (last_at != std::string::npos && last_at >= begin && last_at < end) text.replace(begin, last_at - begin, "***");
  }
}

} // namespace

secret::secret(std::string value)
    : value_(std::move(value)) {
  if (value_.size() < min_redacted_length) return;
  auto& r = the_registry();
  {
    const std::shared_lock lock(r.mutex);
    if (std::find(r.forms.begin(), r.forms.end(), value_) != r.forms.end()) return;
  }
  const std::unique_lock lock(r.mutex);
  if (r.forms.size() >= max_registered) return;
  for (const auto& form : {value_, base64(value_), percent_encoded(value_)})
    if (std::find(r.forms.begin(), r.forms.end(), form) == r.forms.end()) r.forms.push_back(form);
  std::stable_sort(r.forms.begin(), r.forms.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

bool secret::equals(std::string_view other) const noexcept {
  // Walks the longer of the two, whatever differs, so that time tells nothing but the lengths.
  const auto n = std::max(value_.size(), other.size());
  unsigned difference = value_.size() == other.size() ? 0U : 1U;
  for (std::size_t i = 0; i < n; ++i) {
    const auto a = i < value_.size() ? static_cast<unsigned char>(value_[i]) : 0U;
    const auto b = i < other.size() ? static_cast<unsigned char>(other[i]) : 0U;
    difference |= a ^ b;
  }
  return difference == 0;
}

std::string redact(std::string text) {
  strip_userinfo(text);
  auto& r = the_registry();
  const std::shared_lock lock(r.mutex);
  for (const auto& form : r.forms)
    replace_all(text, form);
  return text;
}

} // namespace townkeeper
