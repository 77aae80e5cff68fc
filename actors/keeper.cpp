#include "actors/keeper.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>

#include "actors/failure_text.hpp"
#include "actors/retry_policy.hpp"
#include "core/log.hpp"
#include "git/path_rules.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

/// Somebody waits for this save: it is tried again sooner than others.
constexpr std::chrono::milliseconds first_owed_retry{100}, max_owed_retry{2'000};

template <class T>
void lower(std::optional<T>& a, const std::optional<T>& b) {
  if (b && (!a || *b < *a)) a = b;
}

/// True where the same save may well succeed a moment later: trouble on the way, or another push that came first.
bool is_worth_another(error_code code) {
  return is_transient(code) || code == error_code::conflict || code == error_code::cancelled;
}

std::optional<error> left_out_text(const std::string& agent_id, const std::vector<town::left_out_file>& left_out) {
  constexpr std::size_t named = 3;
  if (left_out.empty()) return std::nullopt;
  std::string text = "saved without ";
  for (std::size_t i = 0; i < std::min(named, left_out.size()); ++i)
    text += (i > 0 ? ", " : "") + git::printable(left_out[i].path) + " (" + git::printable(left_out[i].reason) + ")";
  if (left_out.size() > named) text += " and " + std::to_string(left_out.size() - named) + " more";
  return error{error_code::too_large, agent_id, text};
}

git::snapshot_job job_of(const std::string& rig_id, const protect& p) {
  git::snapshot_job job;
  job.rig_id = rig_id;
  job.agent_id = p.spec.agent_id;
  job.repository = p.repository;
  job.worktree = p.worktree;
  job.branch = p.spec.branch;
  job.identity = p.spec.identity;
  return job;
}

} // namespace

