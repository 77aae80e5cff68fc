#include "config/value_text.hpp"

#include <fmt/core.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/bounded_json.hpp"

namespace townkeeper::config {
namespace {

using unit = std::pair<std::string_view, std::uint64_t>;

// Largest first, so that the shortest text is found first.
constexpr std::array<unit, 4> duration_units{{{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<unit, 4> size_units{{{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"", 1}}};

// A thousand years in milliseconds and 8 EiB both stay below this.
constexpr std::uint64_t greatest = 1ULL << 62;

std::optional<std::uint64_t> parse_with_unit(std::string_view text, const std::array<unit, 4>& units) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{}) return std::nullopt;
  const auto word = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const auto& [name, factor] : units) {
    if (word != name) continue;
    if (number > greatest / factor) return std::nullopt;
    return number * factor;
  }
  return std::nullopt;
}

std::string show_with_unit(std::uint64_t value, const std::array<unit, 4>& units) {
  for (const auto& [name, factor] : units)
    if (value != 0 && value % factor == 0) return fmt::format("{}{}", value / factor, name);
  return "0";
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::optional<std::vector<std::string>> parse_json_list(std::string_view text) {
  rapidjson::Document document;
  if (parse_bounded(text, document) || !document.IsArray()) return std::nullopt;
  std::vector<std::string> out;
  for (const auto& item : document.GetArray()) {
    if (!item.IsString()) return std::nullopt;
    out.emplace_back(item.GetString(), item.GetStringLength());
  }
  return out;
}

} // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds{0};
  const auto value = parse_with_unit(text, duration_units);
  if (!value) return std::nullopt;
  return std::chrono::milliseconds{static_cast<std::int64_t>(*value)};
}

std::string show_duration(std::chrono::milliseconds value) {
  return show_with_unit(static_cast<std::uint64_t>(value.count()), duration_units);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  return parse_with_unit(text, size_units);
}

std::string show_size(std::uint64_t bytes) {
  return show_with_unit(bytes, size_units);
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<bool> parse_boolean(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

std::optional<std::vector<std::string>> parse_list(std::string_view text, bool commas) {
  if (text.starts_with('[')) return parse_json_list(text);
  if (!commas) return std::nullopt;
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    out.emplace_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return out;
}

std::string show_list(const std::vector<std::string>& values) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartArray();
  for (const auto& value : values)
    writer.String(value);
  writer.EndArray();
  return {buffer.GetString(), buffer.GetSize()};
}

} // namespace townkeeper::config
