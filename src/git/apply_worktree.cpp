#include "git/apply_worktree.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <iterator>
#include <utility>

#include "git/apply_creation.hpp"
#include "git/apply_plan.hpp"
#include "git/local_branch.hpp"
#include "git/object_id.hpp"
#include "git/recovery.hpp"
#include "git/worktree_creation.hpp"
#include "git/worktree_move.hpp"
#include "git/worktree_repair.hpp"
#include "git/worktree_target.hpp"
#include "git/worktree_update.hpp"
#include "git/worktree_work.hpp"

namespace townkeeper::git {
namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

bool same_commit(const std::optional<git_oid>& a, const std::optional<git_oid>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}

class restoring {
public:
  restoring(const worktree_place& place, object_store& objects, const worktree_job& job,
            const worktree_observer& observe)
      : place_(place)
      , objects_(objects)
      , repository_(objects.repository())
      , job_(job)
      , observe_(observe) {}

  result<worktree_restored> run() {
    const bool disk_wins = disk_is_newer(); // before mending, which may put the registration aside
    if (auto done = choose(); !done) return done.error();
    auto repair = mend_worktree(place_, repository_, job_, target_);
    if (!repair) return repair.error();
    append(notes_.healed, repair->healed);
    append(notes_.reported, repair->reported);
    if (repair->branch_set)
      if (auto done = choose(); !done) return done.error();
    auto restored = !repair->is_there ? create() : disk_wins ? leave_to_disk() : replace_older();
    if (!restored) return restored;
    append(restored->healed, notes_.healed);
    append(restored->reported, notes_.reported);
    return restored;
  }

private:
  const town::recovery_point& point() const { return job_.point->point; }

  bool disk_is_newer() const {
    const auto mark = read_point_mark(place_.repository, place_.agent_id);
    return mark && std::pair(mark->epoch, mark->seq) >= std::pair(point().epoch, point().seq);
  }

  // -- without the point -------------------------------------------------------

  /// Where the branch is without the point; a branch that the remote lacks counts as lost only where nothing here has
  /// it.
  result<void> choose() {
    if (job_.remote_tip) {
      auto chosen = choose_target(repository_, job_);
      if (!chosen) return chosen.error();
      target_ = std::move(*chosen);
      return {};
    }
    auto local = read_branch(repository_, job_.branch);
    if (!local) return local.error();
    target_ = {};
    target_.local_tip = local->tip;
    if (local->note) target_.healed.push_back(*local->note);
    target_.commit = local->tip;
    if (!target_.commit && point().branch_commit)
      if (const auto id = parse_oid(*point().branch_commit); id && tree_of(repository_, *id)) target_.commit = *id;
    return {};
  }

  void note_target() {
    append(notes_.healed, target_.healed);
    append(notes_.reported, target_.reported);
  }

  result<worktree_restored> leave_to_disk() {
    note_target();
    auto restored = update_worktree(place_, repository_, job_, target_, observe_);
    if (restored) restored->recovery = point_outcome::disk_newer;
    return restored;
  }

  // -- an empty place ------------------------------------------------------------

  result<void> plan() {
    if (plan_) return {};
    auto plan = plan_point(objects_, job_);
    if (!plan) return plan.error();
    plan_.emplace(std::move(*plan));
    return {};
  }

  bool stays_under_its_ref() const {
    return plan_->outcome == point_outcome::held || plan_->outcome == point_outcome::kept;
  }

  result<worktree_restored> create() {
    if (auto done = plan(); !done) return done.error();
    if (stays_under_its_ref()) return create_at_branch();
    auto restored = create_from_point(place_, objects_, job_, *plan_, observe_);
    if (restored && plan_->outcome == point_outcome::unpublished)
      if (auto done = unset_upstream(repository_, job_.branch); !done)
        restored->reported.push_back(fmt::format("branch {} still follows a branch that is gone from the remote ({})",
                                                 job_.branch, to_string(done.error())));
    return restored;
  }

  result<worktree_restored> create_at_branch() {
    if (job_.disk_is_kept) {
      // The local branch is in the kept point as well.
      const auto tip = parse_oid(*job_.remote_tip);
      if (!tip) return tip.error();
      target_.commit = *tip;
      target_.unpushed_commits = 0;
      target_.reported.clear();
    }
    note_target();
    auto restored = create_worktree(place_, repository_, job_, target_, observe_);
    if (restored) restored->recovery = plan_->outcome;
    return restored;
  }

  // -- a disk from before the point ---------------------------------------------

