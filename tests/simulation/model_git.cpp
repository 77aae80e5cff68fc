#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "model_container.hpp"

/// What a git worker does, on the model's remotes and disk: each job takes its time, is seen by the remote or is not,
/// and is answered or is not.
namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

const std::string remote_tip(40, 'b');

struct worker_state {
  static inline const char* name = "model_worker";
};

/// How one exchange with a remote goes.
struct fate {
  milliseconds seen{0};  ///< when the remote is asked: its refs as of then
  milliseconds done{0};  ///< when it has done it
  milliseconds ended{0}; ///< when the job ends
  bool has_effect = true;
  std::optional<error> failure; ///< of the whole
};

fate fate_of(model_world& w, const std::string& rig_id, int usual_ms) {
  auto& chance = w.chance;
  const auto weather = w.remotes.at(rig_id).weather;
  fate f;
  const auto span = [&](int most) {
    f.seen = chance.between(1, most / 3);
    f.done = f.seen + chance.between(1, most / 3);
    f.ended = f.done + chance.between(1, most / 3);
  };
  span(usual_ms);
  if (weather == sky::clear) return f;
  if (weather == sky::cut) {
    const bool refused = chance.chance(50);
    f.has_effect = false;
    f.ended = refused ? chance.between(1, 200) : chance.chance(10) ? 60s : 15s;
    f.failure = error{refused ? error_code::unavailable : error_code::timed_out, rig_id, "the remote is cut off"};
    return f;
  }
  span(chance.chance(20) ? 30'000 : 6'000);
  if (chance.chance(65)) return f;
  f.has_effect = chance.chance(50); // the answer is lost, or the request
  std::vector<error_code> codes{error_code::unavailable, error_code::timed_out, error_code::unavailable};
  if (!f.has_effect) codes.insert(codes.end(), {error_code::unauthorized, error_code::not_found, error_code::corrupt});
  f.failure = error{chance.one_of(codes), rig_id, "injected"};
  return f;
}

/// A job that ends once: by itself, or soon after it was cancelled.
void run(model_world& w, model_container& c, std::uint64_t id, std::string agent_id, git::cancel_flag cancel,
         milliseconds ended, std::function<void(bool cancelled)> finish) {
  c.jobs.push_back({id, std::move(agent_id), std::move(cancel), false, std::move(finish)});
  w.later(ended, [&c, id] {
    for (auto it = c.jobs.begin(); it != c.jobs.end(); ++it) {
      if (it->id != id) continue;
      const auto job = std::move(*it);
      c.jobs.erase(it);
      return job.finish(job.cancel && *job.cancel);
    }
  });
}

template <class Outcome>
void answer(model_container& c, std::uint64_t id, Outcome outcome) {
  if (c.alive) caf::anon_send(c.executor, job_finished{id, std::move(outcome)});
}

error cancelled(const std::string& object) {
  return {error_code::cancelled, object, "cancelled"};
}

std::optional<std::int64_t> epoch_of(const std::string& ref, const std::string& prefix) {
  if (!ref.starts_with(prefix) || ref.find('/', prefix.size()) != std::string::npos) return std::nullopt;
  return std::stoll(ref.substr(prefix.size()));
}

// -- fetches ----------------------------------------------------------------------------------------------------------

void list(model_world& w, const git::repository_job& job, git::repository_restored& found) {
  const auto& refs = w.remotes.at(job.rig_id).refs;
  for (const auto& wanted : job.points) {
    std::optional<town::recovery_point> best;
    for (auto it = refs.lower_bound(wanted.prefix); it != refs.end() && it->first.starts_with(wanted.prefix); ++it)
      if (const auto epoch = epoch_of(it->first, wanted.prefix); epoch && (!best || *epoch > best->epoch))
        best = w.points.at(it->second).point;
    const auto& recorded = wanted.recorded;
    if (!best && !recorded) continue;
    if (recorded && (!best || std::pair{best->epoch, best->seq} < std::pair{recorded->epoch, recorded->seq}))
      found.points.insert_or_assign(wanted.agent_id,
                                    error{error_code::recovery_point_missing, wanted.agent_id, "the remote lost it"});
    else
      found.points.insert_or_assign(wanted.agent_id, git::found_recovery{*best, {}});
  }
}

