#include "git/worktree_update.hpp"

#include <fmt/core.h>

#include <iterator>

#include "git/local_branch.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"
#include "git/worktree_move.hpp"
#include "git/worktree_work.hpp"
#include "git/worktree_writer.hpp"

namespace townkeeper::git {
namespace {

bool is_at(const worktree_work& work, const worktree_job& job, const worktree_target& target) {
  if (work.branch != job.branch || work.head.has_value() != target.commit.has_value()) return false;
  return !work.head || same(*work.head, *target.commit);
}

class updating {
public:
  updating(const worktree_place& place, git_repository* repository, const worktree_job& job,
           const worktree_target& target, const worktree_observer& observe)
      : place_(place)
      , repository_(repository)
      , job_(job)
      , target_(target)
      , observe_(observe) {}

  result<worktree_restored> run() {
    if (auto done = finish_interrupted(); !done) return done.error();
    progress_reporter progress(observe_, worktree_step::verifying);
    auto work = inspect_work(place_);
    if (!work) return work.error();
    progress.begin(worktree_step::verifying, static_cast<std::int64_t>(work->entries));
    progress.finish();
    if (work->is_uncommitted()) return leave(*work, "it holds " + work->described());
    if (is_at(*work, job_, target_)) return stay(*work);
    if (work->sparse) return leave(*work, "it is a sparse checkout, which is not moved here");
    if (!target_.commit) return leave(*work, "the remote has no commit to move it to");
    if (work->head) {
      auto unsaved = count_unsaved(repository_, *work->head, job_.remote_tip);
      if (!unsaved) return unsaved.error();
      if (*unsaved > 0) return leave(*work, "");
    }
    return move(*work);
  }

private:
  result<void> finish_interrupted() {
    auto finished = finish_interrupted_move(place_, repository_, job_.cancel, observe_);
    if (finished) {
      if (!*finished) return {};
      restored_.healed.emplace_back("a move to another commit that was interrupted completed");
      take(std::move(**finished));
      return {};
    }
    if (finished.error().code != error_code::dirty) return finished.error();
    restored_.reported.push_back(
        fmt::format("a move to another commit was interrupted and cannot be completed, because {} {}",
                    finished.error().object, finished.error().message));
    return {};
  }

  void take(worktree_moved moved) {
    restored_.files_written += moved.files_written;
    restored_.reported.insert(restored_.reported.end(), std::make_move_iterator(moved.reported.begin()),
                              std::make_move_iterator(moved.reported.end()));
  }

  void describe(const worktree_work& work) {
    restored_.commit = work.head ? to_hex(*work.head) : std::string();
    restored_.branch = work.branch;
    restored_.files_total = static_cast<std::int64_t>(work.entries);
  }

  result<worktree_restored> stay(const worktree_work& work) {
    describe(work);
    restored_.unpushed_commits = target_.unpushed_commits;
    restored_.left_dirty = target_.unpushed_commits > 0;
    restored_.created_from_base = target_.created_from_base;
    return std::move(restored_);
  }

  result<worktree_restored> leave(const worktree_work& work, const std::string& why) {
    describe(work);
    restored_.left_dirty = true;
    if (work.branch == job_.branch && work.head && target_.local_tip && same(*work.head, *target_.local_tip)) {
      restored_.unpushed_commits = target_.unpushed_commits;
      restored_.created_from_base = target_.created_from_base;
      if (target_.commit && !same(*work.head, *target_.commit))
        restored_.reported.push_back(
            fmt::format("branch {} has moved on to {} on the remote", job_.branch, to_hex(*target_.commit)));
    } else if (work.head) {
      auto unsaved = count_unsaved(repository_, *work.head, job_.remote_tip);
      if (!unsaved) return unsaved.error();
      restored_.unpushed_commits = *unsaved;
    }
    if (work.branch != job_.branch)
      restored_.reported.push_back(work.branch.empty()
                                       ? fmt::format("HEAD is detached, not on branch {}", job_.branch)
                                       : fmt::format("HEAD is on branch {}, not on {}", work.branch, job_.branch));
    if (!why.empty()) restored_.reported.push_back(why);
    return std::move(restored_);
  }

  result<worktree_restored> move(const worktree_work& work) {
    auto moved = move_worktree(place_, repository_, {work.head, *target_.commit, job_.branch}, job_.cancel, observe_);
    if (!moved) {
      if (moved.error().code != error_code::dirty) return moved.error();
      return leave(work, fmt::format("{} {}", moved.error().object, moved.error().message));
    }
    take(std::move(*moved));
    auto now = inspect_work(place_);
    if (!now) return now.error();
    if (!is_at(*now, job_, target_) || now->is_uncommitted())
      return error{error_code::corrupt, place_.worktree.native(),
                   fmt::format("was moved to {}, and is not there and clean ({}); it is tried again",
                               to_hex(*target_.commit), now->described())};
    describe(*now);
    restored_.unpushed_commits = target_.unpushed_commits;
    restored_.created_from_base = target_.created_from_base;
    return std::move(restored_);
  }

  const worktree_place& place_;
  git_repository* repository_;
  const worktree_job& job_;
  const worktree_target& target_;
  const worktree_observer& observe_;
  worktree_restored restored_;
};

} // namespace

result<worktree_restored> update_worktree(const worktree_place& place, git_repository* repository,
                                          const worktree_job& job, const worktree_target& target,
                                          const worktree_observer& observe) {
  return updating(place, repository, job, target, observe).run();
}

result<std::int64_t> count_unsaved(git_repository* repository, const git_oid& head,
                                   const std::optional<std::string>& remote_tip) {
  auto saved = remote_tips(repository);
  if (!saved) return saved.error();
  if (remote_tip)
    if (const auto tip = parse_oid(*remote_tip)) saved->push_back(*tip);
  return count_commits(repository, head, *saved);
}

} // namespace townkeeper::git
