#include "actors/supervisor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <string>
#include <utility>
#include <vector>

#include "actors/agent_socket.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

constexpr int bug_exit_code = 70;

} // namespace

// -- children ---------------------------------------------------------------------------------------------------------

void supervisor_state::spawn_rig(const std::string& rig_id, rig_child& child) {
  auto config = config_.rig;
  config.rig_id = rig_id;
  config.directory = config_.rigs_directory / rig_id;
  config.seed = random_();
  child.handle = self_->spawn<caf::monitored>(rig, std::move(config));
  child.record.started = self_->clock().now();
  for (const auto& [agent_id, agent] : agents_)
    if (agent.rig_id == rig_id && agent.worktree && !agent.retiring)
      self_->send(child.handle, attach_worktree{agent_id, agent.worktree});
  if (!child.saver) spawn_saver(rig_id, child);
}

void supervisor_state::spawn_saver(const std::string& rig_id, rig_child& child) {
  auto config = config_.saver;
  config.rig_id = rig_id;
  config.epoch = desired_.epoch;
  config.supervisor = caf::actor_cast<caf::actor_addr>(self_);
  config.seed = random_();
  child.saver = self_->spawn<caf::monitored>(saver, std::move(config));
  child.saver_record.started = self_->clock().now();
  tell_saver(child);
}

void supervisor_state::tell_saver(const rig_child& child) {
  if (child.saver) self_->send(child.saver, protect_rig{child.spec, child.repository});
}

void supervisor_state::spawn_keeper(const std::string& agent_id, agent_child& child) {
  const auto rig = rigs_.find(child.rig_id);
  if (rig == rigs_.end() || !rig->second.saver) return; // its saver's restart brings it
  auto config = config_.keeper;
  config.rig_id = child.rig_id;
  config.agent_id = agent_id;
  config.saver = rig->second.saver;
  config.seed = random_();
  child.keeper = self_->spawn<caf::monitored>(keeper, std::move(config));
  child.keeper_record.started = self_->clock().now();
}

/// The keeper of a restored worktree, told what it protects.
void supervisor_state::protect_worktree(const std::string& agent_id, agent_child& child) {
  if (!config_.protect || !child.protection) return;
  child.protection->spec = child.spec;
  child.protection->git_url = child.git_url;
  child.protection->agent_branches.clear();
  if (const auto rig = rigs_.find(child.rig_id); rig != rigs_.end())
    for (const auto& agent : rig->second.spec.agents)
      child.protection->agent_branches.insert(agent.branch);
  if (!child.keeper) spawn_keeper(agent_id, child);
  if (child.keeper) self_->send(child.keeper, *child.protection);
}

supervisor_state::keep_promise supervisor_state::keep(keep_disk& wanted) {
  auto promise = self_->make_response_promise<keep_disk_answer>();
  const auto rig = rigs_.find(wanted.job.rig_id);
  const auto agent_id = wanted.job.agent_id;
  if (rig == rigs_.end() || !rig->second.saver) {
    promise.deliver(keep_disk_answer{error{error_code::unavailable, agent_id, "nothing saves this rig just now"}});
    return promise;
  }
  rig->second.repository = wanted.job.repository;
  tell_saver(rig->second);
  self_->request(rig->second.saver, caf::infinite, std::move(wanted))
      .then([promise](keep_disk_answer& answer) mutable { promise.deliver(std::move(answer)); },
            [this, promise, agent_id](const caf::error& e) mutable {
              promise.deliver(keep_disk_answer{error{error_code::internal, agent_id, self_->system().render(e)}});
            });
  return promise;
}

void supervisor_state::spawn_worktree(const std::string& agent_id, agent_child& child) {
  auto config = config_.worktree;
  config.rig_id = child.rig_id;
  config.agent_id = agent_id;
  config.directory = config_.rigs_directory / child.rig_id / "worktrees" / agent_id;
  config.supervisor = caf::actor_cast<caf::actor_addr>(self_);
  config.seed = random_();
  if (child.report && town::is_restored(child.report->outcome)) config.settled = child.report;
  child.worktree = self_->spawn<caf::monitored>(worktree, std::move(config));
  child.worktree_record.started = self_->clock().now();
  self_->send(child.worktree, restore_worktree{child.spec, child.git_url});
  if (const auto rig = rigs_.find(child.rig_id); rig != rigs_.end() && rig->second.handle)
    self_->send(rig->second.handle, attach_worktree{agent_id, child.worktree});
}

