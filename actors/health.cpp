#include "actors/health.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <array>

#include "actors/failure_text.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

using seconds_d = std::chrono::duration<double>;

bool is_last_phase(town::town_phase p) {
  return p == town::town_phase::draining || p == town::town_phase::drained || p == town::town_phase::fenced;
}

} // namespace

health_actor::behavior_type health(health_actor::stateful_pointer<health_state> self, health_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

health_actor::behavior_type health_state::make_behavior(health_config config) {
  config_ = std::move(config);
  started_ = self_->clock().now();
  started_at_ = config_.wall_clock();
  publish();
  schedule(config_.idle_interval);
  return {
      [this](expect& wanted) { return take_over(wanted); },
      [this](rig_progress& p) { take(p); },
      [this](const rig_transfer& t) { take(t); },
      [this](rig_settled& s) { take(s); },
      [this](const worktree_progress& p) { take(p); },
      [this](agent_settled& s) { take(s); },
      [this](process_changed& p) { take(p); },
      [this](const phase_changed& p) { take(p); },
      [this](trouble& t) {
        trouble_ = std::move(t.reason);
        changed();
      },
      [this](protection_changed& p) { take(p); },
      [this](const publish_due&) { tick(); },
      [this](const heartbeat_query&) { return heartbeat(); },
  };
}

// -- what is expected -------------------------------------------------------------------------------------------------

bool health_state::take_over(expect& wanted) {
  const auto now = self_->clock().now();
  if (!expecting_) {
    expected_at_ = now;
    config_.metrics->restore_took("boot", seconds_since_start());
  }
  expecting_ = true;
  desired_version_ = wanted.desired.version;
  epoch_ = wanted.desired.epoch;
  std::map<std::string, rig_entry> rigs;
  for (auto& spec : wanted.desired.rigs) {
    auto& entry = rigs[spec.rig_id];
    if (const auto old = rigs_.find(spec.rig_id); old != rigs_.end()) entry = std::move(old->second);
    const bool other_remote = entry.git_url != spec.git_url; // or not known before
    if (other_remote) {
      entry.git_url = spec.git_url;
      entry.report.reset();
      entry.shown = {};
      entry.shown.rig_id = spec.rig_id;
      entry.begun = now;
      entry.counted_bytes = 0;
    }
    std::map<std::string, agent_entry> agents;
    for (auto& agent : spec.agents) {
      auto& a = agents[agent.agent_id];
      if (const auto known = entry.agents.find(agent.agent_id); known != entry.agents.end())
        a = std::move(known->second);
      if (a.report && (other_remote || a.report->branch != agent.branch)) {
        a.report.reset();
        a.shown = {};
      }
      a.shown.agent_id = agent.agent_id;
      a.shown.branch = agent.branch;
    }
    entry.agents = std::move(agents);
  }
  rigs_ = std::move(rigs);
  set_aside_ = std::move(wanted.desired.set_aside);
  for (const auto& entry : set_aside_)
    log::warn("set aside", {{"rig", entry.rig_id}, {"agent", entry.agent_id}, {"reason", entry.reason}});
  if (!converged_ && !is_last_phase(phase_)) phase_ = town::town_phase::restoring;
  settled();
  return true;
}

// -- progress and outcomes --------------------------------------------------------------------------------------------

void health_state::take(rig_progress& p) {
  const auto it = rigs_.find(p.rig_id);
  if (it == rigs_.end()) return;
  auto& rig = it->second;
  if (p.phase == town::rig_phase::fetching) rig.counted_bytes = 0;
  // A rig that settled as failed stays so while it is tried again: an operator is not to see it flicker.
  const bool failed = rig.report && rig.report->outcome == town::rig_outcome::failed;
  const bool retry = p.phase == town::rig_phase::checking || p.phase == town::rig_phase::fetching;
  rig.shown.phase = failed && retry ? town::rig_phase::failed : p.phase;
  rig.shown.attempts = p.attempts;
  if (!(failed && retry)) rig.shown.failure = std::move(p.failure);
  changed();
}

void health_state::take(const rig_transfer& t) {
  const auto it = rigs_.find(t.rig_id);
  if (it == rigs_.end()) return;
  auto& rig = it->second;
  config_.metrics->add_fetched_bytes(t.received_bytes - rig.counted_bytes);
  rig.counted_bytes = std::max(rig.counted_bytes, t.received_bytes);
  rig.shown.received_bytes = t.received_bytes;
  rig.shown.received_objects = t.received_objects;
  rig.shown.total_objects = t.total_objects;
  changed();
}

void health_state::take(rig_settled& s) {
  const auto it = rigs_.find(s.report.rig_id);
  if (it == rigs_.end() || it->second.git_url != s.git_url) return;
  it->second.shown.elapsed_ms = s.report.duration_ms;
  it->second.shown.failure = s.report.failure;
  it->second.report = std::move(s.report);
  settled();
}

void health_state::take(const worktree_progress& p) {
  auto* a = find(p.rig_id, p.agent_id);
  if (a == nullptr) return;
  a->shown.phase = p.phase;
  a->shown.files_done = p.files_done;
  a->shown.files_total = p.files_total;
  // One that settled as failed says why until it has another outcome.
  const bool failed = a->report && !town::is_restored(a->report->outcome);
  if (p.failure || !failed) a->shown.failure = p.failure;
  changed();
}

void health_state::take(agent_settled& s) {
  auto* a = find(s.rig_id, s.report.agent_id);
  if (a == nullptr) return;
  const bool expected = s.report.branch == a->shown.branch && s.git_url == rigs_.at(s.rig_id).git_url;
  if (!expected && !s.held) return;
  a->shown.phase = town::agent_phase::done;
  a->shown.branch = s.report.branch;
  a->shown.commit = s.report.commit;
  a->shown.outcome = s.report.outcome;
  a->shown.code = s.report.code;
  a->shown.failure = s.report.failure;
  a->report = std::move(s.report);
  settled();
}

void health_state::take(process_changed& p) {
  if (p.gone) {
    processes_.erase(p.process.agent_id);
  } else {
    auto& entry = processes_[p.process.agent_id]; // before the id is moved from
    entry = {std::move(p.process), std::move(p.last_activity_at)};
  }
  changed();
}

void health_state::take(const phase_changed& p) {
  if (p.epoch > 0) epoch_ = p.epoch;
  const bool earlier =
      expecting_ && (p.phase == town::town_phase::booting || p.phase == town::town_phase::reading_state);
  if (!earlier && !(is_last_phase(phase_) && !is_last_phase(p.phase))) phase_ = p.phase;
  // The phase decides whether the daemon is ready: published at once.
  publish();
}

void health_state::take(protection_changed& p) {
  if (p.gone) {
    protection_.erase(p.agent_id);
  } else {
    auto& entry = protection_[p.agent_id];
    // The keeper that follows a crashed one counts from its own beginning, until that is saved. What was unsaved before
    // is still in it: the earlier moment stands.
    if (auto teller = caf::actor_cast<caf::actor_addr>(self_->current_sender()); teller != entry.teller) {
      entry.teller = std::move(teller);
      const bool is_later = entry.unsaved_since && p.unsaved_since && *p.unsaved_since > *entry.unsaved_since;
      entry.successor_began = is_later ? p.unsaved_since : std::nullopt;
    }
    if (!p.unsaved_since || p.unsaved_since != entry.successor_began) {
      entry.successor_began.reset();
      entry.unsaved_since = p.unsaved_since;
    }
    entry.shown = {std::move(p.agent_id), std::move(p.last_saved_at), p.dirty_files, std::move(p.failure)};
  }
  changed();
}

health_state::agent_entry* health_state::find(const std::string& rig_id, const std::string& agent_id) {
  const auto rig = rigs_.find(rig_id);
  if (rig == rigs_.end()) return nullptr;
  const auto a = rig->second.agents.find(agent_id);
  return a == rig->second.agents.end() ? nullptr : &a->second;
}

// -- convergence ------------------------------------------------------------------------------------------------------

bool health_state::all_settled() const {
  if (!expecting_) return false;
  return std::all_of(rigs_.begin(), rigs_.end(), [](const auto& r) {
    return r.second.report && std::all_of(r.second.agents.begin(), r.second.agents.end(),
                                          [](const auto& a) { return a.second.report.has_value(); });
  });
}

bool health_state::all_restored() const {
  return set_aside_.empty() && std::all_of(rigs_.begin(), rigs_.end(), [](const auto& r) {
           return r.second.report && r.second.report->outcome == town::rig_outcome::ready &&
                  std::all_of(r.second.agents.begin(), r.second.agents.end(), [](const auto& a) {
                    return a.second.report && town::is_restored(a.second.report->outcome);
                  });
         });
}

/// Something settled, or the expectation changed: says it to the town, at once when that completes the picture.
void health_state::settled() {
  report_due_ = true;
  const bool repositories =
      expecting_ && std::all_of(rigs_.begin(), rigs_.end(), [](const auto& r) { return r.second.report.has_value(); });
  if (repositories && repositories_at_ == caf::actor_clock::time_point{}) {
    repositories_at_ = self_->clock().now();
    config_.metrics->restore_took("repositories", seconds_d{repositories_at_ - expected_at_}.count());
  }
  if (all_settled()) return converge();
  changed();
  schedule(config_.report_interval);
}

void health_state::converge() {
  const bool restored = all_restored();
  const bool first = !converged_;
  if (first) {
    converged_ = true;
    ready_at_ = config_.wall_clock();
    config_.metrics->restore_took("worktrees", seconds_d{self_->clock().now() - repositories_at_}.count());
    config_.metrics->restore_took("total", seconds_since_start());
    log::info("converged",
              {{"outcome", restored ? "ready" : "degraded"}, {"seconds", std::to_string(seconds_since_start())}});
  }
  const auto before = phase_;
  if (!is_last_phase(phase_)) phase_ = restored ? town::town_phase::ready : town::town_phase::degraded;
  if (first || phase_ != before) {
    publish();
  } else {
    changed();
  }
  if (first || self_->clock().now() - last_report_ >= config_.report_interval) return say_ready();
  schedule(config_.report_interval);
}

void health_state::say_ready() {
  report_due_ = false;
  last_report_ = self_->clock().now();
  town::ready_report report;
  report.instance_id = config_.instance_id;
  report.desired_version = desired_version_;
  report.outcome = !all_settled() ? "partial" : all_restored() ? "ready" : "degraded";
  report.duration_ms = std::chrono::duration_cast<std::chrono::milliseconds>(self_->clock().now() - started_).count();
  for (const auto& [rig_id, rig] : rigs_) {
    town::rig_report unsettled;
    unsettled.rig_id = rig_id;
    report.rigs.push_back(rig.report.value_or(unsettled));
    for (const auto& [agent_id, a] : rig.agents) {
      town::agent_report waiting;
      waiting.agent_id = agent_id;
      waiting.branch = a.shown.branch;
      report.agents.push_back(a.report.value_or(waiting));
    }
  }
  for (const auto& entry : set_aside_) {
    const error why{error_code::invalid_argument, entry.agent_id.empty() ? entry.rig_id : entry.agent_id, entry.reason};
    if (entry.agent_id.empty() && !entry.rig_id.empty()) {
      town::rig_report rig;
      rig.rig_id = entry.rig_id;
      rig.outcome = town::rig_outcome::failed;
      rig.failure = why;
      report.rigs.push_back(std::move(rig));
    } else if (!entry.agent_id.empty()) {
      town::agent_report agent;
      agent.agent_id = entry.agent_id;
      agent.outcome = town::agent_outcome::failed;
      agent.code = std::string{to_string(why.code)};
      agent.failure = why;
      agent.note = "The town's record of this agent could not be taken: " + entry.reason + ".";
      report.agents.push_back(std::move(agent));
    }
  }
  self_->send(config_.town, report_ready{std::move(report)});
}

// -- publishing -------------------------------------------------------------------------------------------------------

void health_state::changed() {
  dirty_ = true;
  schedule(config_.publish_interval);
}

/// One timer matters at a time, the earliest; one that fires before it is due was overtaken and is ignored.
void health_state::schedule(std::chrono::milliseconds pause) {
  const auto due = self_->clock().now() + pause;
  if (next_tick_ && *next_tick_ <= due) return;
  next_tick_ = due;
  self_->delayed_send(self_, pause, publish_due{});
}

void health_state::tick() {
  const auto now = self_->clock().now();
  if (next_tick_ && now < *next_tick_) return;
  next_tick_.reset();
  const bool idle = now - last_published_ >= config_.idle_interval;
  if (dirty_ || idle) publish();
  if (report_due_) {
    const auto since = now - last_report_;
    if (since >= config_.report_interval) {
      say_ready();
    } else {
      schedule(std::chrono::duration_cast<std::chrono::milliseconds>(config_.report_interval - since) +
               std::chrono::milliseconds{1});
    }
  }
  if (!converged_ && expecting_ && now - last_progress_ >= config_.progress_interval) {
    last_progress_ = now;
    self_->send(config_.town, report_progress{*config_.published->read()->document});
  }
  schedule(config_.idle_interval);
}

void health_state::publish() {
  dirty_ = false;
  last_published_ = self_->clock().now();
  const auto doc = picture();
  auto next = std::make_shared<health_snapshot>();
  next->document = std::make_shared<const std::string>(town::encode(doc));
  next->phase = phase_;
  next->converged = converged_;
  next->all_restored = converged_ && all_restored();
  next->epoch = epoch_;
  config_.metrics->set_ready(converged_ && !is_last_phase(phase_));
  config_.metrics->set_unsaved_age(doc.unsaved_age_seconds);
  count_states();
  config_.published->publish(std::move(next));
}

double health_state::seconds_since_start() const {
  return seconds_d{self_->clock().now() - started_}.count();
}

} // namespace townkeeper
