#include "actors/supervisor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>

#include "actors/failure_text.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::seconds expect_timeout{30};
constexpr std::chrono::seconds reread_timeout{10};
constexpr std::chrono::minutes launch_timeout{2};
constexpr std::chrono::seconds credentials_timeout{90};
constexpr int not_restored_retry_seconds = 2;
constexpr int draining_retry_seconds = 10;
constexpr int bug_exit_code = 70;
constexpr int fenced_exit_code = 75;

start_answer not_yet(const std::string& agent_id, std::string why, int retry_after_seconds) {
  return {503, std::nullopt, error{error_code::unavailable, agent_id, std::move(why)}, retry_after_seconds};
}

bool lists(const town::desired_state& desired, const std::string& rig_id, const std::string& agent_id) {
  for (const auto& rig : desired.rigs)
    if (rig.rig_id == rig_id)
      return std::any_of(rig.agents.begin(), rig.agents.end(), [&](const auto& a) { return a.agent_id == agent_id; });
  return false;
}

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

bool is_alive(const std::optional<agent_status>& agent) {
  return agent && (agent->status == "starting" || agent->status == "running" || agent->status == "stopping");
}

} // namespace

supervisor_actor::behavior_type supervisor(supervisor_actor::stateful_pointer<supervisor_state> self,
                                           supervisor_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
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
      [this](start_agent& wanted) { return start(wanted); },
      [this](const stop_agent& wanted) { return stop(wanted); },
      [this](const agent_status_query& query) { return show(query); },
      [this](const git_credentials_query& query) { return answer_credentials(query); },
      [this](const fenced&) { fence(); },
      [this](const child_restart_due& due) { restart(due); },
      [this](const shutdown& why) { shut_down(why); },
      [this](const shutdown_due&) { finish_shutdown(); },
  };
}

// -- the desired state ------------------------------------------------------------------------------------------------

void supervisor_state::take_desired(desired_state_changed& changed) {
  if (draining_ || fenced_) return;
  desired_ = std::move(changed.desired);
  // Health has the new picture before anything of it can report, so that no picture is ever complete too early. Without
  // a handler for the error this actor ends with it: a health actor that does not answer is a bug.
  self_->request(config_.health, expect_timeout, expect{desired_}).then([this](bool) {
    if (!draining_ && !fenced_) apply();
  });
}

void supervisor_state::apply() {
  for (auto& [agent_id, child] : agents_)
    if (!lists(desired_, child.rig_id, agent_id)) retire(agent_id, child);
  for (const auto& spec : desired_.rigs)
    apply_rig(spec);
  drop_empty_rigs();
}

void supervisor_state::apply_rig(const town::rig_spec& spec) {
  auto [it, is_new] = rigs_.try_emplace(spec.rig_id);
  auto& child = it->second;
  const bool changed = is_new || needs_restore(child.spec, spec);
  child.spec = spec;
  if (is_new) spawn_rig(spec.rig_id, child);
  for (const auto& agent : spec.agents)
    apply_agent(spec.rig_id, agent);
  if (changed && child.handle) self_->send(child.handle, restore_rig{child.spec});
}

void supervisor_state::apply_agent(const std::string& rig_id, const town::agent_spec& spec) {
  const auto it = agents_.find(spec.agent_id);
  if (it == agents_.end()) {
    auto& child = agents_[spec.agent_id];
    child.rig_id = rig_id;
    child.spec = spec;
    config_.agent_known(rig_id, spec.agent_id, true);
    spawn_worktree(spec.agent_id, child);
    return;
  }
  auto& child = it->second;
  // One that is leaving (its rig or the town changed its mind) is taken up again when it has left.
  if (child.retiring || child.rig_id != rig_id) return;
  const bool moved = child.spec.branch != spec.branch || child.spec.base_ref != spec.base_ref;
  if (moved && child.running) {
    child.held = spec;
    return;
  }
  child.held.reset();
  child.spec = spec;
  if (moved) child.report.reset();
  if (child.worktree) self_->send(child.worktree, restore_worktree{spec});
}

