#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "git/recovery_tools.hpp"
#include "town/decode.hpp"

namespace townkeeper::cli {

/// Which points may go, and why the others of the same town stay.
struct finished_points {
  struct entry {
    git::listed_point point;
    town::finished_agent agent;
  };
  std::vector<entry> old;
  std::vector<std::string> staying; ///< one line each
};

/// Of `points`, those of agents of town `town_id` that are finished, taken more than `older_than` before `now`. A point
/// whose age is not known stays, and so does every point of an agent that the town does not call finished.
finished_points choose_finished(const std::vector<git::listed_point>& points,
                                const std::vector<town::finished_agent>& finished, const std::string& town_id,
                                std::chrono::system_clock::time_point now, std::chrono::milliseconds older_than);

} // namespace townkeeper::cli
