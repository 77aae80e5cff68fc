#pragma once

#include <chrono>
#include <string>

namespace townkeeper {

/// A moment in UTC with milliseconds (RFC 3339): `2026-11-22T12:00:00.000Z`. For people; never for order.
std::string rfc3339(std::chrono::system_clock::time_point at);

/// Now.
std::string wall_clock();

} // namespace townkeeper
