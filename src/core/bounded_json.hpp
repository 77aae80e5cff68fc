#pragma once

#include <rapidjson/document.h>
#include <rapidjson/encodedstream.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Reading JSON that somebody else wrote. To be included by sources only: it brings RapidJSON with it.
namespace townkeeper {

/// A walk of a document recurses, so its depth must be bounded. Nothing of ours nests deeper than a dozen levels, but a
/// checkpoint may have the 128 that the town takes (town/src/limits.js), and comes back with a few more around it.
inline constexpr std::size_t max_json_depth = 192;

struct json_fault {
  std::size_t offset = 0; ///< bytes from the beginning
  std::string message;
};

namespace detail {

/// Hands every event on to `Next`, but ends the parse where arrays and objects nest too deeply.
template <class Next>
struct depth_limited {
  using Ch = char;
  Next& next;
  std::size_t depth = 0;

  bool Null() { return next.Null(); }
  bool Bool(bool v) { return next.Bool(v); }
  bool Int(int v) { return next.Int(v); }
  bool Uint(unsigned v) { return next.Uint(v); }
  bool Int64(std::int64_t v) { return next.Int64(v); }
  bool Uint64(std::uint64_t v) { return next.Uint64(v); }
  bool Double(double v) { return next.Double(v); }
  bool RawNumber(const char* s, rapidjson::SizeType n, bool copy) { return next.RawNumber(s, n, copy); }
  bool String(const char* s, rapidjson::SizeType n, bool copy) { return next.String(s, n, copy); }
  bool Key(const char* s, rapidjson::SizeType n, bool copy) { return next.Key(s, n, copy); }
  bool StartObject() { return ++depth <= max_json_depth && next.StartObject(); }
  bool EndObject(rapidjson::SizeType n) { return --depth, next.EndObject(n); }
  bool StartArray() { return ++depth <= max_json_depth && next.StartArray(); }
  bool EndArray(rapidjson::SizeType n) { return --depth, next.EndArray(n); }
};

} // namespace detail

/// Parses one JSON text into `into`. Strict (RFC 8259, UTF-8 checked, no comments, nothing after the value, no NUL
/// byte), without recursion. What went wrong, or nothing.
inline std::optional<json_fault> parse_bounded(std::string_view text, rapidjson::Document& into) {
  // RapidJSON takes a NUL byte for the end and would not look at what follows it.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) return json_fault{nul, "a NUL byte"};
  // RapidJSON passes over any of the three bytes of a byte order mark by itself; RFC 8259, 8.1 forbids even the whole.
  if (!text.empty() && std::string_view("\xef\xbb\xbf").find(text.front()) != std::string_view::npos)
    return json_fault{0, "a byte order mark or a part of one"};
  rapidjson::ParseResult outcome;
  const auto generate = [&](auto& document) {
    constexpr unsigned flags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag;
    detail::depth_limited<rapidjson::Document> handler{document};
    rapidjson::MemoryStream bytes(text.data(), text.size());
    rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> stream(bytes);
    rapidjson::Reader reader;
    outcome = reader.Parse<flags>(stream, handler);
    return !outcome.IsError();
  };
  into.Populate(generate);
  if (!outcome.IsError()) return std::nullopt;
  if (outcome.Code() == rapidjson::kParseErrorTermination)
    return json_fault{outcome.Offset(), "arrays and objects nest more than 192 levels deep"};
  return json_fault{outcome.Offset(), rapidjson::GetParseError_En(outcome.Code())};
}

} // namespace townkeeper