void supervisor_state::spawn_process(const std::string& agent_id, agent_child& child) {
  auto config = config_.agent;
  config.rig_id = child.rig_id;
  config.agent_id = agent_id;
  config.state_directory = config_.agent.state_directory / agent_id;
  config.socket = agent_socket_path(config_.agent.socket, agent_id);
  config.supervisor = caf::actor_cast<caf::actor_addr>(self_);
  config.started = dispatched_[agent_id];
  child.process = self_->spawn<caf::monitored>(agent, std::move(config));
}

void supervisor_state::child_down(const caf::down_msg& down) {
  if (down.source == config_.health.address() || down.source == config_.town.address() ||
      down.source == config_.executor.address())
    return give_up_daemon(down.reason, down.source != config_.executor.address());
  for (auto& [rig_id, child] : rigs_) {
    if (child.handle && child.handle.address() == down.source) {
      child.handle = nullptr;
      return crashed("rig", rig_id, child.record, down.reason);
    }
    if (child.saver && child.saver.address() == down.source) {
      child.saver = nullptr;
      return crashed("saver", rig_id, child.saver_record, down.reason);
    }
  }
  for (auto& [agent_id, child] : agents_) {
    if (child.worktree && child.worktree.address() == down.source)
      return worktree_down(std::string{agent_id}, child, down.reason);
    if (child.keeper && child.keeper.address() == down.source) {
      child.keeper = nullptr;
      // One that leaves and still works is protected to its end.
      if (!child.retiring || child.protection) return crashed("keeper", agent_id, child.keeper_record, down.reason);
      if (!child.busy()) retire_worktree_of(std::string{agent_id}, child);
      return;
    }
    if (child.process && child.process.address() == down.source)
      return process_down(std::string{agent_id}, child, down.reason);
  }
}

void supervisor_state::worktree_down(const std::string& agent_id, agent_child& child, const caf::error& reason) {
  child.worktree = nullptr;
  if (!child.retiring) return crashed("worktree", agent_id, child.worktree_record, reason);
  if (!child.busy()) retire_worktree_of(agent_id, child);
}

/// Its destructor stops the process group. The next start gets a new actor, but not before the process has ended: the
/// runner says so.
void supervisor_state::process_down(const std::string& agent_id, agent_child& child, const caf::error& reason) {
  child.process = nullptr;
  const auto why = self_->system().render(reason);
  log::failure("actor crashed", {{"actor", "agent/" + agent_id}, {"reason", why}});
  config_.restarted("agent");
  child.crash = why;
  if (child.lives && !child.gone) return tell_process(agent_id, child, "stopping");
  bury(agent_id, child);
}

/// What can still be saved is.
void supervisor_state::give_up_daemon(const caf::error& reason, bool can_save) {
  const auto why = reason ? reason : caf::error{caf::exit_reason::unhandled_exception};
  if (draining_ && can_save) return; // what is under way goes on without it
  if (!draining_) {
    log::failure("an actor the daemon cannot do without has ended", {{"reason", self_->system().render(reason)}});
    *config_.exit_code = bug_exit_code;
  }
  if (!can_save) return self_->quit(why);
  draining_ = true;
  save_all([this, why] { self_->quit(why); });
}

