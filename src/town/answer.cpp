#include "town/answer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include "core/bounded_json.hpp"
#include "core/secret.hpp"
#include "core/utf8.hpp"
#include "town/object_reader.hpp"

namespace townkeeper::town {

struct answer_data::state {
  std::string body;
  rapidjson::Document document;
  const rapidjson::Value* value = nullptr;
  std::string_view text;
};

namespace {

/// Where the value that begins at `at` ends. The text is known to be valid JSON, so that brackets outside strings
/// balance.
std::size_t end_of_value(std::string_view json, std::size_t at) {
  std::size_t depth = 0;
  bool quoted = false;
  for (; at < json.size(); ++at) {
    const char c = json[at];
    if (quoted) {
      if (c == '\\') ++at;
      quoted = c != '"' && quoted;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}' || c == ',') {
      if (depth == 0) return at;
      if (c != ',') --depth;
    }
  }
  return at;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto begin = std::min(text.find_first_not_of(blanks), text.size());
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

/// The text of the first member `key` of an object that is known to be valid JSON.
std::string_view member_text(std::string_view json, std::string_view key) {
  for (auto at = json.find('{') + 1; at < json.size();) {
    const auto end = end_of_value(json, at); // of the whole member: a colon is nothing special
    const auto one = trimmed(json.substr(at, end - at));
    const auto name_end = one.find('"', 1);
    if (one.size() > key.size() + 2 && one.substr(1, name_end - 1) == key)
      return trimmed(one.substr(one.find(':', name_end) + 1));
    at = end + 1;
  }
  return {};
}

/// Foreign text for an error: one line, valid, short, without secrets.
std::string excerpt(std::string_view body) {
  constexpr std::size_t longest = 200;
  auto text = valid_utf8(redact_beginning(body, longest * 4));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, ' ');
  return clipped_utf8(text, longest);
}

error_code code_of(int status, std::string_view word) {
  if (word == "fenced") return error_code::fenced;
  if (word == "too_large" || status == 413) return error_code::too_large;
  switch (status) {
  case 401:
    return word == "token_expired" ? error_code::token_expired : error_code::unauthorized;
  case 403:
    return error_code::forbidden;
  case 404:
    return error_code::not_found;
  case 408:
  case 504:
    return error_code::timed_out;
  case 409:
    return error_code::conflict;
  case 429:
    return error_code::rate_limited;
  default:
    break;
  }
  if (status >= 500 && status < 600) return error_code::unavailable;
  if (status >= 300 && status < 400) return error_code::redirect_refused;
  if (status >= 400 && status < 500) return error_code::invalid_argument;
  return error_code::corrupt;
}

std::string issues_text(const rapidjson::Value* issues) {
  std::string out;
  constexpr rapidjson::SizeType shown = 5;
  for (rapidjson::SizeType i = 0; issues != nullptr && i < std::min(issues->Size(), shown); ++i) {
    object_reader issue((*issues)[i], "issue");
    const auto path = issue.text("path");
    const auto message = issue.text("message");
    if (issue.ok()) out += fmt::format("; {}: {}", path, message);
  }
  return out;
}

error refusal(std::string_view route, int status, std::string_view body) {
  rapidjson::Document document;
  const bool parsed = body.size() <= max_answer_bytes && !parse_bounded(body, document) && document.IsObject();
  if (!parsed)
    return {
        code_of(status, {}), std::string(route),
        fmt::format("HTTP {} without the town's envelope: {}", status, body.empty() ? "empty body" : excerpt(body))};
  object_reader envelope(document, {});
  const auto word = envelope.optional_text("code").value_or("");
  const auto text = envelope.optional_text("error").value_or("no reason given");
  const auto issues = issues_text(envelope.find_array("issues"));
  return {code_of(status, word), std::string(route),
          fmt::format("HTTP {}{}{}: {}", status, word.empty() ? "" : " ", excerpt(word), excerpt(text + issues))};
}

std::optional<std::chrono::seconds> read_retry_after(std::string_view text) {
  constexpr std::uint64_t most = 3600;
  std::uint64_t seconds = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return std::chrono::seconds(std::min(seconds, most));
}

} // namespace

/// Makes the state of an `answer_data` out of a body; tells where the data is through `locate(document, text)`.
struct envelope_parser {
  template <class Locate>
  static result<answer_data> parse(std::string_view route, std::string body, Locate locate) {
    if (body.size() > max_answer_bytes)
      return error{error_code::too_large, std::string(route),
                   fmt::format("the body has {} bytes, more than the {} that are read", body.size(), max_answer_bytes)};
    auto state = std::make_shared<answer_data::state>();
    state->body = std::move(body);
    if (const auto fault = parse_bounded(state->body, state->document))
      return error{
          error_code::corrupt, std::string(route),
          fmt::format("the body is not JSON: {} at byte {} of {}", fault->message, fault->offset, state->body.size())};
    state->value = &state->document;
    state->text = trimmed(state->body);
    if (auto wrong = locate(*state); !wrong.empty())
      return error{error_code::corrupt, std::string(route), std::move(wrong)};
    return answer_data(std::move(state));
  }

  static result<answer_data> parse_envelope(std::string_view route, std::string_view body) {
    return parse(route, std::string(body), [](answer_data::state& s) -> std::string {
      if (!s.document.IsObject()) return "the body is JSON, but not the town's envelope";
      const auto success = s.document.FindMember("success");
      if (success == s.document.MemberEnd() || !success->value.IsTrue())
        return "the answer has a status of success, but does not say \"success\":true";
      const auto data = s.document.FindMember("data");
      if (data == s.document.MemberEnd()) return "the answer says success, but holds no data";
      s.value = &data->value;
      s.text = member_text(s.body, "data");
      return s.text.empty() ? "the envelope's keys are written with escapes" : "";
    });
  }
};

answer_data::answer_data(std::shared_ptr<const state> s)
    : state_(std::move(s)) {}

result<answer_data> answer_data::parse(std::string json) {
  return envelope_parser::parse({}, std::move(json), [](const state&) { return std::string{}; });
}

std::string_view answer_data::text() const noexcept {
  return state_->text;
}

const rapidjson::Value& answer_data::value() const noexcept {
  return *state_->value;
}

town_answer classify(std::string_view route, int status, std::string_view body, std::string_view retry_after) {
  if (status >= 200 && status < 300) return {envelope_parser::parse_envelope(route, body), std::nullopt};
  return {refusal(route, status, body), read_retry_after(retry_after)};
}

bool is_worth_repeating(error_code code) noexcept {
  return is_transient(code) || code == error_code::corrupt;
}

} // namespace townkeeper::town
