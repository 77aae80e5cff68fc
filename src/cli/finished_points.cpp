#include "cli/finished_points.hpp"

#include <algorithm>

namespace townkeeper::cli {

finished_points choose_finished(const std::vector<git::listed_point>& points,
                                const std::vector<town::finished_agent>& finished, const std::string& town_id,
                                std::chrono::system_clock::time_point now, std::chrono::milliseconds older_than) {
  finished_points out;
  for (const auto& point : points) {
    const auto stays = [&](const std::string& why) { out.staying.push_back(point.ref + ": " + why); };
    const auto agent = std::find_if(finished.begin(), finished.end(),
                                    [&](const auto& each) { return each.agent_id == point.agent_id; });
    if (point.town_id != town_id) {
      stays("of town " + point.town_id);
    } else if (agent == finished.end()) {
      stays("the agent is not finished, or not known to the town");
    } else if (const auto taken = point.details ? town::parse_time(point.details->point.saved_at) : std::nullopt;
               !taken) {
      stays("when it was taken cannot be read");
    } else if (now - *taken <= older_than) {
      stays("taken at " + point.details->point.saved_at);
    } else {
      out.old.push_back({point, *agent});
    }
  }
  return out;
}

} // namespace townkeeper::cli
