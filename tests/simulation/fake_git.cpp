#include "fake_git.hpp"

#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <variant>

#include "messages/type_ids.hpp"

namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

/// A worker looks at its cancel flag at least this often.
constexpr auto cancel_latency = 100ms;

struct waiting_job {
  std::string key;
  std::variant<repository_request, worktree_request> request;
};

struct running_job {
  std::string key;
  std::variant<repository_request, worktree_request> request;
  job_finished end; ///< what is said if nobody cancels it
};

struct executor_state {
  static inline const char* name = "fake_executor";

  std::shared_ptr<fake_git> git;
  std::deque<waiting_job> waiting;
  std::map<std::uint64_t, running_job> running;
  std::uint64_t last_id = 0;
};

using executor_pointer = git_executor_actor::stateful_pointer<executor_state>;

bool is_cancelled(const running_job& job) {
  return std::visit([](const auto& r) { return r.job.cancel && *r.job.cancel; }, job.request);
}

void answer(executor_pointer self, const running_job& job, const job_finished& end) {
  if (const auto* fetch = std::get_if<repository_request>(&job.request)) {
    auto done = std::get<repository_result>(end.outcome);
    if (is_cancelled(job)) done.outcome = error{error_code::cancelled, done.rig_id, "cancelled"};
    self->send(fetch->asker, std::move(done));
    return;
  }
  const auto& request = std::get<worktree_request>(job.request);
  auto& git = *self->state.git;
  const error cancelled{error_code::cancelled, request.job.agent_id, "cancelled"};
  if (request.remove) {
    auto done = std::get<removal_result>(end.outcome);
    if (is_cancelled(job)) done.outcome = cancelled;
    if (done.outcome && done.outcome->removed) git.disk.erase(request.job.worktree.string());
    self->send(request.asker, std::move(done));
  } else {
    auto done = std::get<worktree_result>(end.outcome);
    if (is_cancelled(job)) done.outcome = cancelled;
    if (done.outcome)
      git.disk[request.job.worktree.string()] = request.job.repository.string() + "@" + done.outcome->commit;
    self->send(request.asker, std::move(done));
  }
}

void run(executor_pointer self, waiting_job&& what) {
  auto& state = self->state;
  const auto id = ++state.last_id;
  running_job job{what.key, what.request, {}};
  std::chrono::milliseconds after{0};
  bool never = false;
  const auto take = [&](const auto& plan) {
    after = plan.after;
    never = plan.never;
  };
  auto& git = *state.git;
  if (const auto* fetch = std::get_if<repository_request>(&what.request)) {
    const auto plan = git.on_fetch ? git.on_fetch(fetch->job) : git.fetched(fetch->job);
    take(plan);
    job.end = {id, repository_result{fetch->job.rig_id, plan.outcome, plan.received_bytes}};
  } else {
    const auto& request = std::get<worktree_request>(what.request);
    if (git.touched) git.touched(request.job);
    if (request.remove) {
      const auto plan = git.on_removal
                            ? git.on_removal(request.job)
                            : git_plan<git::worktree_removal>{git::worktree_removal{true, ""}, 10ms, false, 0};
      take(plan);
      job.end = {id, removal_result{request.job.agent_id, plan.outcome}};
    } else {
      const auto plan = git.on_worktree ? git.on_worktree(request.job) : git.restored(request.job);
      take(plan);
      job.end = {id, worktree_result{request.job.agent_id, plan.outcome}};
    }
  }
  if (!never) self->delayed_send(self, after, job.end);
  state.running.emplace(id, std::move(job));
}

void pump(executor_pointer self) {
  auto& state = self->state;
  for (auto it = state.waiting.begin(); it != state.waiting.end();) {
    const bool busy =
        std::any_of(state.running.begin(), state.running.end(), [&](const auto& r) { return r.second.key == it->key; });
    if (busy) {
      ++it;
      continue;
    }
    auto what = std::move(*it);
    it = state.waiting.erase(it);
    run(self, std::move(what));
  }
}

template <class Request>
void take(executor_pointer self, std::string key, Request& request) {
  auto& state = self->state;
  ++state.git->under_way;
  for (auto& [id, job] : state.running) {
    if (job.key != key) continue;
    std::visit([](auto& r) { *r.job.cancel = true; }, job.request);
    self->delayed_send(self, cancel_latency, job_finished{id, job.end.outcome});
  }
  for (auto it = state.waiting.begin(); it != state.waiting.end();) {
    if (it->key != key) {
      ++it;
      continue;
    }
    std::visit([](auto& r) { *r.job.cancel = true; }, it->request);
    running_job refused{it->key, it->request, {}};
    if (const auto* fetch = std::get_if<repository_request>(&it->request)) {
      refused.end.outcome = repository_result{fetch->job.rig_id, error{}, 0};
    } else if (const auto& w = std::get<worktree_request>(it->request); w.remove) {
      refused.end.outcome = removal_result{w.job.agent_id, error{}};
    } else {
      refused.end.outcome = worktree_result{w.job.agent_id, error{}};
    }
    answer(self, refused, refused.end);
    --state.git->under_way;
    it = state.waiting.erase(it);
  }
  state.waiting.push_back({std::move(key), std::move(request)});
  pump(self);
}

/// Snapshots and pushes run side by side, each as its plan says.
template <class Answer, class Handle, class Plan>
void answer_later(executor_pointer self, const Handle& asker, Answer answer, const Plan& plan) {
  answer.outcome = plan.outcome;
  if (!plan.never) self->delayed_send(asker, plan.after, std::move(answer));
}