void supervisor_state::retire(const std::string& agent_id, agent_child& child) {
  if (child.retiring) return;
  child.retiring = true;
  log::info("agent has left the desired state", {{"rig", child.rig_id}, {"agent", agent_id}});
  if (const auto rig = rigs_.find(child.rig_id); rig != rigs_.end() && rig->second.handle)
    self_->send(rig->second.handle, detach_worktree{agent_id});
  if (child.running) {
    caf::anon_send(child.process, stop_agent{agent_id});
    return; // its worktree follows when the process has ended
  }
  retire_worktree_of(child);
}

void supervisor_state::retire_worktree_of(agent_child& child) {
  if (child.worktree) self_->send(child.worktree, retire_worktree{});
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
  process_changed gone;
  gone.process.agent_id = done.agent_id;
  gone.gone = true;
  self_->send(config_.health, std::move(gone));
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
    it = rigs_.erase(it);
  }
}

// -- children ---------------------------------------------------------------------------------------------------------

void supervisor_state::spawn_rig(const std::string& rig_id, rig_child& child) {
  auto config = config_.rig;
  config.rig_id = rig_id;
  config.directory = config_.rigs_directory / rig_id;
  config.seed = random_();
  child.handle = self_->spawn<caf::monitored>(rig, std::move(config));
  for (const auto& [agent_id, agent] : agents_)
    if (agent.rig_id == rig_id && agent.worktree && !agent.retiring)
      self_->send(child.handle, attach_worktree{agent_id, agent.worktree});
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
  self_->send(child.worktree, restore_worktree{child.spec});
  if (const auto rig = rigs_.find(child.rig_id); rig != rigs_.end() && rig->second.handle)
    self_->send(rig->second.handle, attach_worktree{agent_id, child.worktree});
}

void supervisor_state::spawn_process(const std::string& agent_id, agent_child& child) {
  auto config = config_.agent;
  config.rig_id = child.rig_id;
  config.agent_id = agent_id;
  config.state_directory = config_.agent.state_directory / agent_id;
  config.socket = config_.agent.socket / (agent_id + ".sock");
  config.supervisor = caf::actor_cast<caf::actor_addr>(self_);
  child.process = self_->spawn<caf::monitored>(agent, std::move(config));
}

void supervisor_state::child_down(const caf::down_msg& down) {
  if (down.source == config_.health.address() || down.source == config_.town.address() ||
      down.source == config_.executor.address()) {
    if (draining_) return;
    log::failure("an actor the daemon cannot do without has ended", {{"reason", self_->system().render(down.reason)}});
    *config_.exit_code = bug_exit_code;
    self_->quit(down.reason ? down.reason : caf::error{caf::exit_reason::unhandled_exception});
    return;
  }
  for (auto& [rig_id, child] : rigs_) {
    if (!child.handle || child.handle.address() != down.source) continue;
    child.handle = nullptr;
    return crashed("rig", rig_id, child.record, down.reason);
  }
  for (auto& [agent_id, child] : agents_) {
    if (child.worktree && child.worktree.address() == down.source) {
      child.worktree = nullptr;
      if (child.retiring) return finish_retirement({agent_id, {false, "its actor ended before it was removed"}});
      return crashed("worktree", agent_id, child.worktree_record, down.reason);
    }
    if (child.process && child.process.address() == down.source) {
      // Its destructor stops the process group; the next start gets a new actor.
      child.process = nullptr;
      log::failure("actor crashed", {{"actor", "agent/" + agent_id}, {"reason", self_->system().render(down.reason)}});
      config_.restarted("agent");
      town::completed_request body;
      body.status = "failed";
      body.reason = "the actor that watched the process crashed: " + self_->system().render(down.reason);
      if (child.running) self_->send(config_.town, report_completed{child.rig_id, agent_id, std::move(body)});
      return take_idle({agent_id});
    }
  }
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
  auto pause = full_jitter(policy.first, policy.max, count, random_);
  if (count > policy.intensity) {
    pause = policy.after_failure;
    settle_crashed(kind, id, error{error_code::internal, id, "its actor keeps crashing: " + why});
  }
  self_->delayed_send(self_, pause, child_restart_due{kind + "/" + id, ++record.generation});
}

