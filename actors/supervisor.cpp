#include "actors/supervisor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>
#include <vector>

#include "actors/failure_text.hpp"
#include "actors/listing.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::seconds expect_timeout{30};
constexpr std::chrono::seconds predecessor_poll{1};

/// True where the repository has to be looked at again: another remote, or other branches.
bool needs_restore(const town::rig_spec& old, const town::rig_spec& wanted) {
  const auto branches = [](const town::rig_spec& spec) {
    std::set<std::pair<std::string, std::string>> all;
    for (const auto& a : spec.agents)
      all.emplace(a.branch, a.base_ref.value_or(""));
    return all;
  };
  return old.git_url != wanted.git_url || old.default_branch != wanted.default_branch ||
         branches(old) != branches(wanted);
}

} // namespace

supervisor_actor::behavior_type supervisor(supervisor_actor::stateful_pointer<supervisor_state> self,
                                           supervisor_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

supervisor_state::~supervisor_state() {
  const auto end = [](const auto& child) {
    if (child) caf::anon_send_exit(child, caf::exit_reason::user_shutdown);
  };
  for (const auto& [rig_id, child] : rigs_) {
    end(child.handle);
    end(child.saver);
  }
  for (const auto& [agent_id, child] : agents_) {
    end(child.worktree);
    end(child.process);
    end(child.keeper);
  }
}

supervisor_actor::behavior_type supervisor_state::make_behavior(supervisor_config config) {
  config_ = std::move(config);
  random_.seed(config_.seed);
  self_->set_down_handler([this](const caf::down_msg& down) { child_down(down); });
  self_->monitor(config_.health);
  self_->monitor(config_.town);
  self_->monitor(config_.executor);
  self_->send(config_.town,
              boot_town{caf::actor_cast<caf::actor_addr>(self_), caf::actor_cast<caf::actor_addr>(config_.health)});
  return {
      [this](desired_state_changed& changed) { take_desired(changed); },
      [this](const worktree_settled& settled) { take_settled(settled); },
      [this](const worktree_retired& done) { finish_retirement(done); },
      [this](const agent_idle& idle) { take_idle(idle); },
      [this](keep_disk& wanted) { return keep(wanted); },
      [this](const process_gone& gone) { take_gone(gone); },
      [this](start_agent& wanted) { return start(wanted); },
      [this](const stop_agent& wanted) { return stop(wanted); },
      [this](const agent_status_query& query) { return show(query); },
      [this](const git_credentials_query& query) { return answer_credentials(query); },
      [this](const snapshot_query& query) { return save_for(query); },
      [this](const fenced&) { fence(); },
      [this](const child_restart_due& due) { restart(due); },
      [this](const predecessor_due&) { ask_after_predecessor(); },
      [this](const shutdown& why) { shut_down(why); },
      [this](const shutdown_due&) { save_difference(); },
  };
}

// -- the desired state ------------------------------------------------------------------------------------------------

void supervisor_state::take_desired(desired_state_changed& changed) {
  if (draining_ || fenced_) return;
  desired_ = std::move(changed.desired);
  wait_for_predecessor();
  converge();
}

/// While an older container still drains, what it saves last is newer than what the remote has: worktrees wait for it,
/// repositories do not. At most for a while, at boot.
void supervisor_state::wait_for_predecessor() {
  if (std::exchange(booted_, true) || !desired_.old_container || !desired_.old_container->draining) return;
  log::info("an older container still drains: worktrees wait for what it saves",
            {{"epoch", std::to_string(desired_.old_container->epoch)}});
  predecessor_deadline_ = self_->clock().now() + config_.predecessor_limit;
  self_->delayed_send(self_, predecessor_poll, predecessor_due{});
}

void supervisor_state::ask_after_predecessor() {
  if (draining_ || fenced_ || !predecessor_deadline_) return;
  if (self_->clock().now() >= *predecessor_deadline_) {
    log::warn("the older container still drains; what it saves from now on is listed as kept");
    predecessor_deadline_.reset();
    return converge();
  }
  self_->delayed_send(self_, predecessor_poll, predecessor_due{});
  self_->request(config_.town, predecessor_poll * 5, reread_desired_state{})
      .then(
          [this](desired_state_answer& answer) {
            if (!answer.desired || !predecessor_deadline_ || draining_ || fenced_) return;
            if (answer.desired->old_container && answer.desired->old_container->draining) return;
            predecessor_deadline_.reset();
            desired_ = std::move(*answer.desired);
            converge();
          },
          [](const caf::error&) {});
}

/// Health has the new picture before anything of it can report, so that no picture is ever complete too early. A health
/// actor that does not answer is a bug.
void supervisor_state::converge() {
  self_->request(config_.health, expect_timeout, expect{desired_})
      .then(
          [this](bool) {
            if (!draining_ && !fenced_) apply();
          },
          [this](const caf::error& e) { give_up_daemon(e, true); });
}

void supervisor_state::apply() {
  std::vector<std::string> leaving;
  for (const auto& [agent_id, child] : agents_)
    if (!lists(desired_, child.rig_id, agent_id)) leaving.push_back(agent_id);
  for (const auto& agent_id : leaving)
    retire(agent_id);
  for (const auto& spec : desired_.rigs)
    apply_rig(spec);
  drop_empty_rigs();
}

void supervisor_state::apply_rig(const town::rig_spec& spec) {
  auto [it, is_new] = rigs_.try_emplace(spec.rig_id);
  auto& child = it->second;
  const bool adds = std::any_of(spec.agents.begin(), spec.agents.end(),
                                [this](const auto& agent) { return !agents_.contains(agent.agent_id); });
  const bool changed = is_new || adds || needs_restore(child.spec, spec) || waits_for_point(child.spec, spec);
  child.spec = spec;
  if (is_new) spawn_rig(spec.rig_id, child);
  // The rig hears it first: what its worktrees are told to wait for has then begun, and the remote is listed anew.
  if (changed && child.handle) self_->send(child.handle, restore_rig{child.spec, restored_agents(spec.rig_id)});
  tell_saver(child);
  if (predecessor_deadline_) return;
  for (const auto& agent : spec.agents)
    apply_agent(spec, agent);
}

/// An agent that is not restored has another recovery point on its record, or none any more: an operator accepted a
/// loss.
bool supervisor_state::waits_for_point(const town::rig_spec& old, const town::rig_spec& wanted) const {
  const auto restored = restored_agents(wanted.rig_id);
  return std::any_of(wanted.agents.begin(), wanted.agents.end(), [&](const town::agent_spec& agent) {
    const auto before =
        std::find_if(old.agents.begin(), old.agents.end(), [&](const auto& a) { return a.agent_id == agent.agent_id; });
    return !restored.contains(agent.agent_id) && before != old.agents.end() && before->recovery != agent.recovery;
  });
}

std::set<std::string> supervisor_state::restored_agents(const std::string& rig_id) const {
  std::set<std::string> ids;
  for (const auto& [agent_id, child] : agents_)
    if (child.rig_id == rig_id && child.report && town::is_restored(child.report->outcome)) ids.insert(agent_id);
  return ids;
}

void supervisor_state::apply_agent(const town::rig_spec& rig, const town::agent_spec& spec) {
  const auto it = agents_.find(spec.agent_id);
  if (it == agents_.end()) {
    auto& child = agents_[spec.agent_id];
    child.rig_id = rig.rig_id;
    child.spec = spec;
    child.git_url = rig.git_url;
    config_.agent_known(rig.rig_id, spec.agent_id, true);
    spawn_worktree(spec.agent_id, child);
    return;
  }
  auto& child = it->second;
  // One that is leaving (its rig or the town changed its mind) is taken up again when it has left.
  if (child.retiring || child.rig_id != rig.rig_id) return;
  const bool is_restored = child.report && town::is_restored(child.report->outcome);
  const bool moved = child.spec.branch != spec.branch || child.git_url != rig.git_url ||
                     (child.spec.base_ref != spec.base_ref && !is_restored);
  child.held = moved && child.busy();
  if (child.held) {
    if (child.report) self_->send(config_.health, agent_settled{child.rig_id, *child.report, child.git_url, true});
    return;
  }
  child.spec = spec;
  child.git_url = rig.git_url;
  if (moved) child.report.reset();
  if (!moved) protect_worktree(spec.agent_id, child);
  if (child.worktree) self_->send(child.worktree, restore_worktree{spec, child.git_url});
}

void supervisor_state::retire(const std::string& agent_id) {
  auto* child = find(agent_id);
  if (child == nullptr || child->retiring) return;
  child->retiring = true;
  log::info("agent has left the desired state", {{"rig", child->rig_id}, {"agent", agent_id}});
  if (const auto rig = rigs_.find(child->rig_id); rig != rigs_.end() && rig->second.handle)
    self_->send(rig->second.handle, detach_worktree{agent_id});
  if (child->busy()) {
    if (child->process) caf::anon_send(child->process, stop_agent{agent_id});
    return; // its worktree follows when the process has ended
  }
  retire_worktree_of(agent_id, *child);
}

/// What it holds is saved first: what a removal keeps on the disk is gone with the disk. When its keeper has ended, or
/// has had its time, this is called again. `child` may not live any longer than this call.
void supervisor_state::retire_worktree_of(const std::string& agent_id, agent_child& child) {
  if (!child.keeper) protect_worktree(agent_id, child); // it crashed while the agent was leaving
  if (const auto rig = rigs_.find(child.rig_id);
      !child.keeper && config_.protect && child.protection && rig != rigs_.end() && !rig->second.saver) {
    child.awaits_saver = true; // called again at its restart
    return;
  }
  if (child.keeper) {
    child.last_protection = std::exchange(child.protection, std::nullopt);
    self_->send(child.keeper, stop_protecting{});
    caf::delayed_anon_send(caf::actor_cast<caf::actor>(child.keeper), config_.save_deadline,
                           caf::exit_msg{self_->address(), caf::exit_reason::user_shutdown});
    return;
  }
  if (child.worktree) return self_->send(child.worktree, retire_worktree{});
  finish_retirement({agent_id, {false, "its actor ended before it was removed"}});
}

void supervisor_state::finish_retirement(const worktree_retired& done) {
  const auto it = agents_.find(done.agent_id);
  if (it == agents_.end() || !it->second.retiring) return;
  if (done.removal.removed) {
    log::info("worktree removed", {{"rig", it->second.rig_id}, {"agent", done.agent_id}});
  } else {
    log::warn("worktree kept",
              {{"rig", it->second.rig_id}, {"agent", done.agent_id}, {"because", done.removal.kept_because}});
  }
  config_.agent_known(it->second.rig_id, done.agent_id, false);
  process_changed left;
  left.process.agent_id = done.agent_id;
  left.gone = true;
  self_->send(config_.health, std::move(left));
  if (it->second.protection) {
    // Nobody could save it any more, and no keeper says that it is gone.
    protection_changed unprotected;
    unprotected.agent_id = done.agent_id;
    unprotected.gone = true;
    self_->send(config_.health, std::move(unprotected));
  }
  if (it->second.process) self_->send_exit(it->second.process, caf::exit_reason::user_shutdown);
  agents_.erase(it);
  if (!draining_ && !fenced_) apply();
}

void supervisor_state::drop_empty_rigs() {
  for (auto it = rigs_.begin(); it != rigs_.end();) {
    const auto& rig_id = it->first;
    const bool wanted =
        std::any_of(desired_.rigs.begin(), desired_.rigs.end(), [&](const auto& r) { return r.rig_id == rig_id; });
    const bool used =
        std::any_of(agents_.begin(), agents_.end(), [&](const auto& a) { return a.second.rig_id == rig_id; });
    if (wanted || used) {
      ++it;
      continue;
    }
    if (it->second.handle) self_->send_exit(it->second.handle, caf::exit_reason::user_shutdown);
    if (it->second.saver) self_->send_exit(it->second.saver, caf::exit_reason::user_shutdown);
    it = rigs_.erase(it);
  }
}

supervisor_state::agent_child* supervisor_state::find(const std::string& agent_id) {
  const auto it = agents_.find(agent_id);
  return it == agents_.end() ? nullptr : &it->second;
}

} // namespace townkeeper
