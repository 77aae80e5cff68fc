#include "cli/checkpoint_body.hpp"

#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <optional>

#include "core/bounded_json.hpp"
#include "core/utf8.hpp"
#include "town/json_writer.hpp"

namespace townkeeper::cli {
namespace {

constexpr std::string_view blanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

/// Walks a history and remembers where the value of the first entry's `data` begins and ends.
struct data_finder : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, data_finder> {
  explicit data_finder(const rapidjson::MemoryStream& s)
      : stream(s) {}

  const rapidjson::MemoryStream& stream;
  std::size_t depth = 0;
  std::optional<std::size_t> begin, end;

  bool Default() { return take_end(0); }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    if (depth == 2 && !begin && std::string_view(text, length) == "data") begin = stream.Tell();
    return true;
  }
  bool StartObject() { return ++depth <= max_json_depth; }
  bool StartArray() { return ++depth <= max_json_depth; }
  bool EndObject(rapidjson::SizeType) { return --depth, take_end(1); }
  bool EndArray(rapidjson::SizeType) { return --depth, take_end(1); }

private:
  /// `unread`: the bracket that ends an object or array, which the iterative parser takes only after its event.
  bool take_end(std::size_t unread) {
    if (depth == 2 && begin && !end) end = stream.Tell() + unread;
    return true;
  }
};

} // namespace

result<std::string> checkpoint_body(std::string_view given, bool as_text) {
  const auto json = trimmed(given);
  if (json.empty())
    return error{error_code::invalid_argument, "checkpoint",
                 "there is nothing to save; to clear the checkpoint, say null"};
  constexpr std::string_view head = R"({"data":)";
  rapidjson::Document read;
  const auto fault = parse_bounded(json, read);
  if (!as_text && !fault) return std::string(head).append(json).append("}");
  if (!as_text && (json.front() == '{' || json.front() == '['))
    return error{error_code::invalid_argument, "checkpoint",
                 "this begins like JSON and is none (byte " + std::to_string(fault->offset) + ": " + fault->message +
                     "); mend it, or say --text"};
  if (valid_utf8(given) != given) return error{error_code::invalid_argument, "checkpoint", "this is not UTF-8"};
  town::json_writer out;
  out.begin_object();
  out.member("data", as_text ? given : json);
  out.end_object();
  return out.text();
}

result<std::string> newest_checkpoint(std::string_view history) {
  rapidjson::MemoryStream stream(history.data(), history.size());
  data_finder finder(stream);
  constexpr unsigned flags =
      rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;
  const auto walked = rapidjson::Reader{}.Parse<flags>(stream, finder);
  if (walked.IsError() || trimmed(history).front() != '[' || finder.begin.has_value() != finder.end.has_value())
    return error{error_code::corrupt, "checkpoints", "the answer is no checkpoint history"};
  if (!finder.begin) return std::string("null");
  const auto after_key = history.substr(*finder.begin, *finder.end - *finder.begin);
  return std::string(trimmed(after_key.substr(after_key.find(':') + 1)));
}

} // namespace townkeeper::cli
