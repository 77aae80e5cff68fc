#include "core/wall_clock.hpp"

#include <fmt/chrono.h>

namespace townkeeper {

std::string rfc3339(std::chrono::system_clock::time_point at) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(at)), ms);
}

std::string wall_clock() {
  return rfc3339(std::chrono::system_clock::now());
}

} // namespace townkeeper