void fetch(model_world& w, model_container& c, std::uint64_t id, const repository_request& r) {
  const auto f = fate_of(w, r.job.rig_id, 600);
  const auto found = std::make_shared<git::repository_restored>();
  found->repository = "/w/rigs/" + r.job.rig_id + "/repo.git";
  for (const auto& branch : r.job.branches)
    found->tips[branch] = remote_tip;
  found->tips["main"] = remote_tip;
  found->fetched_bytes = 1000;
  w.later(f.seen, [&w, job = r.job, found] { list(w, job, *found); });
  run(w, c, id, "", r.job.cancel, f.ended, [&w, &c, id, f, found, rig = r.job.rig_id](bool is_cancelled) {
    repository_result done{rig, error{}, 1000};
    if (is_cancelled)
      done.outcome = cancelled(rig);
    else if (f.failure)
      done.outcome = *f.failure;
    else
      done.outcome = std::move(*found);
    w.note(c.name() + " fetch " + rig + (done.outcome ? " ok" : " failed"));
    answer(c, id, std::move(done));
  });
}

// -- worktrees --------------------------------------------------------------------------------------------------------

result<git::worktree_restored> restore(model_world& w, model_container& c, const git::worktree_job& job) {
  if (c.processes_of(job.agent_id) > 0) w.violated("a job touches the worktree in which " + job.agent_id + " works");
  git::worktree_restored done;
  done.branch = job.branch;
  done.commit = remote_tip;
  auto& worktrees = c.disk->worktrees;
  const auto it = worktrees.find(job.agent_id);
  const bool exists = it != worktrees.end();
  const auto order =
      job.point ? std::optional{point_order{job.point->point.epoch, job.point->point.seq}} : std::nullopt;
  if (exists && (!order || (it->second.mark && *it->second.mark >= *order))) {
    if (it->second.version != 0) done.recovery = git::point_outcome::disk_newer;
    check_restored(w, c, job.agent_id, job.point ? std::optional{job.point->point} : std::nullopt, true);
    return done;
  }
  if (exists && order && !w.is_clean(it->second.version)) {
    if (!job.disk_is_kept) {
      done.recovery = git::point_outcome::disk_older;
      return done;
    }
    const bool is_saved = std::any_of(w.points.begin(), w.points.end(), [&](const auto& p) {
      return p.second.agent_id == job.agent_id && p.second.version == it->second.version && p.second.on_remote;
    });
    if (!is_saved) w.violated("work of " + job.agent_id + " on an older disk is replaced and is nowhere else");
  }
  auto& worktree = worktrees[job.agent_id];
  worktree = {};
  if (job.point) {
    const auto& from = w.points.at(job.point->point.commit);
    worktree.version = from.version;
    worktree.mark = order;
    done.recovery = git::point_outcome::applied;
    if (job.point->point.clean) worktree.version = 0;
  }
  check_restored(w, c, job.agent_id, job.point ? std::optional{job.point->point} : std::nullopt, false);
  return done;
}

