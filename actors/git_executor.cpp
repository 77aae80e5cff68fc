#include "actors/git_executor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>

#include "actors/failure_text.hpp"
#include "core/heap.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

enum lane_index : std::size_t { network = 0, disk = 1, push = 2, snapshot = 3 };

error still_hangs(const std::string& key) {
  return {error_code::timed_out, key, "an earlier job of it still hangs in a thread that was given up"};
}

void cancel(const git_request& request) {
  std::visit(
      [](const auto& r) {
        if constexpr (requires { r.job.cancel; })
          if (r.job.cancel) *r.job.cancel = true;
      },
      request);
}

} // namespace

git_executor_actor::behavior_type git_executor(git_executor_actor::stateful_pointer<git_executor_state> self,
                                               git_executor_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

git_executor_actor::behavior_type git_executor_state::make_behavior(git_executor_config config) {
  config_ = std::move(config);
  lanes_[network].max_workers = config_.network_workers;
  lanes_[network].deadline = config_.network_deadline;
  lanes_[disk].max_workers = config_.disk_workers;
  lanes_[disk].deadline = config_.disk_deadline;
  lanes_[push].max_workers = config_.push_workers;
  lanes_[push].deadline = config_.push_deadline;
  lanes_[snapshot].max_workers = config_.snapshot_workers;
  lanes_[snapshot].deadline = config_.snapshot_deadline;
  if (!config_.at_rest)
    config_.at_rest = [](git_executor_actor::pointer self) {
      self->spawn<caf::detached>([] { give_back_free_memory(memory_is::at_rest); }); // it takes its time
    };
  if (!config_.spawn_worker)
    config_.spawn_worker = [health = config_.health](git_executor_actor::pointer self) {
      return self->spawn<caf::linked + caf::detached>(git_worker, git_executor_actor{self}, health);
    };
  return {
      [this](repository_request& r) {
        auto key = "repository " + r.job.rig_id;
        auto rig = r.job.rig_id;
        submit_newest(network, std::move(key), std::move(rig), std::move(r));
      },
      [this](worktree_request& r) {
        auto key = "worktree " + r.rig_id + "/" + r.job.agent_id;
        auto rig = r.rig_id;
        submit_newest(disk, std::move(key), std::move(rig), std::move(r));
      },
      [this](snapshot_request& r) {
        auto key = "snapshot " + r.rig_id + "/" + r.job.agent_id;
        auto rig = r.rig_id;
        submit(snapshot, std::move(key), std::move(rig), std::move(r));
      },
      [this](prune_request& r) {
        // Under the snapshots' key: nothing is removed from a store that a snapshot is being written to.
        auto key = "snapshot " + r.rig_id + "/" + r.agent_id;
        auto rig = r.rig_id;
        submit(snapshot, std::move(key), std::move(rig), std::move(r));
      },
      [this](push_request& r) {
        // A key of its own: a push that hangs holds up no other of its rig.
        auto key = "push " + r.job.rig_id + "/" + std::to_string(last_id_ + 1);
        auto rig = r.job.rig_id;
        submit(push, std::move(key), std::move(rig), std::move(r));
      },
      [this](delete_request& r) {
        auto key = "delete " + r.job.rig_id + "/" + std::to_string(last_id_ + 1);
        auto rig = r.job.rig_id;
        submit(push, std::move(key), std::move(rig), std::move(r));
      },
      [this](job_finished& done) { finish(done); },
      [this](const job_overdue& overdue) { give_up(overdue.id); },
      [this](const rest_due& due) { rest(due.last_id); },
  };
}

/// An older job of this key is not wanted any more.
void git_executor_state::submit_newest(std::size_t lane_index, std::string key, std::string rig_id,
                                       git_request request) {
  if (!is_given_up(key)) {
    cancel_older(key);
    refuse_waiting(lanes_[lane_index], rig_id, key, error{error_code::cancelled, key, "a newer job took its place"});
  }
  submit(lane_index, std::move(key), std::move(rig_id), std::move(request));
}

void git_executor_state::submit(std::size_t lane_index, std::string key, std::string rig_id, git_request request) {
  job what{++last_id_, std::move(key), std::move(rig_id), std::move(request)};
  if (is_given_up(what.key)) return refuse(what, still_hangs(what.key));
  lanes_[lane_index].waiting[what.rig_id].push_back(std::move(what));
  pump(lane_index);
}

void git_executor_state::pump(std::size_t lane_index) {
  auto& l = lanes_[lane_index];
  while (!l.idle.empty() || l.workers < l.max_workers) {
    auto what = next(l);
    if (!what) return;
    run(lane_index, std::move(*what));
  }
}

/// The first job that may run, beginning with the rig whose turn it is, or the one after it when the turn is over.
std::optional<git_executor_state::job> git_executor_state::next(lane& from) {
  const bool over = from.served >= config_.jobs_per_turn;
  auto rig = over ? from.waiting.upper_bound(from.serving) : from.waiting.lower_bound(from.serving);
  for (std::size_t seen = 0, all = from.waiting.size(); seen < all; ++seen) {
    if (rig == from.waiting.end()) rig = from.waiting.begin();
    auto& queue = rig->second;
    for (auto it = queue.begin(); it != queue.end(); ++it) {
      if (is_running(it->key)) continue;
      auto what = std::move(*it);
      from.served = over || from.serving != rig->first ? 1 : from.served + 1;
      from.serving = rig->first;
      queue.erase(it);
      if (queue.empty()) from.waiting.erase(rig);
      return what;
    }
    ++rig;
  }
  return std::nullopt;
}

void git_executor_state::run(std::size_t lane_index, job&& what) {
  auto& l = lanes_[lane_index];
  git_worker_actor thread;
  if (!l.idle.empty()) {
    thread = std::move(l.idle.back());
    l.idle.pop_back();
  } else {
    thread = config_.spawn_worker(self_);
    ++l.workers;
  }
  const auto id = what.id;
  std::visit([&](const auto& request) { self_->send(thread, id, request); }, what.request);
  self_->delayed_send(self_, l.deadline, job_overdue{id});
  running_.emplace(id, running_job{std::move(what), lane_index, std::move(thread), false, false});
}

void git_executor_state::finish(job_finished& done) {
  const auto it = running_.find(done.id);
  if (it == running_.end()) return;
  auto ended = std::move(it->second);
  running_.erase(it);
  if (ended.given_up) {
    // Its asker was answered long ago.
    log::warn("a git job that was given up has ended", {{"job", ended.what.key}});
    if (ended.replaced) {
      --replaced_;
      end_worker(ended.worker);
      replace_given_up();
    } else {
      lanes_[ended.lane].idle.push_back(std::move(ended.worker));
    }
    for (std::size_t i = 0; i < lanes_.size(); ++i)
      pump(i);
  } else {
    std::visit([&](auto& outcome) { answer(ended.what.request, std::move(outcome)); }, done.outcome);
    lanes_[ended.lane].idle.push_back(std::move(ended.worker));
    pump(ended.lane);
  }
  end_spare_workers(lanes_[ended.lane]);
  if (running_.empty()) self_->delayed_send(self_, config_.lull, rest_due{last_id_});
}

void git_executor_state::rest(std::uint64_t last_id) const {
  if (last_id == last_id_ && running_.empty()) config_.at_rest(self_);
}

/// What a burst needed: each thread holds what its allocations have left behind (glibc: some 200 KiB).
void git_executor_state::end_spare_workers(lane& of) {
  while (of.idle.size() > config_.spare_workers) {
    end_worker(of.idle.back());
    of.idle.pop_back();
    --of.workers;
  }
}

void git_executor_state::end_worker(git_worker_actor& worker) {
  self_->unlink_from(worker);
  self_->send_exit(worker, caf::exit_reason::user_shutdown);
}

void git_executor_state::give_up(std::uint64_t id) {
  const auto it = running_.find(id);
  if (it == running_.end() || it->second.given_up) return;
  auto& late = it->second;
  cancel(late.what.request);
  log::failure("a git job is past its deadline", {{"job", late.what.key}});
  refuse(late.what, error{error_code::timed_out, late.what.key, "the job did not end by its deadline"});
  late.given_up = true;
  refuse_waiting(lanes_[late.lane], late.what.rig_id, late.what.key, still_hangs(late.what.key));
  const auto lane_index = late.lane;
  replace_given_up();
  pump(lane_index);
}

void git_executor_state::replace_given_up() {
  for (auto& [id, r] : running_) {
    if (replaced_ >= config_.max_given_up) return;
    if (!r.given_up || r.replaced) continue;
    r.replaced = true;
    ++replaced_;
    --lanes_[r.lane].workers;
  }
}

/// A job of this key that waits is not wanted any more, or will never have its turn.
void git_executor_state::refuse_waiting(lane& from, const std::string& rig_id, const std::string& key,
                                        const error& why) {
  const auto of_rig = from.waiting.find(rig_id);
  if (of_rig == from.waiting.end()) return;
  auto& queue = of_rig->second;
  for (auto it = queue.begin(); it != queue.end();) {
    if (it->key != key) {
      ++it;
      continue;
    }
    refuse(*it, why);
    it = queue.erase(it);
  }
  if (queue.empty()) from.waiting.erase(of_rig);
}

void git_executor_state::refuse(const job& what, const error& why) {
  std::visit(
      [&](const auto& request) {
        using request_type = std::decay_t<decltype(request)>;
        if constexpr (std::is_same_v<request_type, repository_request>) {
          answer(what.request, repository_result{request.job.rig_id, why, 0});
        } else if constexpr (std::is_same_v<request_type, worktree_request>) {
          if (request.remove) return answer(what.request, removal_result{request.job.agent_id, why});
          answer(what.request, worktree_result{request.job.agent_id, why});
        } else if constexpr (std::is_same_v<request_type, snapshot_request>) {
          answer(what.request, snapshot_result{request.job.agent_id, request.round, why, {}});
        } else if constexpr (std::is_same_v<request_type, push_request>) {
          answer(what.request, push_result{request.job.rig_id, request.round, why, {}});
        } else if constexpr (std::is_same_v<request_type, delete_request>) {
          answer(what.request, delete_result{request.job.rig_id, why});
        } else {
          answer(what.request, prune_result{request.agent_id, why});
        }
      },
      what.request);
}

template <class Outcome>
void git_executor_state::answer(const git_request& request, Outcome&& outcome) {
  using outcome_type = std::decay_t<Outcome>;
  if constexpr (std::is_same_v<outcome_type, prune_result>) {
    // Nobody waits for it: what was left is removed after the next push.
    if (!outcome.outcome)
      log::warn("a private object store was not tidied",
                {{"agent", outcome.agent_id}, {"error", to_string(outcome.outcome.error())}});
  } else {
    using request_type = std::conditional_t<
        std::is_same_v<outcome_type, repository_result>, repository_request,
        std::conditional_t<std::is_same_v<outcome_type, snapshot_result>, snapshot_request,
                           std::conditional_t<std::is_same_v<outcome_type, push_result>, push_request,
                                              std::conditional_t<std::is_same_v<outcome_type, delete_result>,
                                                                 delete_request, worktree_request>>>>;
    self_->send(std::get<request_type>(request).asker, std::forward<Outcome>(outcome));
  }
}

void git_executor_state::cancel_older(const std::string& key) {
  for (auto& [id, r] : running_)
    if (r.what.key == key) cancel(r.what.request);
}

bool git_executor_state::is_given_up(const std::string& key) const {
  return std::any_of(running_.begin(), running_.end(),
                     [&](const auto& r) { return r.second.given_up && r.second.what.key == key; });
}

bool git_executor_state::is_running(const std::string& key) const {
  return std::any_of(running_.begin(), running_.end(), [&](const auto& r) { return r.second.what.key == key; });
}

} // namespace townkeeper