git_executor_actor::behavior_type executor(executor_pointer self, std::shared_ptr<fake_git> git) {
  self->state.git = std::move(git);
  return {
      [self](repository_request& r) {
        self->state.git->fetches.push_back({r.job, self->clock().now(), r.asker.address()});
        take(self, "repository " + r.job.rig_id, r);
      },
      [self](worktree_request& r) {
        self->state.git->worktrees.push_back({r.job, r.remove, self->clock().now(), r.asker.address()});
        take(self, "worktree " + r.rig_id + "/" + r.job.agent_id, r);
      },
      [self](snapshot_request& r) {
        auto& fake = *self->state.git;
        fake.snapshots.push_back({r.job, self->clock().now()});
        fake.savers[r.job.agent_id] = r.asker.address();
        const auto plan = fake.on_snapshot ? fake.on_snapshot(r.job) : fake.taken(r.job);
        answer_later(self, r.asker, snapshot_result{r.job.agent_id, r.round, error{}, 10ms}, plan);
      },
      [self](push_request& r) {
        auto& fake = *self->state.git;
        fake.pushes.push_back({r.job, self->clock().now()});
        const auto plan = fake.on_push ? fake.on_push(r.job) : fake.pushed(r.job);
        answer_later(self, r.asker, push_result{r.job.rig_id, r.round, error{}, 10ms}, plan);
      },
      [self](delete_request& r) {
        auto& fake = *self->state.git;
        fake.deletions.push_back({r.job, self->clock().now()});
        std::set<std::string> gone;
        for (const auto& [ref, commit] : r.job.refs)
          gone.insert(ref);
        const auto plan = fake.on_delete ? fake.on_delete(r.job) : git_plan<std::set<std::string>>{std::move(gone)};
        answer_later(self, r.asker, delete_result{r.job.rig_id, error{}}, plan);
      },
      [self](prune_request& r) { self->state.git->prunes.push_back(r); },
      [self](job_finished& end) {
        const auto it = self->state.running.find(end.id);
        if (it == self->state.running.end()) return; // ended earlier, by being cancelled
        const auto job = std::move(it->second);
        self->state.running.erase(it);
        --self->state.git->under_way;
        answer(self, job, job.end);
        pump(self);
      },
      [](const job_overdue&) {},
      [](const rest_due&) {},
  };
}

} // namespace

std::string fake_git::tip_of(const std::string& url, const std::string& branch) {
  char digits[41];
  std::snprintf(digits, sizeof digits, "%040zx", std::hash<std::string>{}(url + " " + branch));
  return digits;
}

git_plan<git::repository_restored> fake_git::fetched(const git::repository_job& job) const {
  git::repository_restored done;
  done.repository = job.directory / ("repo-" + tip_of(job.url, "").substr(30) + ".git");
  auto wanted = job.branches;
  wanted.push_back(job.default_branch);
  for (const auto& branch : wanted)
    if (!missing_branches.contains(branch)) done.tips[branch] = tip_of(job.url, branch);
  done.fetched_bytes = 1000;
  return {std::move(done), std::chrono::milliseconds{10}, false, 1000};
}

git_plan<git::worktree_restored> fake_git::restored(const git::worktree_job& job) const {
  if (!job.remote_tip && job.ever_pushed)
    return failing<git::worktree_restored>(error_code::branch_missing, "no branch " + job.branch);
  git::worktree_restored done;
  done.branch = job.branch;
  done.commit = job.remote_tip.value_or(job.base_tip.value_or(""));
  done.created_from_base = !job.remote_tip;
  return {std::move(done), std::chrono::milliseconds{10}, false, 0};
}

git_plan<git::snapshot> fake_git::taken(const git::snapshot_job& job) const {
  git::snapshot s;
  s.agent_id = job.agent_id;
  s.branch = job.branch;
  s.repository = job.repository;
  const auto moment = moments.find(job.agent_id);
  s.uncommitted = s.holds_work = moment != moments.end();
  s.fingerprint = s.uncommitted ? moment->second : "clean";
  s.files.modified = s.uncommitted ? 1 : 0;
  s.files.untracked = s.uncommitted ? 1 : 0;
  if (job.without_untracked) {
    s.fingerprint += " without its untracked files";
    s.files.untracked = 0;
    s.files.left_out = 1;
    s.left_out.push_back({"untracked", "the remote refused the content"});
  }
  return {std::move(s), 10ms, false, 0};
}

git_plan<std::vector<git::pushed_point>> fake_git::pushed(const git::push_job& job) {
  std::vector<git::pushed_point> all;
  for (auto item : job.items) {
    if (!item.kept_ref.empty() && older_disks.contains(item.taken.agent_id)) item.ref = item.kept_ref;
    git::pushed_point p{item.taken.agent_id, std::optional<town::recovery_point>{}, git::refusal::none, 100};
    if (item.taken.uncommitted || item.even_if_clean || points.contains(item.ref)) {
      town::recovery_point point;
      point.epoch = job.epoch;
      point.seq = ++*job.seq;
      point.ref = item.ref;
      point.commit = item.taken.fingerprint + "@" + std::to_string(point.seq);
      point.git_url = job.url;
      point.branch = item.taken.branch;
      point.clean = !item.taken.uncommitted;
      point.saved_at = job.saved_at;
      point.kind = item.kind;
      point.files = item.taken.files;
      points[item.ref] = point;
      p.point = std::optional{std::move(point)};
    }
    all.push_back(std::move(p));
  }
  return {std::move(all), 10ms, false, 0};
}

std::size_t fake_git::restores_of(const std::string& agent_id) const {
  return static_cast<std::size_t>(std::count_if(
      worktrees.begin(), worktrees.end(), [&](const auto& w) { return w.job.agent_id == agent_id && !w.remove; }));
}

git_executor_actor spawn_fake_executor(caf::actor_system& system, std::shared_ptr<fake_git> git) {
  return system.spawn(executor, std::move(git));
}

} // namespace townkeeper::simulation