keeper_actor::behavior_type keeper(keeper_actor::stateful_pointer<keeper_state> self, keeper_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

keeper_state::~keeper_state() {
  if (stopping_ && !gone_ && config_.health) {
    protection_changed gone;
    gone.agent_id = config_.agent_id;
    gone.gone = true;
    caf::anon_send(config_.health, std::move(gone));
  }
}

keeper_actor::behavior_type keeper_state::make_behavior(keeper_config config) {
  config_ = std::move(config);
  random_.seed(config_.seed);
  // A promise that goes with its actor is never answered: whoever waits hears before.
  self_->set_exit_handler([this](const caf::exit_msg& end) {
    answer_owed(asked_ticket_, unsaved_error({error_code::cancelled, config_.agent_id, "its keeper was ended"}));
    self_->quit(end.reason);
  });
  return {
      [this](protect& wanted) { take(wanted); },
      [this](const stop_protecting&) { stop(); },
      [this](const worktree_changed& change) { take(change); },
      [this](const save_now& wanted) { return save(wanted); },
      [this](const save_begun& begun) { take(begun); },
      [this](save_done& done) { take(done); },
      [this](const save_due& due) {
        if (due.generation == wake_generation_) tick();
      },
  };
}

// -- what is protected ------------------------------------------------------------------------------------------------

void keeper_state::take(protect& wanted) {
  const bool moved = !protected_ || protected_->worktree != wanted.worktree ||
                     protected_->repository != wanted.repository || protected_->spec.branch != wanted.spec.branch;
  const bool other = moved || protected_->git_url != wanted.git_url;
  bool at_once = wanted.supersede && (other || !protected_->supersede);
  const bool claims = wanted.claim && (other || !protected_->claim);
  if (wanted.applied && wanted.applied != applied_) {
    at_once = true;
    applied_ = wanted.applied;
    // One that lies on another remote is not ours to delete there.
    if (applied_->git_url.empty() || applied_->git_url == wanted.git_url) replaces_[applied_->ref] = applied_->commit;
  }
  protected_ = std::move(wanted);
  stopping_ = false;
  if (moved) watch();
  // What was done before is not known: it counts from now.
  if (other) note_change(self_->clock().now());
  if (at_once) {
    must_save_ = true;
    ask(true);
    must_ticket_ = asked_ticket_;
  } else if (claims) {
    // The first look takes it along.
    must_claim_ = true;
    must_ticket_ = asked_ticket_ + 1;
    note_change(self_->clock().now());
  }
  tell_health();
}

void keeper_state::watch() {
  watch_.reset();
  polling_ = true;
  watches_stand_ = false;
  if (config_.watch) {
    watch::watch_request request;
    request.worktree = protected_->worktree;
    request.repository = protected_->repository;
    request.agent_id = config_.agent_id;
    request.branch = protected_->spec.branch;
    request.agent_branches = protected_->agent_branches;
    // The handle is weak: the watcher's thread keeps no keeper alive.
    const auto self = caf::actor_cast<caf::actor_addr>(self_);
    auto watching = config_.watch(std::move(request), [self](const watch::watch_event& event) {
      if (const auto to = caf::actor_cast<keeper_actor>(self))
        caf::anon_send(to, worktree_changed{event.refs, event.lost.has_value()});
    });
    if (watching) {
      watch_ = std::move(*watching);
      polling_ = false;
    } else {
      log::warn("a worktree cannot be watched and is polled",
                {{"agent", config_.agent_id}, {"error", to_string(watching.error())}});
    }
  }
  if (polling_) wake_at(next_poll_.emplace(self_->clock().now() + config_.poll_interval));
}

void keeper_state::take(const worktree_changed& change) {
  if (!protected_) return;
  if (change.watches_lost && !polling_) {
    polling_ = true;
    wake_at(next_poll_.emplace(self_->clock().now() + config_.poll_interval));
  }
  // The watcher's first word is that its watches stand: since the last look nobody has seen anything.
  const auto now = self_->clock().now();
  note_change(std::exchange(watches_stand_, true) ? now : last_look_.value_or(now));
}

void keeper_state::note_change(time_point since) {
  const auto now = self_->clock().now();
  const auto before = unsaved_since();
  lower(pending_since_, std::optional{since});
  const bool is_first = !burst_began_;
  if (is_first) burst_began_ = now;
  burst_last_ = now;
  if (is_first && !is_asked() && !retry_at_) offer();
  if (unsaved_since() != before) tell_health();
  wake_at(quiet_at());
}

keeper_state::time_point keeper_state::quiet_at() const {
  return std::min(*burst_last_ + config_.quiet, *burst_began_ + config_.latest);
}

std::optional<keeper_state::time_point> keeper_state::unsaved_since() const {
  auto oldest = pending_since_;
  for (const auto& [id, r] : rounds_)
    lower(oldest, r.oldest);
  return oldest;
}

/// Everything that was said is in the files or refs by now, so one look saves it.
keeper_state::save_promise keeper_state::save(const save_now& wanted) {
  auto promise = self_->make_response_promise<save_answer>();
  if (!protected_) {
    promise.deliver(save_answer{config_.agent_id, error{error_code::unavailable, config_.agent_id,
                                                        "its worktree is not restored: there is nothing to save"}});
    return promise;
  }
  kind_ = wanted.kind;
  ask(true);
  owed_.push_back({promise, asked_ticket_, self_->clock().now() + wanted.deadline});
  wake_at(owed_.back().deadline);
  return promise;
}

void keeper_state::stop() {
  stopping_ = true;
  if (!protected_ || (!unsaved_since() && rounds_.empty() && !is_asked())) return finish();
  if (pending_since_) ask(true); // also where a save was asked for that may wait for its interval
}

/// All is saved, and nobody watches any more.
void keeper_state::finish() {
  watch_.reset();
  answer_owed(asked_ticket_, point_);
  gone_ = true;
  protection_changed gone;
  gone.agent_id = config_.agent_id;
  gone.gone = true;
  self_->send(config_.health, std::move(gone));
  self_->quit();
}

// -- saving -----------------------------------------------------------------------------------------------------------

void keeper_state::ask(bool urgent) {
  auto want = next_want();
  want.urgent = urgent;
  wanted_ticket_ = want.ticket;
  retry_at_.reset();
  self_->send(config_.saver, std::move(want));
}

/// Whoever waited for quiet when a round begins would wait for the interval after it as well.
void keeper_state::offer() {
  auto want = next_want();
  want.offered = true;
  self_->send(config_.saver, std::move(want));
}

save_wanted keeper_state::next_want() {
  save_wanted want;
  want.agent_id = config_.agent_id;
  want.job = job_of(config_.rig_id, *protected_);
  want.kind = kind_;
  want.even_if_clean = must_save_;
  want.claim = must_claim_;
  want.replaces = replaces_;
  want.ticket = ++asked_ticket_;
  want.keeper = keeper_actor{self_};
  return want;
}

void keeper_state::take(const save_begun& begun) {
  begun_ticket_ = std::max(begun_ticket_, begun.ticket);
  rounds_[begun.round] = {begun.ticket, std::exchange(pending_since_, std::nullopt)};
  last_look_ = self_->clock().now();
  burst_began_.reset();
  burst_last_.reset();
}

void keeper_state::take(save_done& done) {
  const auto it = rounds_.find(done.round);
  if (it == rounds_.end()) return; // a later one has saved what it held
  const auto round = it->second;
  if (done.files) dirty_files_ = done.files->staged + done.files->modified + done.files->untracked;
  if (done.point) {
    rounds_.erase(rounds_.begin(), std::next(it));
    succeed(round, done);
  } else {
    rounds_.erase(it);
    fail(round, done.point.error());
  }
  tell_health();
  if (stopping_ && !unsaved_since() && rounds_.empty() && !is_asked()) return finish();
  if (stopping_ && pending_since_ && !is_asked() && !retry_at_) ask(true);
}

void keeper_state::succeed(const open_round& saved, save_done& done) {
  // A later round may have failed before this one came through: its retry stands.
  if (!pending_since_ || burst_last_) {
    failures_ = 0;
    retry_at_.reset();
    failure_ = left_out_text(config_.agent_id, done.left_out);
  }
  point_ = std::move(*done.point);
  if (point_) last_saved_at_ = point_->saved_at;
  if (saved.ticket >= must_ticket_) {
    must_save_ = must_claim_ = false;
    replaces_.clear();
  }
  answer_owed(saved.ticket, point_);
  if (owed_.empty()) kind_ = "auto";
}

void keeper_state::fail(const open_round& failed, const error& why) {
  lower(pending_since_, failed.oldest);
  ++failures_;
  failure_ = why;
  log::warn("a save failed", {{"rig", config_.rig_id},
                              {"agent", config_.agent_id},
                              {"failures", std::to_string(failures_)},
                              {"error", to_string(why)}});
  if (!is_worth_another(why.code)) answer_owed(failed.ticket, unsaved_error(why));
  const auto pause = owed_.empty() ? full_jitter(config_.first_retry, config_.max_retry, failures_, random_)
                                   : full_jitter(first_owed_retry, max_owed_retry, failures_, random_);
  wake_at(retry_at_.emplace(self_->clock().now() + pause));
}

/// The agent's git or another container came in between: the next push may well succeed, and the interval would be lost
/// once more.
bool keeper_state::has_lost_a_race() const {
  return failure_ && failure_->code == error_code::conflict;
}

error keeper_state::unsaved_error(const error& why) const {
  const auto since = unsaved_since();
  if (!since) return {why.code, config_.agent_id, why.message};
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(self_->clock().now() - *since).count();
  return {why.code, config_.agent_id,
          "changes of the last " + std::to_string(seconds) + " s are not on the remote: " + why.message};
}

void keeper_state::answer_owed(std::uint64_t up_to_ticket, const result<std::optional<town::recovery_point>>& point) {
  for (auto it = owed_.begin(); it != owed_.end();) {
    if (it->ticket > up_to_ticket) {
      ++it;
      continue;
    }
    it->promise.deliver(save_answer{config_.agent_id, point});
    it = owed_.erase(it);
  }
}

// -- time -------------------------------------------------------------------------------------------------------------

void keeper_state::tick() {
  const auto now = self_->clock().now();
  next_wake_.reset();
  for (auto it = owed_.begin(); it != owed_.end();) {
    if (it->deadline > now) {
      wake_at((it++)->deadline);
      continue;
    }
    const error late{error_code::timed_out, config_.agent_id, "the save did not end by its deadline"};
    it->promise.deliver(save_answer{config_.agent_id, unsaved_error(failure_.value_or(late))});
    it = owed_.erase(it);
  }
  if (retry_at_ && *retry_at_ <= now) ask(!owed_.empty() || must_save_ || stopping_ || has_lost_a_race());
  if (next_poll_ && *next_poll_ <= now) {
    next_poll_ = now + config_.poll_interval;
    // A change may have come right after the last look, also while a round is under way.
    note_change(last_look_.value_or(now));
    if (!is_asked() && !retry_at_ && rounds_.empty()) ask(false);
  }
  if (burst_last_ && !is_asked() && !retry_at_ && quiet_at() <= now) ask(false);
  if (unreported_) tell_health();
  if (retry_at_) wake_at(*retry_at_);
  if (next_poll_) wake_at(*next_poll_);
  if (burst_last_ && !is_asked() && !retry_at_) wake_at(quiet_at());
}

void keeper_state::tell_health() {
  const auto now = self_->clock().now();
  unreported_ = last_report_ && now - *last_report_ < config_.report_interval;
  if (unreported_) return wake_at(*last_report_ + config_.report_interval);
  last_report_ = now;
  self_->send(config_.health,
              protection_changed{config_.agent_id, unsaved_since(), last_saved_at_, dirty_files_, failure_, false});
}

/// One timer matters at a time, the earliest.
void keeper_state::wake_at(time_point when) {
  if (next_wake_ && *next_wake_ <= when) return;
  next_wake_ = when;
  const auto pause = std::max(when - self_->clock().now(), time_point::duration::zero());
  self_->delayed_send(self_, pause, save_due{++wake_generation_});
}

} // namespace townkeeper
