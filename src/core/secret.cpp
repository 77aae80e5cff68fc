#include "core/secret.hpp"

#include <algorithm>
#include <cctype>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <vector>

namespace townkeeper {
namespace {

constexpr std::size_t min_redacted_length = 6; // a shorter value would blank out ordinary words
/// Rotated tokens of a long-lived container: the oldest have expired by then. What is registered first (the
/// configuration's own secrets) is never forgotten.
constexpr std::size_t max_registered = 1024, never_forgotten = 64, forgotten_at_once = 128;

struct registry {
  std::shared_mutex mutex;
  std::vector<std::string> values; ///< in the order of their registration
  std::vector<std::string> forms;  ///< longest first, so that a secret that contains another is replaced whole
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

/// The characters of base64 that `in` alone decides where `before` bytes stand in front of it in its group of three
/// (`user:` in the header of HTTP Basic), whatever stands in front and behind.
std::string base64_inside(std::string_view in, std::size_t before) {
  const auto whole = base64(std::string(before, '\0').append(in));
  const auto begin = (before * 8 + 5) / 6, end = (before + in.size()) * 8 / 6;
  return whole.substr(begin, end - begin);
}

std::string base64url(std::string text) {
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
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

std::set<std::string> forms_of(const std::string& value) {
  std::set<std::string> out{value, percent_encoded(value), base64(value), base64url(base64(value))};
  for (const std::size_t before : {0U, 1U, 2U})
    out.insert({base64_inside(value, before), base64url(base64_inside(value, before))});
  return out;
}

bool is_longer(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() > b.size() : a < b;
}

void add_forms(std::vector<std::string>& forms, const std::string& value) {
  for (const auto& form : forms_of(value)) {
    const auto at = std::lower_bound(forms.begin(), forms.end(), form, is_longer);
    if (at == forms.end() || *at != form) forms.insert(at, form);
  }
}

void forget_oldest(registry& r) {
  const auto begin = r.values.begin() + never_forgotten;
  r.values.erase(begin, begin + forgotten_at_once);
  r.forms.clear();
  for (const auto& value : r.values)
    add_forms(r.forms, value);
}

void replace_all(std::string& text, std::string_view what) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 3))
    text.replace(at, what.size(), "***");
}

/// True for what can be a host with or without a port: a password that was not percent-encoded is none.
bool is_host_and_port(std::string_view text) {
  const auto is_of_host = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-._~[]:").find(c) != std::string::npos;
  };
  if (!std::all_of(text.begin(), text.end(), is_of_host)) return false;
  const auto colon = text.front() == '[' ? text.find("]:") : text.find(':');
  if (colon == std::string_view::npos) return true;
  const auto port = text.substr(text.find(':', colon) + 1);
  return std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

constexpr std::string_view url_ends = " \t\r\n\"'<>"; // none of them stands in a URL

/// `scheme://user:password@host` loses everything between `//` and `@`, also where the password has a slash in it.
void strip_userinfo(std::string& text) {
  for (auto at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    const auto begin = at + 3;
    auto end = std::min(text.find_first_of("/ \t\r\n\"'<>", begin), text.size());
    if (end > begin && end < text.size() && text[end] == '/' &&
        !is_host_and_port(std::string_view(text).substr(begin, end - begin)))
      end = std::min(text.find_first_of(url_ends, begin), text.size());
    const auto last_at = text.rfind('@', end == 0 ? 0 : end - 1);
    if (last_at != std::string::npos && last_at >= begin && last_at < end) text.replace(begin, last_at - begin, "***");
  }
}

/// Where a URL that may go on behind the end of `text` begins to name its user or host; without one, that end.
std::size_t begin_of_open_url(std::string_view text) {
  const auto last_end = text.find_last_of(url_ends);
  const auto scheme = text.find("://", last_end == std::string_view::npos ? 0 : last_end);
  return scheme == std::string_view::npos ? text.size() : scheme + 3;
}

/// The greatest end of at most `end` that cuts neither a form of a secret in two nor a URL.
std::size_t end_between_secrets(std::string_view text, std::size_t end, const std::vector<std::string>& forms) {
  for (auto before = text.size(); before != end;) {
    before = end;
    end = begin_of_open_url(text.substr(0, end));
    for (const auto& form : forms) {
      const auto reach = form.size() - 1;
      const auto begin = end - std::min(end, reach);
      const auto at = text.substr(begin, end + reach - begin).find(form);
      if (at != std::string_view::npos) end = begin + at;
    }
  }
  return end;
}

} // namespace

secret::secret(std::string value)
    : value_(std::move(value)) {
  if (value_.size() < min_redacted_length) return;
  auto& r = the_registry();
  const auto is_known = [&] { return std::find(r.values.begin(), r.values.end(), value_) != r.values.end(); };
  {
    const std::shared_lock lock(r.mutex);
    if (is_known()) return;
  }
  const std::unique_lock lock(r.mutex);
  if (is_known()) return;
  r.values.push_back(value_);
  if (r.values.size() > max_registered)
    forget_oldest(r);
  else
    add_forms(r.forms, value_);
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

std::string redact_beginning(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    auto& r = the_registry();
    const std::shared_lock lock(r.mutex);
    text = text.substr(0, end_between_secrets(text, max_bytes, r.forms));
  }
  return redact(std::string(text));
}

} // namespace townkeeper
