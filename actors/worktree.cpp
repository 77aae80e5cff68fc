#include "actors/worktree.hpp"

#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <utility>

#include "actors/failure_text.hpp"
#include "actors/restore_note.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

town::agent_outcome outcome_of(const git::worktree_restored& restored, bool point_is_clean) {
  switch (restored.recovery) {
  case git::point_outcome::applied:
    return point_is_clean ? town::agent_outcome::restored : town::agent_outcome::recovered;
  case git::point_outcome::kept:
  case git::point_outcome::unpublished:
    return town::agent_outcome::diverged;
  default:
    return town::agent_outcome::restored;
  }
}

} // namespace

worktree_actor::behavior_type worktree(worktree_actor::stateful_pointer<worktree_state> self, worktree_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

worktree_state::~worktree_state() {
  if (cancel_) *cancel_ = true;
}

worktree_actor::behavior_type worktree_state::make_behavior(worktree_config config) {
  config_ = std::move(config);
  random_.seed(config_.seed);
  settled_ = std::move(config_.settled);
  begun_ = self_->clock().now();
  return {
      [this](restore_worktree& wanted) { restore(wanted); },
      [this](repository_ready& ready) { begin(ready); },
      [this](const repository_failed& failed) { take_rig_failure(failed); },
      [this](worktree_result& done) {
        finish(done);
        save_unrestored();
      },
      [this](const retire_worktree&) { retire(); },
      [this](const removal_result& done) { finish_removal(done); },
      [this](const save_now& wanted) { return save(wanted); },
      [this](const retry_due& due) { retry(due.generation); },
  };
}

// -- what is wanted ---------------------------------------------------------------------------------------------------

void worktree_state::restore(restore_worktree& wanted) {
  const bool first = !spec_;
  // A base only matters to a branch that is still to be made.
  const bool moved = !first && (spec_->branch != wanted.spec.branch || git_url_ != wanted.git_url ||
                                (spec_->base_ref != wanted.spec.base_ref && !is_restored()));
  spec_ = std::move(wanted.spec);
  git_url_ = std::move(wanted.git_url);
  if (!first && !moved) return;
  if (moved) {
    // What is known of the repository was perhaps fetched long ago, and for another branch: the rig's next word counts.
    settled_.reset();
    disk_is_kept_ = false;
    repository_is_current_ = false;
    job_is_stale_ = job_under_way_;
    if (cancel_) *cancel_ = true;
    ++retry_generation_;
    if (const auto rig = caf::actor_cast<rig_actor>(rig_)) self_->send(rig, look_again{config_.agent_id});
  }
  if (is_restored()) return;
  attempts_ = 0;
  begun_ = self_->clock().now();
  tell(town::agent_phase::waiting);
  if (can_begin()) submit();
}

/// The repository is ready, and was asked for the branches this worktree needs (it may have been fetched before they
/// were wanted).
bool worktree_state::can_begin() const {
  if (!spec_ || !repository_ || !repository_is_current_ || retiring_ || ending_ || job_under_way_) return false;
  const auto& asked = repository_->asked_for;
  return repository_->git_url == git_url_ && asked.contains(spec_->branch) &&
         (!spec_->base_ref || asked.contains(*spec_->base_ref));
}

void worktree_state::begin(repository_ready& ready) {
  repository_ = std::move(ready);
  repository_is_current_ = true;
  rig_ = caf::actor_cast<caf::actor_addr>(self_->current_sender());
  if (!is_restored() && can_begin()) submit();
}

void worktree_state::take_rig_failure(const repository_failed& failed) {
  // What is restored stays so, and a job that runs has what it needs.
  if (!spec_ || retiring_ || is_restored() || (job_under_way_ && !job_is_stale_)) return;
  if (failed.settled) return settle_failed(failed.reason);
  tell(town::agent_phase::waiting, failed.reason);
}

// -- the job ----------------------------------------------------------------------------------------------------------

git::worktree_job worktree_state::make_job() {
  git::worktree_job job;
  job.rig_id = config_.rig_id;
  job.agent_id = config_.agent_id;
  job.worktree = config_.directory;
  cancel_ = std::make_shared<std::atomic<bool>>(false);
  job.cancel = cancel_;
  if (repository_) job.repository = repository_->restored.repository;
  if (spec_) job.branch = spec_->branch;
  return job;
}

/// What the rig found for this agent; null where there is no recovery point.
const result<git::found_recovery>* worktree_state::found_point() const {
  const auto it = repository_->restored.points.find(config_.agent_id);
  return it == repository_->restored.points.end() ? nullptr : &it->second;
}

void worktree_state::submit() {
  ++retry_generation_;
  ++attempts_;
  const auto* found = found_point();
  // Nothing older is used in its place, and no worktree without it: an operator may accept the loss.
  if (found != nullptr && !*found) {
    if (const auto rig = caf::actor_cast<rig_actor>(rig_); rig && is_transient(found->error().code))
      self_->send(rig, look_again{config_.agent_id});
    return fail(found->error());
  }
  auto job = make_job();
  if (found != nullptr) job.point = **found;
  job.disk_is_kept = disk_is_kept_;
  const auto tip = [this](const std::string& branch) -> std::optional<std::string> {
    const auto it = repository_->restored.tips.find(branch);
    return it == repository_->restored.tips.end() ? std::nullopt : std::optional{it->second};
  };
  job.remote_tip = tip(spec_->branch);
  job.base_ref = spec_->base_ref;
  if (spec_->base_ref) job.base_tip = tip(*spec_->base_ref);
  job.ever_pushed = spec_->head_commit || spec_->recovery || (!spec_->base_ref && !repository_->restored.remote_empty);
  job_under_way_ = true;
  tell(town::agent_phase::branch);
  self_->send(config_.executor, worktree_request{config_.rig_id, std::move(job), false, worktree_actor{self_}});
}

void worktree_state::finish(worktree_result& done) {
  job_under_way_ = false;
  if (retiring_) return;
  if (std::exchange(job_is_stale_, false)) {
    if (can_begin()) submit();
    return;
  }
  if (!done.outcome) return fail(done.outcome.error());
  if (done.outcome->recovery == git::point_outcome::disk_older) return keep_older_work();
  succeed(*done.outcome);
}

/// The disk is of before the recovery point and holds work that is nowhere else: it goes to the remote, for somebody to
/// look at, before the point takes its place.
void worktree_state::keep_older_work() {
  job_under_way_ = true;
  tell(town::agent_phase::recovery);
  const auto answered = [this](const result<std::optional<town::recovery_point>>& point) {
    job_under_way_ = false;
    if (retiring_) return;
    if (std::exchange(job_is_stale_, false)) {
      if (can_begin()) submit();
      return;
    }
    if (!point) return fail(point.error());
    log::warn("an older disk held work: kept as a recovery point",
              {{"rig", config_.rig_id}, {"agent", config_.agent_id}, {"ref", (*point)->ref}});
    disk_is_kept_ = true;
    saved_unrestored_ = *point;
    spec_->kept.push_back(**point);
    if (can_begin()) submit();
  };
  const auto supervisor = caf::actor_cast<supervisor_actor>(config_.supervisor);
  if (!supervisor) return; // everything ends
  self_->request(supervisor, config_.keep_limit, keep_disk{make_snapshot_job(repository_->restored.repository)})
      .then(
          [this, answered](const keep_disk_answer& answer) {
            answered(answer.point);
            save_unrestored();
          },
          [this, answered](const caf::error& e) {
            answered(error{error_code::timed_out, config_.agent_id,
                           "what the older disk holds could not be kept: " + self_->system().render(e)});
            save_unrestored();
          });
}

git::snapshot_job worktree_state::make_snapshot_job(const std::filesystem::path& repository) const {
  git::snapshot_job job;
  job.rig_id = config_.rig_id;
  job.agent_id = config_.agent_id;
  job.repository = repository;
  job.worktree = config_.directory;
  job.branch = spec_->branch;
  job.identity = spec_->identity;
  return job;
}

void worktree_state::succeed(const git::worktree_restored& restored) {
  for (const auto& what : restored.healed)
    log::warn("worktree healed", {{"rig", config_.rig_id}, {"agent", config_.agent_id}, {"what", what}});
  const auto* found = found_point();
  auto report = new_report(outcome_of(restored, found != nullptr && (*found)->point.clean));
  if (!restored.commit.empty()) report.commit = restored.commit;
  report.worktree = config_.directory.string();
  report.unpushed_commits = restored.unpushed_commits;
  report.applied_files = restored.applied_files;
  std::optional<git::found_recovery> point;
  std::optional<town::recovery_point> applied;
  if (found != nullptr) {
    point = **found;
    const bool built_upon = restored.recovery != git::point_outcome::kept;
    report.recovery = town::applied_recovery{point->point.ref, point->point.commit, built_upon};
    report.left_out = point->left_out;
    if (built_upon) applied = point->point;
  }
  report.note = restore_note(*spec_, restored, point);
  attempts_ = 0;
  settle(std::move(report), std::move(applied));
}

void worktree_state::fail(const error& why) {
  log::warn("worktree attempt failed",
            {{"rig", config_.rig_id}, {"agent", config_.agent_id}, {"error", to_string(why)}});
  const bool permanent = why.code == error_code::branch_missing || why.code == error_code::unsupported ||
                         why.code == error_code::invalid_argument || why.code == error_code::recovery_point_missing;
  if (settled_ || permanent || attempts_ >= config_.retry.attempts) {
    settle_failed(why);
    self_->delayed_send(self_, config_.retry.after_failure, retry_due{++retry_generation_});
    return;
  }
  tell(town::agent_phase::retrying, why);
  const auto pause = full_jitter(config_.retry.first, config_.retry.max, attempts_, random_);
  self_->delayed_send(self_, pause, retry_due{++retry_generation_});
}

void worktree_state::retry(std::uint64_t generation) {
  if (generation != retry_generation_ || retiring_ || !spec_) return;
  if (!settled_) {
    if (can_begin()) submit();
    return;
  }
  // Settled as failed: perhaps the remote has what was missing, or the repository is what is broken.
  if (const auto rig = caf::actor_cast<rig_actor>(rig_)) self_->send(rig, look_again{config_.agent_id});
  self_->delayed_send(self_, config_.retry.after_failure, retry_due{++retry_generation_});
}

// -- the container ends -----------------------------------------------------------------------------------------------

/// A job that runs is waited for: what it restores has a keeper, and what it leaves is looked at after.
worktree_state::save_promise worktree_state::save(const save_now& wanted) {
  auto promise = self_->make_response_promise<save_answer>();
  ending_ = true;
  answer_owed(error{error_code::cancelled, config_.agent_id, "it was asked for again"});
  owed_ = owed_save{promise, wanted};
  save_unrestored();
  return promise;
}

/// A disk that could not be compared with the remote may hold what is nowhere else. Where it was not even tried to
/// restore it, it is as its last container left it, and may be the newest there is.
void worktree_state::save_unrestored() {
  if (!owed_ || owed_->under_way) return;
  const auto repository = spec_ ? config_.warm_repository(config_.directory, git_url_) : std::nullopt;
  if (!repository || is_restored() || retiring_ || saved_unrestored_) return answer_owed(saved_unrestored_);
  if (job_under_way_) return;
  const auto supervisor = caf::actor_cast<supervisor_actor>(config_.supervisor);
  if (!supervisor) return answer_owed(error{error_code::unavailable, config_.agent_id, "everything ends"});
  owed_->under_way = true;
  const auto answered = [this](const result<std::optional<town::recovery_point>>& point) {
    if (point) saved_unrestored_ = *point;
    if (point) return answer_owed(point);
    answer_owed(error{point.error().code, config_.agent_id,
                      "its worktree was not restored at this wake, and what it holds is not on the remote: " +
                          point.error().message});
  };
  keep_disk order{make_snapshot_job(*repository)};
  order.only_work = true;
  order.may_be_newest = attempts_ == 0;
  order.recorded = spec_->recovery;
  self_->request(supervisor, owed_->wanted.deadline, std::move(order))
      .then([answered](const keep_disk_answer& answer) { answered(answer.point); },
            [this, answered](const caf::error&) {
              answered(error{error_code::timed_out, config_.agent_id, "the save did not end by its deadline"});
            });
}

void worktree_state::answer_owed(const result<std::optional<town::recovery_point>>& point) {
  if (!owed_) return;
  owed_->promise.deliver(save_answer{config_.agent_id, point});
  owed_.reset();
}

// -- outcomes ---------------------------------------------------------------------------------------------------------

town::agent_report worktree_state::new_report(town::agent_outcome outcome) const {
  town::agent_report report;
  report.agent_id = config_.agent_id;
  report.outcome = outcome;
  report.branch = spec_->branch;
  report.maybe_lost_seconds = spec_->maybe_lost_seconds;
  report.duration_ms = std::chrono::duration_cast<std::chrono::milliseconds>(self_->clock().now() - begun_).count();
  return report;
}

void worktree_state::settle_failed(const error& why) {
  const bool missing = why.code == error_code::branch_missing;
  auto report = new_report(missing ? town::agent_outcome::branch_missing : town::agent_outcome::failed);
  report.code = std::string{to_string(why.code)};
  report.failure = why;
  report.note = failure_note(*spec_, why);
  settle(std::move(report));
}

void worktree_state::settle(town::agent_report report, std::optional<town::recovery_point> applied) {
  settled_ = report;
  self_->send(config_.health, agent_settled{config_.rig_id, report, git_url_, false});
  if (const auto supervisor = caf::actor_cast<supervisor_actor>(config_.supervisor))
    self_->send(supervisor, worktree_settled{config_.agent_id, git_url_, std::move(report),
                                             repository_ ? repository_->restored.repository : std::filesystem::path{},
                                             std::move(applied)});
}

void worktree_state::tell(town::agent_phase phase, std::optional<error> why) {
  self_->send(config_.health, worktree_progress{config_.rig_id, config_.agent_id, phase, 0, 0, std::move(why)});
}

// -- leaving ----------------------------------------------------------------------------------------------------------

void worktree_state::retire() {
  if (retiring_) return;
  retiring_ = true;
  if (cancel_) *cancel_ = true;
  if (!repository_) {
    finish_removal({config_.agent_id, git::worktree_removal{false, "its repository was never ready"}});
    return;
  }
  self_->send(config_.executor, worktree_request{config_.rig_id, make_job(), true, worktree_actor{self_}});
}

void worktree_state::finish_removal(const removal_result& done) {
  auto removal = done.outcome ? *done.outcome : git::worktree_removal{false, to_string(done.outcome.error())};
  if (const auto supervisor = caf::actor_cast<supervisor_actor>(config_.supervisor))
    self_->send(supervisor, worktree_retired{config_.agent_id, std::move(removal)});
  self_->quit();
}

} // namespace townkeeper
