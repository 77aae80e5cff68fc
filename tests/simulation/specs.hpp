#pragma once

#include <string>
#include <utility>
#include <vector>

#include "town/model.hpp"

/// Short ways to say what a town holds.
namespace townkeeper::simulation {

inline town::agent_spec agent_on(std::string agent_id, std::string branch) {
  town::agent_spec a;
  a.agent_id = std::move(agent_id);
  a.name = a.agent_id;
  a.role = "polecat";
  a.status = "restoring";
  a.branch = std::move(branch);
  return a;
}

/// An agent on the branch `work/<agentId>`.
inline town::agent_spec agent_of(std::string agent_id) {
  auto branch = "work/" + agent_id;
  return agent_on(std::move(agent_id), std::move(branch));
}

inline town::rig_spec rig_of(std::string rig_id, std::vector<town::agent_spec> agents = {}) {
  town::rig_spec r;
  r.rig_id = std::move(rig_id);
  r.name = r.rig_id;
  r.git_url = "https://git.example/" + r.rig_id + ".git";
  r.default_branch = "main";
  r.agents = std::move(agents);
  return r;
}

inline town::desired_state town_of(std::vector<town::rig_spec> rigs, std::int64_t version = 1) {
  town::desired_state d;
  d.version = version;
  d.epoch = 1;
  d.rigs = std::move(rigs);
  return d;
}

} // namespace townkeeper::simulation
