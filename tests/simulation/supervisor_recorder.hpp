#pragma once

#include <memory>
#include <string>
#include <vector>

#include "messages/interfaces.hpp"
#include "messages/lifecycle.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"

namespace townkeeper::simulation {

/// What its children told the supervisor.
struct supervisor_log {
  std::vector<worktree_settled> settled;
  std::vector<worktree_retired> retired;
  std::vector<std::string> idle, gone; ///< agent ids
  std::vector<git::snapshot_job> kept; ///< what an older disk held
  std::vector<keep_disk> keep_orders;  ///< the same, whole
  /// What keeping comes to.
  result<town::recovery_point> keep_outcome = error{error_code::unavailable, "a1", "nothing saves this rig just now"};
};

supervisor_actor spawn_supervisor_recorder(caf::actor_system& system, std::shared_ptr<supervisor_log> log);

/// What one rig was asked by its worktrees.
struct rig_log {
  std::size_t looks = 0;
};

rig_actor spawn_rig_recorder(caf::actor_system& system, std::shared_ptr<rig_log> log);

} // namespace townkeeper::simulation
