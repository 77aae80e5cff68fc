#include <fmt/core.h>

#include "git/recovery.hpp"

namespace townkeeper::git {

std::string point_prefix(std::string_view town_id, std::string_view agent_id) {
  return fmt::format("{}{}/{}/", point_namespace, town_id, agent_id);
}

std::string point_ref(std::string_view town_id, std::string_view agent_id, std::int64_t epoch) {
  return point_prefix(town_id, agent_id) + std::to_string(epoch);
}

std::string kept_point_ref(std::string_view town_id, std::string_view agent_id, std::int64_t epoch, std::int64_t seq) {
  return fmt::format("{}kept/{}-{}", point_prefix(town_id, agent_id), epoch, seq);
}

bool is_kept_point(std::string_view ref) noexcept {
  // The last part but one. An agent may be called "kept" as well.
  const auto last = ref.rfind('/');
  return last != std::string_view::npos && ref.substr(0, last).ends_with("/kept") &&
         ref.find_first_not_of("0123456789", last + 1) != std::string_view::npos;
}

} // namespace townkeeper::git