void supervisor_state::crashed(const std::string& kind, const std::string& id, child_record& record,
                               const caf::error& reason) {
  if (draining_) return;
  const auto why = self_->system().render(reason);
  const auto now = self_->clock().now();
  const auto& policy = config_.supervision;
  record.crashes.push_back(now);
  while (now - record.crashes.front() > policy.window)
    record.crashes.pop_front();
  const auto count = static_cast<std::uint32_t>(record.crashes.size());
  log::failure("actor crashed", {{"actor", kind + "/" + id}, {"reason", why}, {"in_window", std::to_string(count)}});
  record.failed = count >= policy.intensity || (record.failed && now - record.started <= policy.window);
  auto pause = full_jitter(policy.first, policy.max, count, random_);
  if (record.failed) {
    pause = policy.after_failure;
    settle_crashed(kind, id, error{error_code::internal, id, "its actor keeps crashing: " + why});
  }
  self_->delayed_send(self_, pause, child_restart_due{kind + "/" + id, ++record.generation});
}

/// A child that keeps crashing is failed for everybody to see, until the slow retry brings it back.
void supervisor_state::settle_crashed(const std::string& kind, const std::string& id, const error& why) {
  if (kind == "saver") return; // its keepers say so
  if (kind == "keeper") {
    protection_changed unprotected;
    unprotected.agent_id = id;
    unprotected.unsaved_since = agents_.at(id).keeper_record.started;
    unprotected.failure = why;
    self_->send(config_.health, std::move(unprotected));
    return;
  }
  if (kind == "rig") {
    town::rig_report report;
    report.rig_id = id;
    report.outcome = town::rig_outcome::failed;
    report.failure = why;
    self_->send(config_.health, rig_progress{id, town::rig_phase::failed, 0, why});
    self_->send(config_.health, rig_settled{std::move(report), rigs_.at(id).spec.git_url});
    for (const auto& [agent_id, child] : agents_)
      if (child.rig_id == id && child.worktree) self_->send(child.worktree, repository_failed{why, true});
    return;
  }
  auto& child = agents_.at(id);
  if (child.report && town::is_restored(child.report->outcome)) return; // the worktree itself is in order
  town::agent_report report;
  report.agent_id = id;
  report.outcome = town::agent_outcome::failed;
  report.code = std::string{to_string(why.code)};
  report.branch = child.spec.branch;
  report.failure = why;
  report.note = "The worktree could not be restored: " + why.message + ".";
  child.report = report;
  self_->send(config_.health, agent_settled{child.rig_id, std::move(report), child.git_url, false});
}

void supervisor_state::restart(const child_restart_due& due) {
  if (draining_ || fenced_) return;
  const auto slash = due.key.find('/');
  const auto kind = due.key.substr(0, slash);
  const auto id = due.key.substr(slash + 1);
  if (kind == "rig") {
    const auto it = rigs_.find(id);
    if (it == rigs_.end() || it->second.handle || it->second.record.generation != due.generation) return;
    spawn_rig(id, it->second);
    self_->send(it->second.handle, restore_rig{it->second.spec, restored_agents(id)});
  } else if (kind == "saver") {
    const auto it = rigs_.find(id);
    if (it == rigs_.end() || it->second.saver || it->second.saver_record.generation != due.generation) return;
    spawn_saver(id, it->second);
    std::vector<std::string> leaving;
    for (auto& [agent_id, child] : agents_) {
      if (child.rig_id != id) continue;
      // A keeper knows one saver for its whole life.
      if (const auto old = std::exchange(child.keeper, nullptr)) {
        self_->demonitor(old.address());
        self_->send_exit(old, caf::exit_reason::user_shutdown);
        if (child.retiring && !child.protection) { // it was saving for the last time
          child.protection = child.last_protection;
          child.awaits_saver = true;
        }
      }
      if (std::exchange(child.awaits_saver, false))
        leaving.push_back(agent_id);
      else
        protect_worktree(agent_id, child);
    }
    for (const auto& agent_id : leaving)
      if (auto* child = find(agent_id)) retire_worktree_of(agent_id, *child);
  } else if (kind == "keeper") {
    auto* child = find(id);
    if (child == nullptr || child->keeper || child->keeper_record.generation != due.generation) return;
    protect_worktree(id, *child);
  } else {
    auto* child = find(id);
    if (child == nullptr || child->retiring || child->worktree || child->worktree_record.generation != due.generation)
      return;
    spawn_worktree(id, *child);
  }
  config_.restarted(kind);
}

} // namespace townkeeper
