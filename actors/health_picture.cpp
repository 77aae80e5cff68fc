#include <algorithm>
#include <map>
#include <optional>

#include "actors/health.hpp"

/// The health actor's second part: what it knows, as the document that is published, as numbers, and as a heartbeat.
namespace townkeeper {
namespace {

using seconds_d = std::chrono::duration<double>;

/// What part of a worktree's way lies behind it, by phase; within `files` the files count.
double fraction(const town::agent_health& a) {
  switch (a.phase) {
  case town::agent_phase::waiting:
    return 0;
  case town::agent_phase::branch:
    return 0.1;
  case town::agent_phase::files:
    return a.files_total > 0 ? 0.1 + 0.8 * static_cast<double>(a.files_done) / static_cast<double>(a.files_total) : 0.1;
  case town::agent_phase::recovery:
    return 0.9;
  case town::agent_phase::verifying:
    return 0.95;
  case town::agent_phase::done:
    return 1;
  case town::agent_phase::retrying:
    return 0.1;
  }
  return 0;
}

double fraction(const town::rig_health& r) {
  if (r.phase == town::rig_phase::ready) return 1;
  return r.total_objects > 0
             ? std::min(1.0, static_cast<double>(r.received_objects) / static_cast<double>(r.total_objects))
             : 0;
}

} // namespace

town::health_document health_state::picture() const {
  town::health_document doc;
  doc.phase = phase_;
  doc.epoch = epoch_;
  doc.instance_id = config_.instance_id;
  doc.started_at = started_at_;
  if (!ready_at_.empty()) doc.ready_at = ready_at_;
  doc.progress = progress();
  doc.uptime_seconds = seconds_since_start();
  doc.draining = phase_ == town::town_phase::draining || phase_ == town::town_phase::drained;
  doc.trouble = trouble_;
  doc.set_aside = set_aside_;
  const auto now = self_->clock().now();
  for (const auto& [rig_id, rig] : rigs_) {
    auto shown = rig.shown;
    if (!rig.report) shown.elapsed_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - rig.begun).count();
    for (const auto& [agent_id, a] : rig.agents)
      shown.agents.push_back(a.shown);
    doc.rigs.push_back(std::move(shown));
  }
  for (const auto& [agent_id, p] : processes_)
    doc.processes.push_back(p.shown);
  doc.unsaved_age_seconds = oldest_unsaved_age();
  for (const auto& [agent_id, p] : protection_)
    doc.protection.push_back(p.shown);
  return doc;
}

double health_state::unsaved_age(const protection_entry& p) const {
  if (!p.unsaved_since) return 0;
  return std::max(0.0, seconds_d{self_->clock().now() - *p.unsaved_since}.count());
}

double health_state::oldest_unsaved_age() const {
  double oldest = 0;
  for (const auto& [agent_id, p] : protection_)
    oldest = std::max(oldest, unsaved_age(p));
  return oldest;
}

double health_state::progress() const {
  if (converged_) return 1;
  if (!expecting_ || rigs_.empty()) return 0;
  double sum = 0;
  for (const auto& [rig_id, rig] : rigs_) {
    const double repository = rig.report ? 1 : fraction(rig.shown);
    double worktrees = rig.agents.empty() ? repository : 0;
    for (const auto& [agent_id, a] : rig.agents)
      worktrees += (a.report ? 1 : fraction(a.shown)) / static_cast<double>(rig.agents.size());
    sum += (repository + worktrees) / 2;
  }
  best_progress_ = std::max(best_progress_, sum / static_cast<double>(rigs_.size()));
  // 1 is said only when all has converged.
  return std::min(best_progress_, 0.999);
}

void health_state::count_states() const {
  std::map<std::string_view, std::int64_t> rigs, agents;
  for (const auto phase : {town::rig_phase::waiting, town::rig_phase::checking, town::rig_phase::fetching,
                           town::rig_phase::ready, town::rig_phase::retrying, town::rig_phase::failed})
    rigs[town::to_string(phase)] = 0;
  for (const auto outcome :
       {town::agent_outcome::restoring, town::agent_outcome::restored, town::agent_outcome::recovered,
        town::agent_outcome::diverged, town::agent_outcome::branch_missing, town::agent_outcome::failed})
    agents[town::to_string(outcome)] = 0;
  for (const auto& [rig_id, rig] : rigs_) {
    ++rigs[town::to_string(rig.shown.phase)];
    for (const auto& [agent_id, a] : rig.agents)
      ++agents[town::to_string(a.report ? a.report->outcome : town::agent_outcome::restoring)];
  }
  for (const auto& [state, n] : rigs)
    config_.metrics->set_rigs(state, n);
  for (const auto& [state, n] : agents)
    config_.metrics->set_agents(state, n);
}

heartbeat_facts health_state::heartbeat() const {
  heartbeat_facts facts;
  const auto age_of = [&](const std::string& agent_id) -> std::optional<double> {
    const auto p = protection_.find(agent_id);
    if (p == protection_.end()) return std::nullopt;
    return unsaved_age(p->second);
  };
  for (const auto& [agent_id, p] : processes_)
    facts.agents.push_back(
        {agent_id, p.shown.status,
         p.shown.pid && config_.last_activity_at ? config_.last_activity_at(*p.shown.pid) : p.last_activity_at,
         age_of(agent_id)});
  // A worktree is watched also while no process works in it.
  for (const auto& [agent_id, p] : protection_)
    if (!processes_.contains(agent_id)) facts.agents.push_back({agent_id, "idle", "", unsaved_age(p)});
  return facts;
}

} // namespace townkeeper
