#include "actors/git_executor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>

#include "actors/failure_text.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

enum lane_index : std::size_t { network = 0, disk = 1 };

/// Progress goes out at most this often for each job.
constexpr std::chrono::milliseconds progress_interval{100};

class rate_limit {
public:
  bool due() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < progress_interval) return false;
    last_ = now;
    return true;
  }

private:
  std::chrono::steady_clock::time_point last_{};
};

/// Runs one job to its end on the calling (worker) thread. An exception that escapes the git layer is a bug: reported
/// as such.
template <class T, class Run>
result<T> guarded(const std::string& object, Run&& run) {
  try {
    return run();
  } catch (const std::exception& e) {
    return error{error_code::internal, object, std::string{"the git layer threw: "} + e.what()};
  }
}

repository_result run_job(const repository_request& request, const health_actor& health) {
  repository_result out{request.job.rig_id, error{}, 0};
  rate_limit limit;
  out.outcome = guarded<git::repository_restored>(request.job.rig_id, [&] {
    return git::restore_repository(request.job, [&](const git::transfer_progress& p) {
      out.received_bytes = p.received_bytes;
      const bool complete = p.total_objects > 0 && p.received_objects == p.total_objects;
      if (health && p.fetching && (complete || limit.due()))
        caf::anon_send(health, rig_transfer{request.job.rig_id, p.received_bytes, p.received_objects, p.total_objects});
    });
  });
  return out;
}

town::agent_phase phase_of(git::worktree_step step) {
  switch (step) {
  case git::worktree_step::branch:
    return town::agent_phase::branch;
  case git::worktree_step::files:
    return town::agent_phase::files;
  case git::worktree_step::verifying:
    return town::agent_phase::verifying;
  }
  return town::agent_phase::branch;
}

worktree_result run_restore(const worktree_request& request, const health_actor& health) {
  const auto& job = request.job;
  rate_limit limit;
  auto last_step = git::worktree_step::branch;
  return {job.agent_id, guarded<git::worktree_restored>(job.agent_id, [&] {
            return git::restore_worktree(job, [&](const git::worktree_progress& p) {
              if (!health || (p.step == last_step && !limit.due())) return;
              last_step = p.step;
              caf::anon_send(health, worktree_progress{request.rig_id, job.agent_id, phase_of(p.step), p.files_done,
                                                       p.files_total, std::nullopt});
            });
          })};
}

/// A worker: one thread, one job at a time, each answered to the executor.
git_worker_actor::behavior_type worker(git_worker_actor::pointer self, const git_executor_actor& executor,
                                       const caf::actor_addr& health_address) {
  keep_exception_text(self);
  const auto parent = caf::actor_cast<caf::actor_addr>(executor);
  const auto answer = [self, parent](std::uint64_t id, auto outcome) {
    if (const auto to = caf::actor_cast<git_executor_actor>(parent))
      self->send(to, job_finished{id, std::move(outcome)});
  };
  return {
      [=](std::uint64_t id, const repository_request& r) {
        answer(id, run_job(r, caf::actor_cast<health_actor>(health_address)));
      },
      [=](std::uint64_t id, const worktree_request& r) {
        if (r.remove) {
          answer(id, removal_result{r.job.agent_id, guarded<git::worktree_removal>(
                                                        r.job.agent_id, [&] { return git::remove_worktree(r.job); })});
        } else {
          answer(id, run_restore(r, caf::actor_cast<health_actor>(health_address)));
        }
      },
  };
}

error still_hangs(const std::string& key) {
  return {error_code::timed_out, key, "an earlier job of it still hangs in a thread that was given up"};
}

const git::cancel_flag& cancel_flag_of(const std::variant<repository_request, worktree_request>& request) {
  return std::visit([](const auto& r) -> const git::cancel_flag& { return r.job.cancel; }, request);
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
  if (!config_.spawn_worker)
    config_.spawn_worker = [health = config_.health](git_executor_actor::pointer self) {
      return self->spawn<caf::linked + caf::detached>(worker, git_executor_actor{self}, health);
    };
  return {
      [this](repository_request& r) {
        auto key = "repository " + r.job.rig_id;
        auto rig = r.job.rig_id;
        submit(network, job{++last_id_, std::move(key), std::move(rig), std::move(r)});
      },
      [this](worktree_request& r) {
        auto key = "worktree " + r.rig_id + "/" + r.job.agent_id;
        auto rig = r.rig_id;
        submit(disk, job{++last_id_, std::move(key), std::move(rig), std::move(r)});
      },
      [this](job_finished& done) { finish(done); },
      [this](const job_overdue& overdue) { give_up(overdue.id); },
  };
}

void git_executor_state::submit(std::size_t lane_index, job&& what) {
  for (const auto& [id, r] : running_) {
    if (!r.given_up || r.what.key != what.key) continue;
    refuse(what, still_hangs(what.key));
    return;
  }
  cancel_older(what.key);
  auto& to = lanes_[lane_index];
  refuse_waiting(to, what.rig_id, what.key, error{error_code::cancelled, what.key, "a newer job took its place"});
  to.waiting[what.rig_id].push_back(std::move(what));
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
      self_->unlink_from(ended.worker);
      self_->send_exit(ended.worker, caf::exit_reason::user_shutdown);
      replace_given_up();
    } else {
      lanes_[ended.lane].idle.push_back(std::move(ended.worker));
    }
    pump(network);
    pump(disk);
    return;
  }
  if (auto* request = std::get_if<repository_request>(&ended.what.request)) {
    self_->send(request->asker, std::move(std::get<repository_result>(done.outcome)));
  } else {
    auto& asker = std::get<worktree_request>(ended.what.request).asker;
    if (auto* restored = std::get_if<worktree_result>(&done.outcome)) {
      self_->send(asker, std::move(*restored));
    } else {
      self_->send(asker, std::move(std::get<removal_result>(done.outcome)));
    }
  }
  lanes_[ended.lane].idle.push_back(std::move(ended.worker));
  pump(ended.lane);
}

void git_executor_state::give_up(std::uint64_t id) {
  const auto it = running_.find(id);
  if (it == running_.end() || it->second.given_up) return;
  auto& late = it->second;
  *cancel_flag_of(late.what.request) = true;
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
  if (const auto* repository = std::get_if<repository_request>(&what.request)) {
    self_->send(repository->asker, repository_result{repository->job.rig_id, why, 0});
    return;
  }
  const auto& request = std::get<worktree_request>(what.request);
  if (request.remove) {
    self_->send(request.asker, removal_result{request.job.agent_id, why});
  } else {
    self_->send(request.asker, worktree_result{request.job.agent_id, why});
  }
}

void git_executor_state::cancel_older(const std::string& key) {
  for (auto& [id, r] : running_)
    if (r.what.key == key) *cancel_flag_of(r.what.request) = true;
}

bool git_executor_state::is_running(const std::string& key) const {
  return std::any_of(running_.begin(), running_.end(), [&](const auto& r) { return r.second.what.key == key; });
}

} // namespace townkeeper
