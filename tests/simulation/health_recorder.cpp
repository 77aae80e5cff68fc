#include "health_recorder.hpp"

#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <utility>

#include "messages/type_ids.hpp"

namespace townkeeper::simulation {
namespace {

struct recorder_state {
  static inline const char* name = "health_recorder";
  health_actor real;
};

using recorder_pointer = health_actor::stateful_pointer<recorder_state>;

health_actor::behavior_type recorder(recorder_pointer self, std::shared_ptr<health_log> log, health_actor real) {
  self->state.real = std::move(real);
  const auto heard = [=](const std::string& speaker) {
    if (self->current_sender()) log->speakers[speaker] = caf::actor_cast<caf::actor_addr>(self->current_sender());
  };
  const auto pass_on = [=](const auto& what) {
    if (self->state.real) self->send(self->state.real, what);
  };
  return {
      [=](const expect& wanted) {
        log->expected.push_back(wanted);
        auto promise = self->make_response_promise<bool>();
        if (log->hold_expect) {
          log->held.push_back(promise);
        } else if (self->state.real) {
          self->request(self->state.real, caf::infinite, wanted).then([promise](bool ok) mutable {
            promise.deliver(ok);
          });
        } else {
          promise.deliver(true);
        }
        return promise;
      },
      [=](const rig_progress& p) {
        if (p.phase != town::rig_phase::failed) heard("rig/" + p.rig_id);
        log->rigs.push_back(p);
        pass_on(p);
      },
      [=](const rig_transfer& t) { pass_on(t); },
      [=](const rig_settled& s) {
        log->rigs_settled.push_back(s);
        pass_on(s);
      },
      [=](const worktree_progress& p) {
        heard("worktree/" + p.agent_id);
        log->worktrees.push_back(p);
        pass_on(p);
      },
      [=](const agent_settled& s) {
        log->settled.push_back(s);
        if (log->on_settled) log->on_settled(s);
        pass_on(s);
      },
      [=](const process_changed& p) {
        if (p.process.status == "starting" || p.process.status == "running") heard("agent/" + p.process.agent_id);
        log->processes.push_back(p);
        pass_on(p);
      },
      [=](const phase_changed& p) {
        log->phases.push_back(p);
        pass_on(p);
      },
      [=](const trouble& t) { pass_on(t); },
      [=](const protection_changed& p) {
        heard("keeper/" + p.agent_id);
        log->protection.push_back(p);
        pass_on(p);
      },
      [=](const publish_due&) {
        log->hold_expect = false;
        for (auto& promise : std::exchange(log->held, {}))
          promise.deliver(true);
      },
      [](const heartbeat_query&) { return heartbeat_facts{}; },
  };
}

} // namespace

town::agent_outcome health_log::outcome_of(const std::string& agent_id) const {
  for (auto it = settled.rbegin(); it != settled.rend(); ++it)
    if (it->report.agent_id == agent_id) return it->report.outcome;
  return town::agent_outcome::restoring;
}

town::rig_outcome health_log::outcome_of_rig(const std::string& rig_id) const {
  for (auto it = rigs_settled.rbegin(); it != rigs_settled.rend(); ++it)
    if (it->report.rig_id == rig_id) return it->report.outcome;
  return town::rig_outcome::restoring;
}

std::vector<town::rig_phase> health_log::phases_of_rig(const std::string& rig_id) const {
  std::vector<town::rig_phase> seen;
  for (const auto& p : rigs)
    if (p.rig_id == rig_id && (seen.empty() || seen.back() != p.phase)) seen.push_back(p.phase);
  return seen;
}

std::string health_log::process_of(const std::string& agent_id) const {
  for (auto it = processes.rbegin(); it != processes.rend(); ++it)
    if (it->process.agent_id == agent_id) return it->gone ? "gone" : it->process.status;
  return "";
}

health_actor spawn_health_recorder(caf::actor_system& system, std::shared_ptr<health_log> log, health_actor real) {
  return system.spawn(recorder, std::move(log), std::move(real));
}

} // namespace townkeeper::simulation
