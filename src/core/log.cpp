#include "core/log.hpp"

#include <fmt/core.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "core/secret.hpp"
#include "core/utf8.hpp"
#include "core/wall_clock.hpp"

namespace townkeeper::log {
namespace {

std::atomic<format> current_format{format::json};

std::string_view name(level l) {
  switch (l) {
  case level::debug:
    return "debug";
  case level::info:
    return "info";
  case level::warn:
    return "warn";
  case level::error:
    return "error";
  }
  return "info";
}

spdlog::level::level_enum to_spdlog(level l) {
  switch (l) {
  case level::debug:
    return spdlog::level::debug;
  case level::info:
    return spdlog::level::info;
  case level::warn:
    return spdlog::level::warn;
  case level::error:
    return spdlog::level::err;
  }
  return spdlog::level::info;
}

/// Whatever bytes a field holds, the line stays JSON in UTF-8.
void append_json_string(std::string& out, std::string_view foreign) {
  const auto text = valid_utf8(foreign);
  out += '"';
  for (const char c : text) {
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20) {
        out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      } else {
        out += c;
      }
    }
  }
  out += '"';
}

spdlog::logger& sink() {
  static const auto logger = [] {
    auto l = std::make_shared<spdlog::logger>("townkeeper", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l->set_pattern("%v");
    l->flush_on(spdlog::level::debug);
    return l;
  }();
  return *logger;
}

} // namespace

void configure(format f, level least) {
  current_format = f;
  sink().set_level(to_spdlog(least));
}

void write(level l, std::string_view event, std::initializer_list<field> fields) {
  auto& out = sink();
  if (!out.should_log(to_spdlog(l))) return;
  std::string line;
  if (current_format == format::json) {
    line = fmt::format(R"({{"time":"{}","level":"{}","event":)", wall_clock(), name(l));
    append_json_string(line, redact(std::string(event)));
    for (const auto& [key, value] : fields) {
      line += ',';
      append_json_string(line, key);
      line += ':';
      append_json_string(line, redact(value));
    }
    line += '}';
  } else {
    line = fmt::format("{} {:5} {}", wall_clock(), name(l), redact(std::string(event)));
    for (const auto& [key, value] : fields)
      line += fmt::format(" {}={}", key, redact(value));
    // A person's terminal must not obey what it shows.
    for (auto& c : line)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    line = valid_utf8(line);
  }
  out.log(to_spdlog(l), "{}", line);
}

} // namespace townkeeper::log
