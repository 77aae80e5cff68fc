#include "actors/saver.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>

#include "actors/failure_text.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

/// The saver's first part: who is saved when, and the snapshots. (saver_pushes.cpp: what the remote says.)
namespace townkeeper {

saver_actor::behavior_type saver(saver_actor::stateful_pointer<saver_state> self, saver_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

saver_state::~saver_state() {
  for (auto& [id, r] : rounds_)
    if (r.cancel) *r.cancel = true;
}

saver_actor::behavior_type saver_state::make_behavior(saver_config config) {
  config_ = std::move(config);
  return {
      [this](protect_rig& rig) { take(rig); },
      [this](save_wanted& want) { take(want); },
      [this](keep_disk& wanted) { return keep(wanted); },
      [this](delete_refs& old) {
        to_delete_.merge(old.refs);
        delete_old_refs();
      },
      [this](snapshot_result& done) { take(done); },
      [this](push_result& done) { take(done); },
      [this](delete_result& done) { take(done); },
      [this](const save_due& due) {
        if (due.generation != wake_generation_) return;
        next_wake_.reset();
        pump();
      },
  };
}

// -- what is wanted ---------------------------------------------------------------------------------------------------

void saver_state::take(protect_rig& rig) {
  // What another remote has says nothing of this one.
  if (spec_.git_url != rig.spec.git_url) {
    acknowledged_.clear();
    login_.reset();
  }
  spec_ = std::move(rig.spec);
  if (!rig.repository.empty()) repository_ = std::move(rig.repository);
  pump();
}

void saver_state::take(save_wanted& want) {
  auto& entry = wanted_[want.agent_id];
  if (entry.want.ticket == 0 || (want.urgent && !entry.want.urgent) || (entry.want.offered && !want.offered))
    entry.since = self_->clock().now();
  if (entry.want.ticket > 0) {
    want.urgent |= entry.want.urgent;
    want.offered &= entry.want.offered;
    want.even_if_clean |= entry.want.even_if_clean;
    want.claim |= entry.want.claim;
    if (want.kind == "auto") want.kind = entry.want.kind;
    want.replaces.merge(entry.want.replaces);
  }
  entry.want = std::move(want);
  // Somebody asks for all there is: a refusal may have been lifted.
  const auto known = acknowledged_.find(entry.want.agent_id);
  if (entry.want.kind != "auto" && known != acknowledged_.end()) forget_refusal(known->second);
  pump();
}

saver_state::keep_promise saver_state::keep(keep_disk& wanted) {
  auto promise = self_->make_response_promise<keep_disk_answer>();
  const auto agent_id = wanted.job.agent_id;
  if (taking_.contains(agent_id)) {
    promise.deliver(keep_disk_answer{error{error_code::unavailable, agent_id, "it is being saved; ask again"}});
    return promise;
  }
  const auto id = ++last_round_;
  auto& r = rounds_[id];
  r.late = true;
  r.begun = self_->clock().now();
  auto& what = r.items[agent_id];
  what.want.agent_id = agent_id;
  what.want.job = std::move(wanted.job);
  what.want.kind = "auto";
  what.want.even_if_clean = !wanted.only_work;
  what.kept = promise;
  what.only_work = wanted.only_work;
  what.may_be_newest = wanted.may_be_newest;
  what.recorded = std::move(wanted.recorded);
  request_snapshot(id, what);
  return promise;
}

// -- rounds -----------------------------------------------------------------------------------------------------------

/// Does what is due now, and wakes when the next is.
void saver_state::pump() {
  const auto now = self_->clock().now();
  for (auto it = rounds_.begin(); it != rounds_.end();) {
    const auto next = std::next(it); // `look_at` may begin rounds, behind all others
    look_at(it);
    it = next;
  }
  if (delete_again_at_ && *delete_again_at_ <= now) delete_old_refs();
  if (delete_again_at_) wake_at(*delete_again_at_);
  try_refused(now);
  if (spec_.git_url.empty() || rounds_.size() >= config_.max_rounds) return;
  std::vector<std::string> free;
  bool urgent = false, regular = false;
  for (const auto& [agent_id, w] : wanted_) {
    // Its snapshot under way may miss the newest change: another is taken after it.
    if (taking_.contains(agent_id)) continue;
    // One that the remote hangs on does not pile up.
    if (!w.want.urgent && goes_alone(agent_id)) continue;
    free.push_back(agent_id);
    if (w.want.offered) continue;
    const auto due = w.since + config_.gather_delay;
    if (due > now) wake_at(due);
    if (due <= now) (w.want.urgent ? urgent : regular) = true;
  }
  if (urgent || (regular && may_begin_regular(now))) return begin_round(free);
  if (regular && last_start_ && *last_start_ + config_.push_interval > now)
    wake_at(*last_start_ + config_.push_interval);
}

/// The interval has passed, and no round is under way but late ones.
bool saver_state::may_begin_regular(time_point now) const {
  if (last_start_ && now < *last_start_ + config_.push_interval) return false;
  return std::all_of(rounds_.begin(), rounds_.end(), [](const auto& r) { return r.second.late; });
}

void saver_state::begin_round(const std::vector<std::string>& agents) {
  const auto id = ++last_round_;
  auto& r = rounds_[id];
  r.begun = self_->clock().now();
  r.interval_before = last_start_.value_or(r.begun - config_.push_interval);
  r.started_interval = true;
  last_start_ = r.begun;
  for (const auto& agent_id : agents) {
    auto& what = r.items[agent_id];
    what.want = std::move(wanted_.at(agent_id).want);
    what.told_round = id;
    wanted_.erase(agent_id);
    // Before the snapshot: what the keeper hears of after this may not be in it.
    self_->send(what.want.keeper, save_begun{id, what.want.ticket});
    request_snapshot(id, what);
  }
  wake_at(r.begun + config_.late_after);
}

void saver_state::request_snapshot(std::uint64_t id, item& what) {
  auto job = what.want.job;
  job.agent_branches.clear();
  for (const auto& agent : spec_.agents)
    job.agent_branches.insert(agent.branch);
  job.agent_branches.insert(job.branch);
  job.limits = config_.limits;
  job.without_untracked = what.refused_fingerprint.has_value();
  what.order = ++last_order_;
  auto& r = rounds_.at(id);
  if (!r.cancel) r.cancel = std::make_shared<std::atomic<bool>>(false);
  job.cancel = r.cancel;
  taking_[what.want.agent_id] = id;
  self_->send(config_.executor, snapshot_request{config_.rig_id, std::move(job), id, saver_actor{self_}});
}

void saver_state::take(snapshot_result& done) {
  const auto taking = taking_.find(done.agent_id);
  if (taking == taking_.end()) return;
  const auto it = rounds_.find(taking->second);
  taking_.erase(taking);
  if (it == rounds_.end()) return pump();
  const auto found = it->second.items.find(done.agent_id);
  if (found == it->second.items.end()) return pump();
  if (config_.metrics && done.took.count() > 0)
    config_.metrics->snapshot_took(std::chrono::duration<double>{done.took}.count());
  auto& what = found->second;
  it->second.last_arrival = self_->clock().now();
  const auto known = acknowledged_.find(done.agent_id);
  if (!done.outcome) {
    end_with(what, done.outcome.error());
    it->second.items.erase(found);
  } else if (!what.kept && known != acknowledged_.end() &&
             known->second.fingerprints.contains(done.outcome->fingerprint) &&
             (known->second.point || !(what.want.even_if_clean || what.want.claim))) {
    if (what.refused_fingerprint) try_refused_later(known->second, what);
    count("unchanged");
    end(what, save_done{what.told_round, known->second.point, true, done.outcome->left_out, done.outcome->files});
    it->second.items.erase(found);
  } else {
    what.taken = std::move(*done.outcome);
  }
  look_at(it);
  pump();
}

/// Moves a round on as far as it can go now.
void saver_state::look_at(rounds::iterator it) {
  auto& [id, r] = *it;
  if (r.items.empty()) return close(it);
  if (r.at == step::pushing) return look_at_push(it);
  const auto now = self_->clock().now();
  if (r.at == step::gathering) {
    const bool missing = std::any_of(r.items.begin(), r.items.end(), [](const auto& i) { return !i.second.taken; });
    const auto patience = r.last_arrival.value_or(r.begun) + config_.late_after;
    if (missing && now < patience) return wake_at(patience);
    if (missing && std::none_of(r.items.begin(), r.items.end(), [](const auto& i) { return i.second.taken; })) {
      r.late = true;
      return;
    }
    if (missing) split_late(it);
    r.at = step::ready;
    r.ready_at = now;
  }
  // Two pushes to one ref would race: the earlier has a moment to end, but one that hangs is not waited for.
  const bool crossed = std::any_of(r.items.begin(), r.items.end(), [&](const auto& i) { return is_pushing(i.first); });
  if (crossed && now < r.ready_at + config_.late_after) return wake_at(r.ready_at + config_.late_after);
  if (!r.alone && (r.items.size() > 1 || unanswered_.contains(r.items.begin()->first))) split_doubtful(it);
  if (r.items.empty()) return close(it);
  if (r.alone && !may_push_alone()) return;
  ready(it);
}

/// Those that are not there yet go in rounds of their own, one each.
void saver_state::split_late(rounds::iterator it) {
  auto& items = it->second.items;
  for (auto i = items.begin(); i != items.end();) {
    if (i->second.taken) {
      ++i;
      continue;
    }
    log::info("a snapshot is late and goes by itself", {{"rig", config_.rig_id}, {"agent", i->first}});
    const auto id = ++last_round_;
    auto& own = rounds_[id];
    own.late = true;
    own.begun = it->second.begun;
    own.cancel = it->second.cancel;
    taking_[i->first] = id;
    own.items.insert(items.extract(i++));
  }
}

/// Those that the remote may hang on go alone, so that the others have their answer.
void saver_state::split_doubtful(rounds::iterator it) {
  auto& items = it->second.items;
  for (auto i = items.begin(); i != items.end();) {
    if (!unanswered_.contains(i->first) && !is_pushing(i->first)) {
      ++i;
      continue;
    }
    push_alone(std::move(i->second));
    i = items.erase(i);
    it->second.pushed = true;
    wake_at(self_->clock().now());
  }
}

/// A remote may show signs of life for minutes while a hook hangs on one ref (receive.keepAlive), and one upload may be
/// large: the others of the push do not wait for that.
void saver_state::look_at_push(rounds::iterator it) {
  auto& r = it->second;
  if (r.items.size() < 2) return;
  const auto now = self_->clock().now();
  if (now < r.pushed_at + config_.answer_patience) return wake_at(r.pushed_at + config_.answer_patience);
  log::warn("a push takes long; each of its agents goes alone", {{"rig", config_.rig_id}});
  *r.cancel = true;
  for (auto& [agent_id, what] : std::exchange(r.items, {})) {
    unanswered_.insert(agent_id);
    push_alone(std::move(what));
  }
  wake_at(now);
  close(it);
}

/// When it is looked at next.
void saver_state::push_alone(item&& what) {
  auto& own = rounds_[++last_round_];
  own.late = own.alone = true;
  own.begun = self_->clock().now();
  own.ready_at = own.begun - config_.late_after; // an earlier one that hangs was waited for
  own.at = step::ready;
  own.cancel = std::make_shared<std::atomic<bool>>(false);
  const auto agent_id = what.want.agent_id;
  own.items.emplace(agent_id, std::move(what));
}

bool saver_state::goes_alone(const std::string& agent_id) const {
  return std::any_of(rounds_.begin(), rounds_.end(),
                     [&](const auto& r) { return r.second.alone && r.second.items.contains(agent_id); });
}

bool saver_state::may_push_alone() const {
  const auto under_way = std::count_if(rounds_.begin(), rounds_.end(),
                                       [](const auto& r) { return r.second.alone && r.second.at == step::pushing; });
  return static_cast<std::size_t>(under_way) < config_.max_alone;
}

bool saver_state::is_pushing(const std::string& agent_id) const {
  return std::any_of(rounds_.begin(), rounds_.end(),
                     [&](const auto& r) { return r.second.at == step::pushing && r.second.items.contains(agent_id); });
}

/// Nothing of it is left to do.
void saver_state::close(rounds::iterator it) {
  // A round that found nothing to push does not keep the next one waiting.
  if (it->second.started_interval && !it->second.pushed && last_start_ == it->second.begun)
    last_start_ = it->second.interval_before;
  rounds_.erase(it);
}

void saver_state::wake_at(time_point when) {
  if (next_wake_ && *next_wake_ <= when) return;
  next_wake_ = when;
  const auto pause = std::max(when - self_->clock().now(), time_point::duration::zero());
  self_->delayed_send(self_, pause, save_due{++wake_generation_});
}

} // namespace townkeeper
