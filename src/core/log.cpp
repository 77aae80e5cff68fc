#include "core/log.hpp"

#include <fmt/chrono.h>
#include <fmt/core.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "core/secret.hpp"

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

void append_json_string(std::string& out, std::string_view text) {
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

std::string now_utc() {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms);
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
    line = fmt::format(R"({{"time":"{}","level":"{}","event":)", now_utc(), name(l));
    append_json_string(line, event);
    for (const auto& [key, value] : fields) {
      line += ',';
      append_json_string(line, key);
      line += ':';
      append_json_string(line, redact(value));
    }
    line += '}';
  } else {
    line = fmt::format("{} {:5} {}", now_utc(), name(l), event);
    for (const auto& [key, value] : fields)
      line += fmt::format(" {}={}", key, redact(value));
    for (auto& c : line)
      if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  out.log(to_spdlog(l), "{}", line);
}

} // namespace townkeeper::log