/// A child that keeps crashing is failed for everybody to see, until the slow retry brings it back.
void supervisor_state::settle_crashed(const std::string& kind, const std::string& id, const error& why) {
  if (kind == "rig") {
    town::rig_report report;
    report.rig_id = id;
    report.outcome = town::rig_outcome::failed;
    report.failure = why;
    self_->send(config_.health, rig_progress{id, town::rig_phase::failed, 0, why});
    self_->send(config_.health, rig_settled{std::move(report)});
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
  self_->send(config_.health, agent_settled{child.rig_id, std::move(report)});
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
    self_->send(it->second.handle, restore_rig{it->second.spec});
  } else {
    auto* child = find(id);
    if (child == nullptr || child->worktree || child->worktree_record.generation != due.generation) return;
    spawn_worktree(id, *child);
  }
  config_.restarted(kind);
}

// -- agent processes --------------------------------------------------------------------------------------------------

supervisor_state::agent_child* supervisor_state::find(const std::string& agent_id) {
  const auto it = agents_.find(agent_id);
  return it == agents_.end() ? nullptr : &it->second;
}

supervisor_state::start_promise supervisor_state::start(start_agent& wanted) {
  auto promise = self_->make_response_promise<start_answer>();
  const auto& agent_id = wanted.request.agent_id;
  const auto& rig_id = wanted.request.rig_id;
  if (draining_ || fenced_) {
    promise.deliver(
        not_yet(agent_id, fenced_ ? "this container is fenced" : "this container drains", draining_retry_seconds));
    return promise;
  }
  auto* child = find(agent_id);
  if (child != nullptr && child->rig_id == rig_id) {
    launch(wanted, *child, promise);
    return promise;
  }
  // Perhaps the town knows more than we have heard.
  self_->request(config_.town, reread_timeout, reread_desired_state{})
      .then(
          [promise, agent_id, rig_id](const desired_state_answer& answer) mutable {
            if (!answer.desired)
              promise.deliver(not_yet(agent_id,
                                      "the desired state could not be read: " + to_string(answer.desired.error()),
                                      not_restored_retry_seconds));
            else if (lists(*answer.desired, rig_id, agent_id))
              promise.deliver(not_yet(agent_id, "the agent is being restored", not_restored_retry_seconds));
            else
              promise.deliver(start_answer{
                  404, std::nullopt,
                  error{error_code::not_found, agent_id, "no such agent in rig " + rig_id + " of this town"}, 0});
          },
          [this, promise, agent_id](const caf::error& e) mutable {
            promise.deliver(
                not_yet(agent_id, "the town did not answer: " + self_->system().render(e), not_restored_retry_seconds));
          });
  return promise;
}

void supervisor_state::launch(start_agent& wanted, agent_child& child, start_promise promise) {
  const auto agent_id = wanted.request.agent_id;
  if (child.retiring || !child.report || !town::is_restored(child.report->outcome)) {
    promise.deliver(not_yet(agent_id,
                            child.report && child.report->failure
                                ? "its worktree is not restored: " + to_string(*child.report->failure)
                                : "its worktree is still being restored",
                            not_restored_retry_seconds));
    return;
  }
  if (!child.process) spawn_process(agent_id, child);
  child.running = true; // until the answer says otherwise: nothing may touch the worktree meanwhile
  launch_agent order{std::move(wanted.request), child.spec, child.report->worktree.value_or("")};
  self_->request(child.process, launch_timeout, std::move(order))
      .then(
          [this, promise, agent_id](start_answer& answer) mutable {
            if (auto* known = find(agent_id); known != nullptr && !is_alive(answer.agent)) take_idle({agent_id});
            promise.deliver(std::move(answer));
          },
          [this, promise, agent_id](const caf::error& e) mutable {
            promise.deliver(start_answer{
                500, std::nullopt,
                error{error_code::internal, agent_id, "the start did not end: " + self_->system().render(e)}, 0});
          });
}

supervisor_state::stop_promise supervisor_state::stop(const stop_agent& wanted) {
  auto promise = self_->make_response_promise<stop_answer>();
  auto* child = find(wanted.agent_id);
  if (child == nullptr || !child->process) {
    promise.deliver(stop_answer{child != nullptr});
    return promise;
  }
  self_->request(child->process, launch_timeout, wanted)
      .then([promise](stop_answer answer) mutable { promise.deliver(answer); },
            [promise](const caf::error&) mutable { promise.deliver(stop_answer{true}); });
  return promise;
}

