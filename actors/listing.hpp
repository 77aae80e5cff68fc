#pragma once

#include <algorithm>
#include <string>

#include "town/model.hpp"

namespace townkeeper {

/// True where the desired state has this agent in this rig.
inline bool lists(const town::desired_state& desired, const std::string& rig_id, const std::string& agent_id) {
  for (const auto& rig : desired.rigs)
    if (rig.rig_id == rig_id)
      return std::any_of(rig.agents.begin(), rig.agents.end(), [&](const auto& a) { return a.agent_id == agent_id; });
  return false;
}

} // namespace townkeeper