  result<worktree_restored> replace_older() {
    auto finished = finish_interrupted_move(place_, repository_, job_.cancel, observe_);
    if (!finished && finished.error().code != error_code::dirty) return finished.error();
    auto work = inspect_work(place_);
    if (!work) return work.error();
    auto unsaved = unsaved_in(*work);
    if (!unsaved) return unsaved.error();
    if (!unsaved->empty() && !job_.disk_is_kept) return older_work(*work, *unsaved);
    if (auto done = plan(); !done) return done.error();
    if (unsaved->empty()) {
      if (stays_under_its_ref()) return follow_branch();
      auto there = is_there_already(*work);
      if (!there) return there.error();
      if (*there) return found_there(*work);
    }
    if (auto done = put_aside(); !done) return done.error();
    if (auto done = choose(); !done) return done.error();
    return create();
  }

  /// What is on this disk and neither on the remote nor in the point; empty when nothing is.
  result<std::string> unsaved_in(const worktree_work& work) {
    if (work.is_uncommitted()) return work.described();
    if (!work.submodules_in_use.empty()) return std::string("checked-out submodules");
    auto known = remote_tips(repository_);
    if (!known) return known.error();
    for (const auto& hex : {job_.remote_tip, std::optional(point().commit)})
      if (const auto id = hex ? parse_oid(*hex) : result<git_oid>(error{}); id && tree_of(repository_, *id))
        known->push_back(*id);
    for (const auto& tip : {work.head, target_.local_tip}) {
      if (!tip) continue;
      auto count = count_commits(repository_, *tip, *known);
      if (!count) return count.error();
      if (*count > 0) return fmt::format("{} {} that origin lacks", *count, *count == 1 ? "commit" : "commits");
    }
    return std::string();
  }

  result<worktree_restored> older_work(const worktree_work& work, const std::string& unsaved) const {
    worktree_restored restored;
    restored.recovery = point_outcome::disk_older;
    restored.left_dirty = true;
    restored.commit = work.head ? to_hex(*work.head) : std::string();
    restored.branch = work.branch;
    restored.files_total = static_cast<std::int64_t>(work.entries);
    restored.reported.push_back(fmt::format("it holds {} from before the recovery point", unsaved));
    return restored;
  }

  result<worktree_restored> follow_branch() {
    note_target();
    auto restored = update_worktree(place_, repository_, job_, target_, observe_);
    if (!restored) return restored;
    restored->recovery = plan_->outcome;
    return marked(std::move(*restored));
  }

  /// A point without changes, and a clean worktree where it says.
  result<bool> is_there_already(const worktree_work& work) {
    if (plan_->uncommitted || plan_->layers.raw_index || plan_->layers.operation) return false;
    if (work.branch != plan_->head_branch || !same_commit(work.head, plan_->head)) return false;
    return same_commit(target_.local_tip, plan_->branch);
  }

  result<worktree_restored> found_there(const worktree_work& work) {
    worktree_restored restored;
    restored.recovery = plan_->outcome;
    restored.branch = work.branch;
    restored.files_total = static_cast<std::int64_t>(work.entries);
    if (work.head) {
      restored.commit = to_hex(*work.head);
      auto unpushed = count_unsaved(repository_, *work.head, job_.remote_tip);
      if (!unpushed) return unpushed.error();
      restored.unpushed_commits = *unpushed;
    }
    return marked(std::move(restored));
  }

  result<worktree_restored> marked(worktree_restored restored) {
    const point_mark mark{point().epoch, point().seq, point().commit};
    if (auto done = write_point_mark(place_.repository, place_.agent_id, mark); !done) return done.error();
    return restored;
  }

  /// First the files, so that what a crash leaves in between is a registration without directory, which is mended.
  result<void> put_aside() {
    auto kept = move_aside(place_);
    if (!kept) return kept.error();
    // It must not speak for the worktree that comes in its place.
    if (::rename((*kept / ".git").c_str(), (*kept / ".git-before").c_str()) != 0 && errno != ENOENT)
      return disk_error(errno, (*kept / ".git").native(), "cannot be renamed");
    notes_.reported.push_back(fmt::format("the worktree from before the recovery point is kept at {}", kept->native()));
    auto registration = move_registration_aside(place_);
    return registration ? result<void>() : registration.error();
  }

  const worktree_place& place_;
  object_store& objects_;
  git_repository* repository_;
  const worktree_job& job_;
  const worktree_observer& observe_;
  worktree_target target_;
  std::optional<point_plan> plan_;
  worktree_restored notes_; ///< `healed` and `reported` alone
};

} // namespace

result<worktree_restored> restore_with_point(const worktree_place& place, git_repository* repository,
                                             const worktree_job& job, const worktree_observer& observe) {
  auto objects = object_store::open(repository);
  if (!objects) return objects.error();
  return restoring(place, *objects, job, observe).run();
}

} // namespace townkeeper::git
