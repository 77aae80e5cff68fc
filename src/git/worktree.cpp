#include "git/apply_creation.hpp"
#include "git/apply_worktree.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/jobs.hpp"
#include "git/local_branch.hpp"
#include "git/loose_reader.hpp"
#include "git/worktree_creation.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_repair.hpp"
#include "git/worktree_target.hpp"
#include "git/worktree_update.hpp"

#include <fmt/core.h>

namespace townkeeper::git {
namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

} // namespace

result<worktree_restored> restore_worktree(const worktree_job& job, const worktree_observer& observe) {
  if (observe) observe({worktree_step::branch, 0, 0});
  auto place = open_place(job);
  if (!place) return place.error();
  auto claim = branch_claim::take(*place, job.branch);
  if (!claim) return claim.error();
  if (const auto other = occupant_of(*place, job.branch))
    return error{error_code::conflict, job.branch,
                 fmt::format("is checked out by agent {}; a branch belongs to one agent", *other)};
  repository_handle repository;
  if (const auto rc = open_bare_repository(out(repository), place->repository.c_str()); rc != 0)
    return last_error(rc, place->repository.native());

  sweep_staging(place->worktrees.get());
  if (auto done = clear_unpublished(*place); !done) return done.error();
  if (job.point) return restore_with_point(*place, repository.get(), job, observe);
  auto target = choose_target(repository.get(), job);
  if (!target) return target.error();
  auto repair = mend_worktree(*place, repository.get(), job, *target);
  if (!repair) return repair.error();
  if (repair->branch_set) {
    auto anew = choose_target(repository.get(), job);
    if (!anew) return anew.error();
    anew->healed.insert(anew->healed.begin(), target->healed.begin(), target->healed.end());
    target = std::move(anew);
  }
  auto restored = repair->is_there ? update_worktree(*place, repository.get(), job, *target, observe)
                                   : create_worktree(*place, repository.get(), job, *target, observe);
  if (!restored) return restored.error();
  if (restored->left_dirty) restored->recovery = point_outcome::disk_newer;
  append(restored->healed, repair->healed);
  append(restored->healed, target->healed);
  append(restored->reported, repair->reported);
  append(restored->reported, target->reported);
  return restored;
}

} // namespace townkeeper::git