void work_on(model_world& w, model_container& c, std::uint64_t id, const worktree_request& r) {
  const auto& job = r.job;
  const bool rough = w.remotes.at(r.rig_id).weather != sky::clear;
  std::optional<error> failure;
  if (rough && w.chance.chance(20)) failure = error{error_code::disk, job.agent_id, "injected"};
  run(w, c, id, job.agent_id, job.cancel, w.chance.between(10, rough ? 4'000 : 500),
      [&w, &c, id, r, failure](bool is_cancelled) {
        const auto& agent_id = r.job.agent_id;
        std::optional<error> why = failure;
        if (is_cancelled) why = cancelled(agent_id);
        if (r.remove) {
          removal_result done{agent_id, git::worktree_removal{}};
          // Kept or not, it is nobody's any more: what it holds was named, and is looked at when the agent comes back.
          c.verified.erase(agent_id);
          auto& worktrees = c.disk->worktrees;
          const auto it = worktrees.find(agent_id);
          if (why)
            done.outcome = *why;
          else if (it != worktrees.end() && !w.is_clean(it->second.version))
            done.outcome = git::worktree_removal{false, "1 modified file"};
          else
            done.outcome = git::worktree_removal{true, ""};
          if (done.outcome && done.outcome->removed) worktrees.erase(agent_id);
          return answer(c, id, std::move(done));
        }
        worktree_result done{agent_id, error{}};
        if (why)
          done.outcome = *why;
        else
          done.outcome = restore(w, c, r.job);
        answer(c, id, std::move(done));
      });
}

// -- snapshots --------------------------------------------------------------------------------------------------------

void take(model_world& w, model_container& c, std::uint64_t id, const snapshot_request& r) {
  const auto& job = r.job;
  const bool rough = w.remotes.at(r.rig_id).weather != sky::clear;
  const auto took = w.chance.between(3, rough && w.chance.chance(10) ? 10'000 : 400);
  const auto taken = std::make_shared<git::snapshot>();
  taken->agent_id = job.agent_id;
  taken->branch = job.branch;
  taken->repository = job.repository;
  std::optional<error> failure;
  if (rough && w.chance.chance(5)) failure = error{error_code::disk, job.agent_id, "injected"};
  c.speakers["saver/" + r.rig_id] = r.asker.address();
  // It sees the worktree at some moment while it runs.
  w.later(milliseconds{w.chance.pick(0, took.count())}, [&w, &c, taken, job] {
    const auto worktree = c.disk->worktrees.find(job.agent_id);
    const int version = worktree == c.disk->worktrees.end() ? 0 : worktree->second.version;
    taken->uncommitted = taken->holds_work = !w.is_clean(version);
    taken->stash_commit = std::to_string(version);
    taken->fingerprint = "v" + std::to_string(version); // a commit that leaves it clean is a change, too
    taken->files.modified = taken->files.untracked = taken->uncommitted ? 1 : 0;
    if (job.without_untracked && taken->uncommitted) {
      taken->fingerprint += " partial";
      taken->files.untracked = 0;
      taken->left_out.push_back({"untracked", "the remote refused the content"});
    }
  });
  run(w, c, id, "", job.cancel, took, [&c, id, taken, failure, r, took](bool is_cancelled) {
    snapshot_result done{r.job.agent_id, r.round, *taken, took};
    if (is_cancelled)
      done.outcome = cancelled(r.job.agent_id);
    else if (failure)
      done.outcome = *failure;
    answer(c, id, std::move(done));
  });
}

// -- pushes -----------------------------------------------------------------------------------------------------------

/// One ref of a push on its way.
struct pushed_ref {
  std::string agent_id, ref, expected, commit; ///< `commit` is empty where there is nothing to save
  int version = 0;
  error_code refused = error_code::internal;
  git::refusal kind = git::refusal::none;
};

/// As the worker has it: a worktree that was not restored goes to a kept point, unless it is at the newest point of its
/// agent.
git::push_item unrestored(model_world& w, const model_container& c, const model_remote& remote, git::push_item item) {
  constexpr point_order nothing{0, 0};
  const auto worktree = c.disk->worktrees.find(item.taken.agent_id);
  const auto mark = worktree == c.disk->worktrees.end() ? nothing : worktree->second.mark.value_or(nothing);
  bool is_newest = !item.recorded || mark >= point_order{item.recorded->epoch, item.recorded->seq};
  for (const auto& [ref, commit] : remote.refs) {
    const auto& point = w.points.at(commit);
    if (point.agent_id != item.taken.agent_id || point.kept) continue;
    // Of another one of the same epoch the remote does not say which is the later.
    is_newest = is_newest && (mark == point.order() || mark.first > point.order().first);
  }
  if (is_newest) {
    item.even_if_clean = mark != nothing;
  } else {
    item.ref = item.kept_ref;
    item.even_if_clean = item.taken.holds_work;
  }
  return item;
}

void seal(model_world& w, model_container& c, const git::push_job& job, std::vector<pushed_ref>& sealed) {
  auto& remote = w.remotes.at(job.rig_id);
  for (const auto& wanted : job.items) {
    const auto item = wanted.kept_ref.empty() ? wanted : unrestored(w, c, remote, wanted);
    pushed_ref one;
    one.agent_id = item.taken.agent_id;
    one.ref = item.ref;
    one.version = std::stoi(item.taken.stash_commit);
    const auto there = remote.refs.find(item.ref);
    if (there != remote.refs.end()) one.expected = there->second;
    if (item.overtaken && *item.overtaken) {
      one.kind = git::refusal::other;
      one.refused = error_code::conflict;
      sealed.push_back(std::move(one));
      continue;
    }
    if (item.taken.uncommitted || item.even_if_clean || there != remote.refs.end()) {
      char digits[41];
      std::snprintf(digits, sizeof digits, "%040x", static_cast<unsigned>(++w.last_commit));
      one.commit = digits;
      auto& made = w.points[one.commit];
      made.agent_id = one.agent_id;
      made.version = one.version;
      made.partial = !item.taken.left_out.empty();
      made.kept = git::is_kept_point(item.ref);
      auto& p = made.point;
      p.epoch = job.epoch;
      p.seq = ++*job.seq;
      p.ref = item.ref;
      p.commit = one.commit;
      p.git_url = job.url;
      p.branch = item.taken.branch;
      p.remote_commit = remote_tip;
      p.clean = !item.taken.uncommitted;
      p.saved_at = job.saved_at;
      p.kind = item.kind;
      p.files = item.taken.files;
      // As the worker does: the worktree is at or after this moment, whatever becomes of the push.
      const auto worktree = c.disk->worktrees.find(one.agent_id);
      if (worktree != c.disk->worktrees.end() && !made.kept) {
        auto& mark = worktree->second.mark;
        if (!mark || *mark < made.order()) mark = made.order();
      }
      if (remote.weather == sky::rough && w.chance.chance(5)) one.kind = git::refusal::other;
      if (remote.weather == sky::rough && w.chance.chance(5) && !made.partial) one.kind = git::refusal::content;
      if (one.kind != git::refusal::none) one.refused = error_code::forbidden;
    }
    sealed.push_back(std::move(one));
  }
}

/// Each ref is updated only from what was advertised.
void update(model_world& w, model_container& c, const std::string& rig_id, std::vector<pushed_ref>& sealed) {
  auto& refs = w.remotes.at(rig_id).refs;
  for (auto& one : sealed) {
    const auto worktree = c.disk->worktrees.find(one.agent_id);
    const auto is_saved = [&](const auto& edit) { return edit.first <= one.version; };
    if (one.kind != git::refusal::none) continue;
    if (!one.commit.empty()) {
      const auto there = refs.find(one.ref);
      if ((there == refs.end() ? std::string{} : there->second) != one.expected) {
        one.kind = git::refusal::other;
        one.refused = error_code::conflict;
        continue;
      }
      check_ref_written(w, c, one.ref, "");
      refs[one.ref] = one.commit;
      w.points.at(one.commit).on_remote = true;
      w.note(c.name() + " saved v" + std::to_string(one.version) + " of " + one.agent_id + " at " + one.ref);
    }
    if (worktree != c.disk->worktrees.end()) std::erase_if(worktree->second.unsaved, is_saved);
  }
}

void push(model_world& w, model_container& c, std::uint64_t id, const push_request& r) {
  const auto f = fate_of(w, r.job.rig_id, 1'200);
  const auto sealed = std::make_shared<std::vector<pushed_ref>>();
  const bool survives = w.chance.chance(50); // the remote goes on without a container that was killed
  w.later(f.seen, [&w, &c, job = r.job, sealed] {
    if (c.alive) seal(w, c, job, *sealed);
  });
  if (f.has_effect)
    w.later(f.done, [&w, &c, job = r.job, sealed, survives] {
      if ((c.alive && !*job.cancel) || survives) update(w, c, job.rig_id, *sealed);
    });
  run(w, c, id, "", r.job.cancel, f.ended, [&w, &c, id, f, r, sealed](bool is_cancelled) {
    push_result done{r.job.rig_id, r.round, error{}, f.ended};
    if (is_cancelled) {
      done.outcome = cancelled(r.job.rig_id);
    } else if (f.failure) {
      done.outcome = *f.failure;
      w.note(c.name() + " push " + r.job.rig_id + " failed: " + to_string(*f.failure));
    } else {
      std::vector<git::pushed_point> all;
      for (const auto& one : *sealed) {
        git::pushed_point p{one.agent_id, std::optional<town::recovery_point>{}, one.kind, 100};
        if (one.kind != git::refusal::none) {
          p.point = error{one.refused, one.ref, "refused by the remote"};
        } else if (!one.commit.empty()) {
          auto& made = w.points.at(one.commit);
          made.acknowledged = w.now();
          p.point = std::optional{made.point};
        }
        all.push_back(std::move(p));
      }
      done.outcome = std::move(all);
    }
    answer(c, id, std::move(done));
  });
}

void drop(model_world& w, model_container& c, std::uint64_t id, const delete_request& r) {
  const auto f = fate_of(w, r.job.rig_id, 600);
  const auto gone = std::make_shared<std::set<std::string>>();
  if (f.has_effect)
    w.later(f.done, [&w, &c, job = r.job, gone] {
      auto& refs = w.remotes.at(job.rig_id).refs;
      for (const auto& [ref, commit] : job.refs) {
        const auto there = refs.find(ref);
        if (there != refs.end() && there->second != commit) continue;
        if (there != refs.end()) {
          check_ref_written(w, c, ref, commit);
          refs.erase(there);
          w.note(c.name() + " deleted " + ref);
        }
        gone->insert(ref);
      }
    });
  run(w, c, id, "", r.job.cancel, f.ended, [&c, id, f, r, gone](bool is_cancelled) {
    delete_result done{r.job.rig_id, *gone};
    if (is_cancelled)
      done.outcome = cancelled(r.job.rig_id);
    else if (f.failure)
      done.outcome = *f.failure;
    answer(c, id, std::move(done));
  });
}

git_worker_actor::behavior_type worker(git_worker_actor::stateful_pointer<worker_state>, model_world* w,
                                       model_container* c) {
  return {
      [=](std::uint64_t id, const repository_request& r) { fetch(*w, *c, id, r); },
      [=](std::uint64_t id, const worktree_request& r) { work_on(*w, *c, id, r); },
      [=](std::uint64_t id, const snapshot_request& r) { take(*w, *c, id, r); },
      [=](std::uint64_t id, const push_request& r) { push(*w, *c, id, r); },
      [=](std::uint64_t id, const delete_request& r) { drop(*w, *c, id, r); },
      [=](std::uint64_t id, const prune_request& r) {
        answer(*c, id, prune_result{r.agent_id, result<void>{}});
      },
  };
}

} // namespace

git_worker_actor spawn_model_worker(model_world& world, model_container& c, git_executor_actor::pointer executor) {
  return executor->spawn<caf::linked>(worker, &world, &c);
}

} // namespace townkeeper::simulation