supervisor_state::status_promise supervisor_state::show(const agent_status_query& query) {
  auto promise = self_->make_response_promise<agent_status_answer>();
  auto* child = find(query.agent_id);
  agent_status idle;
  idle.agent_id = query.agent_id;
  idle.status = "idle";
  if (child != nullptr) idle.rig_id = child->rig_id;
  if (child == nullptr || !child->process) {
    promise.deliver(child == nullptr ? agent_status_answer{} : agent_status_answer{idle});
    return promise;
  }
  self_->request(child->process, launch_timeout, query)
      .then([promise](agent_status_answer& answer) mutable { promise.deliver(std::move(answer)); },
            [promise, idle](const caf::error&) mutable { promise.deliver(agent_status_answer{idle}); });
  return promise;
}

supervisor_state::credentials_promise supervisor_state::answer_credentials(const git_credentials_query& query) {
  auto promise = self_->make_response_promise<git_credentials_answer>();
  const auto rig = rigs_.find(query.rig_id);
  if (rig == rigs_.end() || !rig->second.handle) {
    promise.deliver(
        git_credentials_answer{error{error_code::not_found, query.rig_id, "no such rig here"}, std::nullopt});
    return promise;
  }
  self_->request(rig->second.handle, credentials_timeout, query)
      .then([promise](git_credentials_answer& answer) mutable { promise.deliver(std::move(answer)); },
            [this, promise, query](const caf::error& e) mutable {
              promise.deliver(git_credentials_answer{
                  error{error_code::timed_out, query.rig_id, self_->system().render(e)}, std::nullopt});
            });
  return promise;
}

void supervisor_state::take_settled(const worktree_settled& settled) {
  if (auto* child = find(settled.agent_id); child != nullptr && !child->retiring) child->report = settled.report;
}

void supervisor_state::take_idle(const agent_idle& idle) {
  auto* child = find(idle.agent_id);
  if (child == nullptr) return;
  child->running = false;
  if (draining_) {
    const bool all_idle = std::none_of(agents_.begin(), agents_.end(), [](const auto& a) { return a.second.running; });
    if (all_idle) finish_shutdown();
    return;
  }
  if (child->retiring) return retire_worktree_of(*child);
  if (!child->held) return;
  const auto spec = std::move(*child->held);
  child->held.reset();
  apply_agent(child->rig_id, spec);
  if (const auto rig = rigs_.find(child->rig_id); rig != rigs_.end() && rig->second.handle)
    self_->send(rig->second.handle, look_again{idle.agent_id});
}

// -- the end ----------------------------------------------------------------------------------------------------------

void supervisor_state::fence() {
  if (fenced_) return;
  fenced_ = true;
  *config_.exit_code = fenced_exit_code;
  log::failure("a newer container has this town: agents are stopped, nothing is written any more");
  self_->send(config_.health, phase_changed{town::town_phase::fenced, 0});
  stop_all_processes();
}

void supervisor_state::shut_down(const shutdown& why) {
  if (draining_) return finish_shutdown(); // the second signal shortens the waiting
  draining_ = true;
  log::info("stopping", {{"reason", why.reason}});
  self_->send(config_.health, phase_changed{town::town_phase::draining, 0});
  if (!fenced_) self_->send(config_.town, report_eviction{why.reason});
  stop_all_processes();
  if (std::none_of(agents_.begin(), agents_.end(), [](const auto& a) { return a.second.running; }))
    return finish_shutdown();
  self_->delayed_send(self_, config_.shutdown_limit, shutdown_due{});
}

void supervisor_state::stop_all_processes() {
  for (const auto& [agent_id, child] : agents_)
    if (child.running && child.process) caf::anon_send(child.process, stop_agent{agent_id});
}

void supervisor_state::finish_shutdown() {
  self_->send(config_.health, phase_changed{town::town_phase::drained, 0});
  for (auto& [rig_id, child] : rigs_)
    if (child.handle) self_->send_exit(child.handle, caf::exit_reason::user_shutdown);
  for (auto& [agent_id, child] : agents_) {
    if (child.worktree) self_->send_exit(child.worktree, caf::exit_reason::user_shutdown);
    if (child.process) self_->send_exit(child.process, caf::exit_reason::user_shutdown);
  }
  self_->quit(caf::exit_reason::user_shutdown);
}

} // namespace townkeeper
