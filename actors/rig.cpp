#include "actors/rig.hpp"

#include <caf/typed_event_based_actor.hpp>

#include "actors/failure_text.hpp"
#include "core/log.hpp"
#include "git/recovery.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::seconds credentials_timeout{60};
constexpr std::chrono::minutes credentials_margin{1}; ///< a token this close to its expiry is not used any more

/// True where another attempt can only fail the same way: nobody's patience is worth it.
bool is_permanent(error_code code) {
  switch (code) {
  case error_code::not_found:
  case error_code::unauthorized:
  case error_code::forbidden:
  case error_code::unsupported:
  case error_code::invalid_argument:
  case error_code::tls_failed:
  case error_code::redirect_refused:
    return true;
  default:
    return false;
  }
}

std::set<std::string> wanted_branches(const town::rig_spec& spec) {
  std::set<std::string> names;
  for (const auto& agent : spec.agents) {
    names.insert(agent.branch);
    if (agent.base_ref) names.insert(*agent.base_ref);
  }
  return names;
}

} // namespace

rig_actor::behavior_type rig(rig_actor::stateful_pointer<rig_state> self, rig_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

rig_state::~rig_state() {
  if (cancel_) *cancel_ = true;
}

rig_actor::behavior_type rig_state::make_behavior(rig_config config) {
  config_ = std::move(config);
  random_.seed(config_.seed);
  return {
      [this](restore_rig& wanted) { restore(wanted); },
      [this](attach_worktree& w) { attach(w); },
      [this](const detach_worktree& w) { worktrees_.erase(w.agent_id); },
      [this](const look_again& wanted) { look(wanted); },
      [this](const forget_point& of) { restored_.insert(of.agent_id); },
      [this](repository_result& done) { finish(done); },
      [this](const git_credentials_query& query) { return answer_credentials(query); },
      [this](const retry_due& due) {
        if (due.generation == retry_generation_ && !attempt_under_way_) begin_attempt(false);
      },
  };
}

// -- what is wanted ---------------------------------------------------------------------------------------------------

void rig_state::restore(restore_rig& wanted) {
  const bool other_remote = !spec_.git_url.empty() && spec_.git_url != wanted.spec.git_url;
  spec_ = std::move(wanted.spec);
  restored_ = std::move(wanted.restored);
  // Whoever attaches from now on waits for what the remote has now.
  ready_.reset();
  if (other_remote) {
    failed_.reset();
    login_known_ = false;
    jobs_of_old_remote_ = jobs_under_way_;
    if (cancel_) *cancel_ = true;
  }
  if (attempt_under_way_ && !other_remote) {
    // The fetch under way is not thrown away: what is missing after it comes with the next.
    again_ = true;
    return;
  }
  begin_set();
}

void rig_state::attach(attach_worktree& w) {
  if (ready_) self_->send(w.worktree, *ready_);
  if (failed_) self_->send(w.worktree, repository_failed{*failed_, true});
  // What the remote was asked for before the spec moved on may be older than what this worktree waited for.
  if (again_) late_.insert(w.agent_id);
  worktrees_[w.agent_id] = std::move(w.worktree);
}

void rig_state::look(const look_again& wanted) {
  if (spec_.rig_id.empty()) return;
  log::info("a worktree asks for another look at its repository",
            {{"rig", config_.rig_id}, {"agent", wanted.agent_id}});
  if (attempt_under_way_) return;
  // While settled as failed, the rig's own clock looks again.
  if (!failed_) begin_set();
}

// -- attempts ---------------------------------------------------------------------------------------------------------

void rig_state::begin_set() {
  attempts_ = 0;
  set_bytes_ = 0;
  set_begun_ = self_->clock().now();
  if (total_attempts_ == 0) first_begun_ = set_begun_;
  begin_attempt(false);
}

void rig_state::begin_attempt(bool refresh_credentials) {
  ++retry_generation_;
  attempt_under_way_ = true;
  again_ = false;
  late_.clear();
  if (!refresh_credentials) {
    credentials_refreshed_ = false;
    ++attempts_;
    ++total_attempts_;
  }
  tell(town::rig_phase::checking, failed_);
  if (!refresh_credentials && cached_credentials_usable()) return submit(login_);
  const auto generation = retry_generation_;
  self_->request(config_.town, credentials_timeout, git_credentials_query{config_.rig_id, refresh_credentials})
      .then(
          [this, generation](git_credentials_answer& answer) {
            if (generation != retry_generation_) return;
            take_credentials(answer);
            if (!answer.login) return fail(answer.login.error());
            submit(login_);
          },
          [this, generation](const caf::error& e) {
            if (generation != retry_generation_) return;
            fail(error{error_code::timed_out, config_.rig_id,
                       "the town did not say this rig's credentials: " + self_->system().render(e)});
          });
}

void rig_state::submit(const std::optional<git::credentials>& login) {
  cancel_ = std::make_shared<std::atomic<bool>>(false);
  git::repository_job job;
  job.rig_id = config_.rig_id;
  job.directory = config_.directory;
  job.url = spec_.git_url;
  job.default_branch = spec_.default_branch;
  asked_for_ = wanted_branches(spec_);
  job.branches = {asked_for_.begin(), asked_for_.end()};
  for (const auto& agent : spec_.agents) {
    job.agent_branches.insert(agent.branch);
    if (!restored_.contains(agent.agent_id))
      job.points.push_back({agent.agent_id, git::point_prefix(config_.town_id, agent.agent_id), agent.recovery});
  }
  job.login = login ? login : config_.fallback;
  job.limits = config_.transfer;
  job.urls = config_.urls;
  job.ca_file = config_.ca_file;
  job.cancel = cancel_;
  ++jobs_under_way_;
  tell(town::rig_phase::fetching, failed_);
  self_->send(config_.executor, repository_request{std::move(job), rig_actor{self_}});
}

void rig_state::finish(repository_result& done) {
  fetched_bytes_ += done.received_bytes;
  --jobs_under_way_;
  if (jobs_of_old_remote_ > 0) {
    --jobs_of_old_remote_;
    return;
  }
  set_bytes_ += done.received_bytes;
  if (done.outcome) return succeed(std::move(*done.outcome));
  if (done.outcome.error().code == error_code::unauthorized && !credentials_refreshed_) {
    credentials_refreshed_ = true;
    login_known_ = false;
    return begin_attempt(true);
  }
  fail(done.outcome.error());
}

void rig_state::succeed(git::repository_restored restored) {
  attempt_under_way_ = false;
  attempts_ = 0;
  failed_.reset();
  for (const auto& what : restored.healed)
    log::warn("repository healed", {{"rig", config_.rig_id}, {"what", what}});
  ready_ = repository_ready{std::move(restored), asked_for_, spec_.git_url};
  town::rig_report report;
  report.rig_id = config_.rig_id;
  report.outcome = town::rig_outcome::ready;
  if (const auto tip = ready_->restored.tips.find(spec_.default_branch); tip != ready_->restored.tips.end())
    report.commit = tip->second;
  report.fetched_bytes = fetched_bytes_;
  report.duration_ms = elapsed_ms();
  report.attempts = total_attempts_;
  tell(town::rig_phase::ready);
  self_->send(config_.health, rig_settled{std::move(report), spec_.git_url});
  for (const auto& [id, worktree] : worktrees_)
    if (!late_.contains(id)) self_->send(worktree, *ready_);
  if (!again_) return;
  ready_.reset();
  begin_set();
}

void rig_state::fail(const error& why) {
  attempt_under_way_ = false;
  log::warn("rig attempt failed",
            {{"rig", config_.rig_id}, {"attempt", std::to_string(attempts_)}, {"error", to_string(why)}});
  const bool silent = set_bytes_ == 0 && self_->clock().now() - set_begun_ >= config_.retry.without_a_byte;
  if (failed_ || is_permanent(why.code) || attempts_ >= config_.retry.attempts || silent) return settle(why);
  tell(town::rig_phase::retrying, why);
  for (const auto& [id, worktree] : worktrees_)
    self_->send(worktree, repository_failed{why, false});
  if (again_) return begin_attempt(false);
  retry_after(full_jitter(config_.retry.first, config_.retry.max, attempts_, random_));
}

void rig_state::settle(const error& why) {
  failed_ = why;
  town::rig_report report;
  report.rig_id = config_.rig_id;
  report.outcome = town::rig_outcome::failed;
  report.fetched_bytes = fetched_bytes_;
  report.duration_ms = elapsed_ms();
  report.attempts = total_attempts_;
  report.failure = why;
  tell(town::rig_phase::failed, why);
  self_->send(config_.health, rig_settled{std::move(report), spec_.git_url});
  for (const auto& [id, worktree] : worktrees_)
    self_->send(worktree, repository_failed{why, true});
  if (again_) return begin_set();
  retry_after(config_.retry.after_failure);
}

void rig_state::retry_after(std::chrono::milliseconds pause) {
  self_->delayed_send(self_, pause, retry_due{++retry_generation_});
}

void rig_state::tell(town::rig_phase phase, std::optional<error> why) {
  self_->send(config_.health, rig_progress{config_.rig_id, phase, total_attempts_, std::move(why)});
}

std::int64_t rig_state::elapsed_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(self_->clock().now() - first_begun_).count();
}

