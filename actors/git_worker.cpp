#include "actors/git_worker.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>

#include "actors/failure_text.hpp"
#include "core/heap.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

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
  case git::worktree_step::recovery:
    return town::agent_phase::recovery;
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

std::chrono::milliseconds since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
}

snapshot_result run_snapshot(const snapshot_request& request) {
  const auto begun = std::chrono::steady_clock::now();
  auto outcome = guarded<git::snapshot>(request.job.agent_id, [&] { return git::take_snapshot(request.job); });
  return {request.job.agent_id, request.round, std::move(outcome), since(begun)};
}

/// The worktree remembers the point before it is sent: a daemon that dies between the remote's word and ours finds a
/// disk that is not older than what the remote has. A kept point is none that the worktree stands at.
void remember(const git::push_job& job, const town::recovery_point& point, const std::string& agent_id) {
  if (git::is_kept_point(point.ref)) return;
  const auto known = git::read_point_mark(job.repository, agent_id);
  if (known && std::pair{known->epoch, known->seq} >= std::pair{point.epoch, point.seq}) return;
  const auto written = git::write_point_mark(job.repository, agent_id, {point.epoch, point.seq, point.commit});
  if (!written)
    log::warn("a worktree cannot remember its point", {{"agent", agent_id}, {"error", to_string(written.error())}});
}

push_result run_push(const push_request& request) {
  const auto begun = std::chrono::steady_clock::now();
  auto job = request.job;
  auto outcome = guarded<std::vector<git::pushed_point>>(job.rig_id, [&]() -> result<std::vector<git::pushed_point>> {
    job.about_to_send = [&job](const std::string& agent_id, const town::recovery_point& point) {
      remember(job, point, agent_id);
    };
    return git::push_points(job);
  });
  return {job.rig_id, request.round, std::move(outcome), since(begun)};
}

prune_result run_prune(const prune_request& request) {
  return {request.agent_id, guarded<void>(request.agent_id, [&] {
            return git::prune_private_objects(request.repository, request.agent_id, request.keep);
          })};
}

} // namespace

git_worker_actor::behavior_type git_worker(git_worker_actor::pointer self, const git_executor_actor& executor,
                                           const caf::actor_addr& health_address) {
  keep_exception_text(self);
  const auto parent = caf::actor_cast<caf::actor_addr>(executor);
  const auto answer = [self, parent](std::uint64_t id, auto outcome) {
    if (const auto to = caf::actor_cast<git_executor_actor>(parent))
      self->send(to, job_finished{id, std::move(outcome)});
    give_back_free_memory(memory_is::in_use);
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
      [=](std::uint64_t id, const snapshot_request& r) { answer(id, run_snapshot(r)); },
      [=](std::uint64_t id, const push_request& r) { answer(id, run_push(r)); },
      [=](std::uint64_t id, const delete_request& r) {
        answer(id, delete_result{r.job.rig_id, guarded<std::set<std::string>>(
                                                   r.job.rig_id, [&] { return git::delete_points(r.job); })});
      },
      [=](std::uint64_t id, const prune_request& r) { answer(id, run_prune(r)); },
  };
}

} // namespace townkeeper
