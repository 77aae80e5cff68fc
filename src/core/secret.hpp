#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace townkeeper {

/// A string that must never be shown: no stream operator, no implicit conversion; `reveal` marks each place that uses
/// it. Constructing one registers its value with the redactor for the life of the process.
class secret {
public:
  secret() = default;
  explicit secret(std::string value);

  const std::string& reveal() const noexcept { return value_; }
  bool empty() const noexcept { return value_.empty(); }

  /// Equality in time that depends only on the lengths.
  bool equals(std::string_view other) const noexcept;

  friend bool operator==(const secret& a, const secret& b) noexcept { return a.equals(b.value_); }

private:
  std::string value_;
};

/// `text` with every registered secret (of at least 6 bytes), its base64 and percent-encoded forms, and the userinfo of
/// any URL replaced by `***`. Every log line, error body and message built from foreign text goes through here.
/// Thread-safe.
std::string redact(std::string text);

/// The beginning of `text`, of at most `max_bytes`, redacted. What the end would cut in two, a secret or a URL that
/// may have a userinfo, is left out whole: a part of it would not be known. Reads little of `text` beyond.
std::string redact_beginning(std::string_view text, std::size_t max_bytes);

} // namespace townkeeper
