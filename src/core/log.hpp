#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.hpp"

namespace townkeeper::log {

enum class format { json, text };
enum class level { debug, info, warn, error };

/// One key with its value, as it stands in the JSON object of a log line.
using field = std::pair<std::string_view, std::string>;

/// Sets format and least level; to be called once, before threads start. Default: JSON on stderr, info.
void configure(format f, level least);

/// One line: `{"time":…,"level":…,"event":…, fields…}` (or text), redacted at the sink. Thread-safe.
/// `event` is a short constant phrase; what varies goes into the fields.
void write(level l, std::string_view event, std::initializer_list<field> fields = {});

inline void debug(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::debug, event, fields);
}
inline void info(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::info, event, fields);
}
inline void warn(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::warn, event, fields);
}
inline void failure(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::error, event, fields);
}

} // namespace townkeeper::log
