#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>

#include "actors/saver.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

/// The saver's second part: pushes, what the remote and the town say to them, and old refs.
namespace townkeeper {
namespace {

double seconds_of(std::chrono::milliseconds took) {
  return std::chrono::duration<double>{took}.count();
}

} // namespace

// -- pushing ----------------------------------------------------------------------------------------------------------

void saver_state::ready(rounds::iterator it) {
  const auto id = it->first;
  it->second.at = step::pushing;
  it->second.pushed = true;
  it->second.pushed_at = self_->clock().now();
  if (it->second.items.size() > 1) wake_at(it->second.pushed_at + config_.answer_patience);
  with_credentials(false, [this, id](const auto& login) { submit(id, login); });
}

void saver_state::submit(std::uint64_t id, const result<std::optional<git::credentials>>& login) {
  const auto it = rounds_.find(id);
  if (it == rounds_.end()) return;
  auto& r = it->second;
  if (!login) {
    for (auto& [agent_id, what] : r.items)
      end_with(what, login.error());
    r.items.clear();
    return pump();
  }
  drop_overtaken(r);
  if (r.items.empty()) return pump();
  r.url = spec_.git_url;
  git::push_job job;
  job.rig_id = config_.rig_id;
  job.url = spec_.git_url;
  job.epoch = config_.epoch;
  job.seq = config_.seq;
  job.saved_at = config_.wall_clock();
  job.login = *login;
  job.limits = config_.transfer;
  job.urls = config_.urls;
  job.ca_file = config_.ca_file;
  job.cancel = r.cancel;
  for (auto& [agent_id, what] : r.items) {
    what.overtaken = std::make_shared<std::atomic<bool>>(false);
    job.repository = what.taken->repository;
    job.items.push_back({*what.taken, git::point_ref(config_.town_id, agent_id, config_.epoch), what.want.kind,
                         what.want.even_if_clean || what.want.claim, "", what.recorded, what.overtaken});
    if (!what.kept) continue;
    // The point is to have the number that its ref is named after.
    const auto seq = ++*config_.seq;
    job.seq = std::make_shared<std::atomic<std::int64_t>>(seq - 1);
    auto& pushed = job.items.back();
    (what.may_be_newest ? pushed.kept_ref : pushed.ref) =
        git::kept_point_ref(config_.town_id, agent_id, config_.epoch, seq);
    if (what.only_work && !what.may_be_newest) pushed.even_if_clean = what.taken->holds_work;
  }
  self_->send(config_.executor, push_request{std::move(job), id, saver_actor{self_}});
}

/// An earlier moment is not pushed over a later one: its round may have waited for another agent, or for credentials.
void saver_state::drop_overtaken(round& r) {
  for (auto i = r.items.begin(); i != r.items.end();) {
    const auto [known, is_first] = submitted_.try_emplace(i->first, 0);
    auto& latest = known->second;
    i->second.is_first_push |= is_first;
    if (i->second.order >= latest) {
      latest = i->second.order;
      overtake(i->first, latest);
      ++i;
      continue;
    }
    end_with(i->second, {error_code::conflict, i->first, "a later moment of it is being pushed"});
    i = r.items.erase(i);
  }
}

/// A later moment was acknowledged while this one was on its way.
bool saver_state::is_overtaken(const item& what) const {
  const auto known = acknowledged_.find(what.want.agent_id);
  return !what.kept && known != acknowledged_.end() && known->second.order > what.order;
}

/// Pushes of earlier moments that hang have perhaps not seen yet what the remote has.
void saver_state::overtake(const std::string& agent_id, std::uint64_t order) {
  for (auto& [id, r] : rounds_) {
    const auto it = r.items.find(agent_id);
    if (it != r.items.end() && it->second.order < order && it->second.overtaken) *it->second.overtaken = true;
  }
}

void saver_state::take(push_result& done) {
  const auto it = rounds_.find(done.round);
  if (it == rounds_.end()) return;
  auto& r = it->second;
  if (config_.metrics && done.took.count() > 0) config_.metrics->push_took(seconds_of(done.took));
  if (!done.outcome && done.outcome.error().code == error_code::unauthorized && !r.refreshed) {
    r.refreshed = true;
    return with_credentials(true, [this, id = done.round](const auto& login) { submit(id, login); });
  }
  if (done.outcome && r.url != spec_.git_url)
    done.outcome = error{error_code::cancelled, config_.rig_id, "the rig's remote is another one now"};
  auto items = std::exchange(r.items, {});
  for (auto i = items.begin(); i != items.end();) {
    if (!is_overtaken(i->second)) {
      ++i;
      continue;
    }
    end_with(i->second, {error_code::conflict, i->first, "a later moment of it was pushed meanwhile"});
    i = items.erase(i);
  }
  if (!done.outcome) {
    for (auto& [agent_id, what] : items)
      end_with(what, done.outcome.error());
  } else {
    const bool together = items.size() > 1;
    std::int64_t sent = 0;
    for (const auto& p : *done.outcome)
      sent = std::max(sent, p.sent_bytes);
    if (config_.metrics) config_.metrics->add_pushed_bytes(sent);
    for (auto& [agent_id, what] : items) {
      const auto p = std::find_if(done.outcome->begin(), done.outcome->end(),
                                  [&, id = agent_id](const auto& pushed) { return pushed.agent_id == id; });
      settle(std::move(what), p == done.outcome->end() ? nullptr : &*p, together);
    }
  }
  pump();
}

/// What the remote said of one agent's point.
void saver_state::settle(item&& what, const git::pushed_point* pushed, bool together) {
  const auto& agent_id = what.want.agent_id;
  if (pushed == nullptr) return end_with(what, {error_code::internal, agent_id, "the push says nothing of this agent"});
  unanswered_.erase(agent_id);
  if (pushed->point) {
    if (what.kept) return answer_kept(what, *pushed->point);
    return acknowledge(what, *pushed->point);
  }
  const auto& why = pushed->point.error();
  if (pushed->refused == git::refusal::no_answer) {
    unanswered_.insert(agent_id);
    if (!together) return end_with(what, why);
    log::warn("the remote did not answer a push in time; each of its agents goes alone",
              {{"rig", config_.rig_id}, {"agent", agent_id}, {"error", to_string(why)}});
    return push_alone(std::move(what));
  }
  // The remote that takes no point has none of an older container to be greater than.
  const bool only_claims = what.want.claim && !what.want.even_if_clean && !what.taken->holds_work && what.is_first_push;
  if (only_claims && (why.code == error_code::forbidden || why.code == error_code::too_large)) {
    log::warn("the remote refused a point without work: none is made",
              {{"rig", config_.rig_id}, {"agent", agent_id}, {"error", to_string(why)}});
    return acknowledge(what, std::nullopt);
  }
  const bool once_more = pushed->refused == git::refusal::content && !what.refused_fingerprint &&
                         what.taken->files.untracked > 0 && !taking_.contains(agent_id);
  if (!once_more) return end_with(what, why);
  log::warn("the remote refused what an agent's work holds; once more without its untracked files",
            {{"rig", config_.rig_id}, {"agent", agent_id}, {"error", to_string(why)}});
  what.refused_fingerprint = what.taken->fingerprint;
  what.taken.reset();
  const auto id = ++last_round_;
  auto& r = rounds_[id];
  r.late = true;
  r.begun = self_->clock().now();
  auto& again = r.items[agent_id] = std::move(what);
  request_snapshot(id, again);
}

void saver_state::acknowledge(item& what, const std::optional<town::recovery_point>& point) {
  const auto agent_id = what.want.agent_id;
  auto& known = acknowledged_[agent_id];
  known = {};
  known.fingerprints = {what.taken->fingerprint};
  known.order = what.order;
  if (what.refused_fingerprint) try_refused_later(known, what);
  known.point = point;
  count(point ? "saved" : "clean");
  if (point) {
    if (config_.metrics) config_.metrics->point_saved();
    report(what, *point);
    tidy(agent_id, what.taken->repository, point->commit);
  }
  end(what, save_done{what.told_round, point, false, what.taken->left_out, what.taken->files});
}

/// The moment counts as saved until then, or until something changes.
void saver_state::try_refused_later(acknowledged& known, const item& what) {
  known.fingerprints.insert(*what.refused_fingerprint);
  known.refused = what.refused_fingerprint;
  known.again = what.want;
  known.again.keeper = nullptr;
  known.keeper = caf::actor_cast<caf::actor_addr>(what.want.keeper);
  wake_at(known.again_at.emplace(self_->clock().now() + config_.refused_again_after));
}

void saver_state::forget_refusal(acknowledged& known) {
  if (known.refused) known.fingerprints.erase(*known.refused);
  known.refused.reset();
  known.again_at.reset();
}

/// What the remote refused once is wanted again when its time has come: a rule that is lifted heals by itself.
void saver_state::try_refused(time_point now) {
  for (auto& [agent_id, known] : acknowledged_) {
    if (!known.again_at) continue;
    if (*known.again_at > now) {
      wake_at(*known.again_at);
      continue;
    }
    forget_refusal(known);
    auto again = known.again;
    again.keeper = caf::actor_cast<keeper_actor>(known.keeper);
    again.urgent = false;
    again.kind = "auto";
    if (again.keeper && !wanted_.contains(agent_id))
      wanted_.emplace(agent_id, wanted_save{std::move(again), now - config_.gather_delay});
  }
}

/// Only when nothing else of this agent is under way: its objects are in no point yet.
void saver_state::tidy(const std::string& agent_id, const std::filesystem::path& repository,
                       const std::string& commit) {
  const bool busy = taking_.contains(agent_id) || std::any_of(rounds_.begin(), rounds_.end(), [&](const auto& r) {
                      return r.second.items.contains(agent_id);
                    });
  if (!busy) self_->send(config_.executor, prune_request{config_.rig_id, agent_id, repository, {commit}});
}

void saver_state::end(item& what, save_done done) {
  if (what.want.keeper) self_->send(what.want.keeper, std::move(done));
}

void saver_state::end_with(item& what, const error& why) {
  count(to_string(why.code));
  if (what.kept) {
    // What the remote had when it could last be asked is not lost by its being away.
    const bool holds_nothing = what.only_work && what.taken && !what.taken->holds_work;
    what.kept->deliver(holds_nothing ? keep_disk_answer{std::optional<town::recovery_point>{}} : keep_disk_answer{why});
    return;
  }
  save_done done{what.told_round, why, false, {}, std::nullopt};
  if (what.taken) done.files = what.taken->files;
  end(what, std::move(done));
}

void saver_state::count(std::string_view result) const {
  if (config_.metrics) config_.metrics->save_ended(result);
}

// -- the town ---------------------------------------------------------------------------------------------------------

/// Saved is what the remote has; the town is told, and only then is the old ref not needed any more.
void saver_state::report(const item& what, const town::recovery_point& point) {
  auto old = what.want.replaces;
  old.erase(point.ref);
  const auto agent_id = what.want.agent_id;
  self_->request(config_.town, caf::infinite, report_point{config_.rig_id, agent_id, point, false})
      .then(
          [this, agent_id, old = std::move(old)](const point_reported& answer) mutable {
            if (!answer.recorded) {
              log::warn("the town has not recorded a point",
                        {{"agent", agent_id}, {"error", to_string(answer.recorded.error())}});
              return;
            }
            // One that is only listed as kept has not taken the old one's place.
            if (answer.kept || old.empty()) return;
            to_delete_.merge(old);
            delete_old_refs();
          },
          [this, agent_id](const caf::error& e) {
            log::warn("the town was not told of a point", {{"agent", agent_id}, {"error", self_->system().render(e)}});
          });
}

void saver_state::answer_kept(item& what, const std::optional<town::recovery_point>& point) {
  if (!point && !what.only_work)
    return end_with(what, {error_code::internal, what.want.agent_id, "the push made no point of it"});
  count(point ? "saved" : "clean");
  if (point && git::is_kept_point(point->ref)) return report_kept(what, *point);
  if (point) report(what, *point);
  what.kept->deliver(keep_disk_answer{point});
}

/// Nobody looks for a kept point that the town does not list.
void saver_state::report_kept(item& what, const town::recovery_point& point) {
  const auto agent_id = what.want.agent_id;
  self_->request(config_.town, caf::infinite, report_point{config_.rig_id, agent_id, point, true})
      .then(
          [promise = *what.kept, point](const point_reported& answer) mutable {
            promise.deliver(answer.recorded ? keep_disk_answer{std::optional{point}}
                                            : keep_disk_answer{answer.recorded.error()});
          },
          [this, promise = *what.kept, agent_id](const caf::error& e) mutable {
            promise.deliver(keep_disk_answer{
                error{error_code::unavailable, agent_id, "the town was not told: " + self_->system().render(e)}});
          });
}

// -- old refs ---------------------------------------------------------------------------------------------------------

void saver_state::delete_old_refs() {
  if (to_delete_.empty() || deleting_ || repository_.empty()) return;
  deleting_ = true;
  delete_again_at_.reset();
  with_credentials(std::exchange(delete_refused_, false), [this](const auto& login) {
    if (!login) {
      delete_result failed{config_.rig_id, login.error()};
      return take(failed);
    }
    git::delete_job job;
    job.rig_id = config_.rig_id;
    job.repository = repository_;
    job.url = spec_.git_url;
    job.refs = deleting_refs_ = to_delete_;
    job.login = *login;
    job.limits = config_.transfer;
    job.urls = config_.urls;
    job.ca_file = config_.ca_file;
    job.cancel = std::make_shared<std::atomic<bool>>(false);
    self_->send(config_.executor, delete_request{std::move(job), saver_actor{self_}});
  });
}

void saver_state::take(delete_result& done) {
  deleting_ = false;
  if (!done.outcome) {
    log::warn("old points could not be deleted; tried again",
              {{"rig", config_.rig_id}, {"error", to_string(done.outcome.error())}});
    delete_refused_ = done.outcome.error().code == error_code::unauthorized;
    return wake_at(delete_again_at_.emplace(self_->clock().now() + config_.delete_again_after));
  }
  for (const auto& [ref, commit] : std::exchange(deleting_refs_, {})) {
    to_delete_.erase(ref);
    if (!done.outcome->contains(ref))
      log::warn("an old point is left: its ref names another commit", {{"rig", config_.rig_id}, {"ref", ref}});
  }
  delete_old_refs(); // those that came meanwhile
}

// -- credentials ------------------------------------------------------------------------------------------------------

/// A town that is down does not stop a save: then the last known ones are tried.
void saver_state::with_credentials(bool refresh,
                                   const std::function<void(const result<std::optional<git::credentials>>&)>& next) {
  const auto otherwise = [this, refresh, next](const error& why) {
    if (!refresh && login_) return next(*login_);
    next(why);
  };
  const auto supervisor = caf::actor_cast<supervisor_actor>(config_.supervisor);
  if (!supervisor) return otherwise({error_code::unavailable, config_.rig_id, "nobody knows its credentials"});
  self_->request(supervisor, config_.credentials_limit, git_credentials_query{config_.rig_id, refresh})
      .then(
          [this, next, otherwise](git_credentials_answer& answer) {
            if (!answer.login) return otherwise(answer.login.error());
            if (!answer.git_url.empty() && answer.git_url != spec_.git_url)
              return next(error{error_code::unavailable, config_.rig_id, "its credentials are for another remote"});
            login_ = *answer.login;
            next(*login_);
          },
          [this, otherwise](const caf::error& e) {
            otherwise(
                {error_code::timed_out, config_.rig_id, "its credentials did not come: " + self_->system().render(e)});
          });
}

} // namespace townkeeper
