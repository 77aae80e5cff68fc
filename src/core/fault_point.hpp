#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper {

/// A durable step of the daemon at which the fault-injection harness can kill the process, let the step fail, or delay
/// it (docs/testing.md). Stands right before the step it is named after. Returns 0, or the errno the step is to fail
/// with. Any thread. Compiled in only with `-DTOWNKEEPER_FAULT_POINTS=ON`; otherwise it is the constant 0.
#ifdef TOWNKEEPER_FAULT_POINTS
[[nodiscard]] int fault_point(std::string_view name) noexcept;

/// What `run` reads these two from; no other process acts on them.
constexpr const char* fault_points_variable = "TOWNKEEPER_FAULT_POINTS";
constexpr const char* fault_log_variable = "TOWNKEEPER_FAULT_LOG";

/// Says what shall happen where, once, before other threads exist. `faults` is a list such as
/// `pack-indexed=kill@2,index-written=error:ENOSPC@3+,ready-told=delay:500ms`: the Nth time the point is passed (the
/// first where nothing is said), with `+` from then on. To `log_file`, if there is one, a line with its name is
/// appended for each point that is passed, before what happens there. Errors: `invalid_config`.
result<void> arm_fault_points(std::string_view faults, const std::string& log_file);
#else
[[nodiscard]] constexpr int fault_point(std::string_view) noexcept {
  return 0;
}
#endif

} // namespace townkeeper
