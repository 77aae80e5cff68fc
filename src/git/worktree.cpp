#include "git/checkout_conversion.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/jobs.hpp"
#include "git/local_branch.hpp"
#include "git/worktree_creation.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_target.hpp"

#include <fmt/core.h>

namespace townkeeper::git {

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
  if (const auto rc = git_repository_open_bare(out(repository), place->repository.c_str()); rc != 0)
    return last_error(rc, place->repository.native());

  auto target = choose_target(repository.get(), job);
  if (!target) return target.error();
  auto restored = create_worktree(*place, repository.get(), job, *target, observe);
  if (!restored) return restored.error();
  restored->created_from_base = target->created_from_base;
  restored->unpushed_commits = target->unpushed_commits;
  restored->healed.insert(restored->healed.end(), target->healed.begin(), target->healed.end());
  restored->reported.insert(restored->reported.end(), target->reported.begin(), target->reported.end());
  return restored;
}

} // namespace townkeeper::git
