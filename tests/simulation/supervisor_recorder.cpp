#include "supervisor_recorder.hpp"

#include <caf/typed_event_based_actor.hpp>

#include "messages/protection.hpp"
#include "messages/town.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper::simulation {
namespace {

struct supervisor_recorder_state {
  static inline const char* name = "supervisor_recorder";
};

supervisor_actor::behavior_type supervisor_recorder(supervisor_actor::stateful_pointer<supervisor_recorder_state>,
                                                    std::shared_ptr<supervisor_log> log) {
  return {
      [](const desired_state_changed&) {},
      [=](const worktree_settled& s) { log->settled.push_back(s); },
      [=](const worktree_retired& r) { log->retired.push_back(r); },
      [=](const agent_idle& idle) { log->idle.push_back(idle.agent_id); },
      [=](const process_gone& gone) { log->gone.push_back(gone.agent_id); },
      [](const start_agent&) { return start_answer{}; },
      [](const stop_agent&) { return stop_answer{}; },
      [](const agent_status_query&) { return agent_status_answer{}; },
      [](const git_credentials_query&) {
        return git_credentials_answer{error{}, std::nullopt};
      },
      [](const snapshot_query&) { return snapshot_answer{}; },
      [=](const keep_disk& wanted) {
        log->kept.push_back(wanted.job);
        log->keep_orders.push_back(wanted);
        if (!log->keep_outcome) return keep_disk_answer{log->keep_outcome.error()};
        return keep_disk_answer{std::optional{*log->keep_outcome}};
      },
      [](const predecessor_due&) {},
      [](const fenced&) {},
      [](const child_restart_due&) {},
      [](const shutdown&) {},
      [](const shutdown_due&) {},
  };
}

struct rig_recorder_state {
  static inline const char* name = "rig_recorder";
};

rig_actor::behavior_type rig_recorder(rig_actor::stateful_pointer<rig_recorder_state>, std::shared_ptr<rig_log> log) {
  return {
      [](const restore_rig&) {},
      [](const attach_worktree&) {},
      [](const detach_worktree&) {},
      [=](const look_again&) { ++log->looks; },
      [](const forget_point&) {},
      [](const repository_result&) {},
      [](const git_credentials_query&) {
        return git_credentials_answer{error{}, std::nullopt};
      },
      [](const retry_due&) {},
  };
}

} // namespace

supervisor_actor spawn_supervisor_recorder(caf::actor_system& system, std::shared_ptr<supervisor_log> log) {
  return system.spawn(supervisor_recorder, std::move(log));
}

rig_actor spawn_rig_recorder(caf::actor_system& system, std::shared_ptr<rig_log> log) {
  return system.spawn(rig_recorder, std::move(log));
}

} // namespace townkeeper::simulation
