#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

namespace townkeeper::faults {

/// Every name that a source file below these directories passes to `fault_point("…")`.
std::set<std::string> fault_points_in(const std::filesystem::path& sources);

/// How often each point was passed, by a daemon's log (`TOWNKEEPER_FAULT_LOG`).
std::map<std::string, int> passed_points(const std::filesystem::path& log);

} // namespace townkeeper::faults
