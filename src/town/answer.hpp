#pragma once

#include <rapidjson/fwd.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper::town {

/// A larger body is refused before it is parsed. The greatest honest one, a desired state of some hundred agents with
/// their beads, is a tenth of this.
inline constexpr std::size_t max_answer_bytes = 8UL * 1024 * 1024;

/// The `data` of an envelope: parsed once, copied for nothing. For decode.hpp, or as text for whoever hands it on.
class answer_data {
public:
  /// One JSON value that stands for `data`, whole. Errors: `too_large`, `corrupt`.
  static result<answer_data> parse(std::string json);

  /// The value as the town wrote it, byte for byte (a checkpoint may hold numbers that no double can).
  std::string_view text() const noexcept;

  const rapidjson::Value& value() const noexcept;

private:
  friend struct envelope_parser;
  struct state;
  explicit answer_data(std::shared_ptr<const state> s);
  std::shared_ptr<const state> state_;
};

/// What the town said to one call.
struct town_answer {
  result<answer_data> data;
  std::optional<std::chrono::seconds> retry_after; ///< of a refusal; 0 to 1 h
};

/// Reads status, body and the value of `Retry-After` (empty: absent; only the form in seconds is read). `route` names
/// the call in errors. A success needs a 2xx status and `{"success":true,"data":…}`: anything else is never taken for
/// an empty answer.
///
/// Errors: `corrupt` (2xx whose body is not the envelope), `too_large` (413, code `too_large`, or more than
/// `max_answer_bytes`), `token_expired`, `unauthorized` (401), `forbidden` (403), `not_found` (404), `fenced` and
/// `conflict` (409), `rate_limited` (429), `timed_out` (408, 504), `unavailable` (5xx), `redirect_refused` (3xx),
/// `invalid_argument` (any other 4xx, with the town's issues). The text is the town's own where it sent an envelope;
/// foreign bodies are shown shortened, on one line and redacted.
town_answer classify(std::string_view route, int status, std::string_view body, std::string_view retry_after);

/// True where the same call may be answered otherwise later: `is_transient`, and answers that could not be read
/// (`corrupt`).
bool is_worth_repeating(error_code code) noexcept;

} // namespace townkeeper::town
