#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The text form of a setting's value, the same in a flag, a variable and the file. Nothing here knows which setting it
/// is: "cannot be read" is an empty optional, and the table says what would have been accepted.
namespace townkeeper::config {

/// `0`, or digits with a unit: `250ms`, `10s`, `5m`, `1h`. Empty for anything else and for what does not fit.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The shortest form that `parse_duration` reads back to the same value.
std::string show_duration(std::chrono::milliseconds value);

/// Bytes, or with a unit: `4096`, `16KiB`, `10MiB`, `1GiB`.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// The shortest form that `parse_size` reads back to the same value.
std::string show_size(std::uint64_t bytes);

/// Decimal digits only.
std::optional<std::uint64_t> parse_count(std::string_view text);

/// `true` or `false`.
std::optional<bool> parse_boolean(std::string_view text);

/// A JSON array of strings; with `commas`, also words with commas between them (spaces around a word are dropped).
std::optional<std::vector<std::string>> parse_list(std::string_view text, bool commas);

/// A JSON array of strings.
std::string show_list(const std::vector<std::string>& values);

} // namespace townkeeper::config