// -- credentials ------------------------------------------------------------------------------------------------------

bool rig_state::cached_credentials_usable() const {
  return login_known_ && (!login_expires_ || self_->clock().now() + credentials_margin < *login_expires_);
}

void rig_state::take_credentials(git_credentials_answer& answer) {
  login_known_ = false;
  if (!answer.login) return;
  login_ = *answer.login;
  login_known_ = true;
  login_expires_.reset();
  if (answer.expires_in_ms) login_expires_ = self_->clock().now() + std::chrono::milliseconds{*answer.expires_in_ms};
}

rig_state::credentials_promise rig_state::answer_credentials(const git_credentials_query& query) {
  auto promise = self_->make_response_promise<git_credentials_answer>();
  const auto answer = [this]() -> git_credentials_answer {
    return {login_ ? login_ : config_.fallback, std::nullopt, spec_.git_url};
  };
  if (!query.refresh && cached_credentials_usable()) {
    promise.deliver(answer());
    return promise;
  }
  self_->request(config_.town, credentials_timeout, git_credentials_query{config_.rig_id, query.refresh})
      .then(
          [this, promise, answer](git_credentials_answer& fresh) mutable {
            take_credentials(fresh);
            promise.deliver(fresh.login ? answer() : std::move(fresh));
          },
          [this, promise](const caf::error& e) mutable {
            promise.deliver(git_credentials_answer{
                error{error_code::timed_out, config_.rig_id, "the town did not answer: " + self_->system().render(e)},
                std::nullopt});
          });
  return promise;
}

} // namespace townkeeper
