#include "git/apply_plan.hpp"

#include <fmt/core.h>

#include "core/ids.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/local_branch.hpp"
#include "git/object_id.hpp"
#include "git/registration.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {
namespace {

constexpr std::string_view branch_prefix = "refs/heads/";

result<std::optional<git_oid>> existing_commit(git_repository* repository, const std::optional<std::string>& hex) {
  if (!hex) return std::optional<git_oid>();
  auto id = parse_oid(*hex);
  if (!id) return id.error();
  if (auto tree = tree_of(repository, *id); !tree) return tree.error();
  return std::optional(*id);
}

/// True when the remote's branch has everything the point has.
result<bool> is_held(git_repository* repository, const point_plan& plan, const git_oid& remote) {
  if (plan.uncommitted) return false;
  for (const auto& commit : {plan.head, plan.branch}) {
    if (!commit) continue;
    auto reachable = is_reachable(repository, *commit, remote);
    if (!reachable || !*reachable) return reachable;
  }
  return true;
}

/// Names a commit that nothing else would name any more, unless somebody else has it.
result<void> keep_tip(const worktree_place& place, git_repository* repository, const worktree_job& job,
                      const point_plan& plan, const std::string& branch, const git_oid& tip, point_head& head) {
  if (job.disk_is_kept) return {};
  auto in_point = is_reachable(repository, tip, plan.layers.point);
  if (!in_point) return in_point.error();
  auto on_remote = *in_point ? result<bool>(true) : is_on_remote(repository, tip);
  if (!on_remote) return on_remote.error();
  if (*on_remote) return {};
  const auto name = fmt::format("kept-{}-{}", job.agent_id, to_hex(tip).substr(0, 12));
  auto there = read_branch(repository, name);
  if (!there) return there.error();
  if (!there->tip || !same(*there->tip, tip))
    if (auto done = set_branch(place, repository, name, tip, there->tip, "townkeeper: kept"); !done) return done;
  head.reported.push_back(fmt::format("branch {} stood at {} on this disk, which nobody else had: it is branch {} now",
                                      branch, to_hex(tip), name));
  return {};
}

result<void> put_branch(const worktree_place& place, git_repository* repository, const worktree_job& job,
                        const point_plan& plan, const std::string& branch, const git_oid& to, point_head& head) {
  auto now = read_branch(repository, branch);
  if (!now) return now.error();
  if (now->tip && same(*now->tip, to)) return {};
  if (now->tip)
    if (auto done = keep_tip(place, repository, job, plan, branch, *now->tip, head); !done) return done;
  return set_branch(place, repository, branch, to, now->tip, "townkeeper: restored from a recovery point");
}

/// HEAD is unborn on a branch, so that there must be none of that name.
result<void> remove_branch(const worktree_place& place, git_repository* repository, const worktree_job& job,
                           const point_plan& plan, const std::string& branch, point_head& head) {
  auto now = read_branch(repository, branch);
  if (!now || !now->tip) return now ? result<void>() : now.error();
  if (auto done = keep_tip(place, repository, job, plan, branch, *now->tip, head); !done) return done;
  reference_handle ref;
  if (const auto rc = git_reference_lookup(out(ref), repository, (std::string(branch_prefix) + branch).c_str());
      rc != 0)
    return last_error(rc, branch);
  if (const auto rc = git_reference_delete(ref.get()); rc != 0) return last_error(rc, branch);
  return {};
}

} // namespace

result<void> read_point_head(git_repository* repository, const town::recovery_point& point, point_plan& plan) {
  auto head = existing_commit(repository, point.head.commit);
  if (!head) return head.error();
  plan.head = *head;
  auto branch = existing_commit(repository, point.branch_commit);
  if (!branch) return branch.error();
  plan.branch = *branch;
  if (point.head.ref) {
    if (!point.head.ref->starts_with(branch_prefix) || !is_valid_branch(point.head.ref->substr(branch_prefix.size())))
      return error{error_code::invalid_argument, *point.head.ref, "is where HEAD was, and is no branch"};
    plan.head_branch = point.head.ref->substr(branch_prefix.size());
  } else if (!plan.head) {
    return error{error_code::corrupt, point.ref, "its HEAD is neither on a branch nor at a commit"};
  }
  return {};
}

result<point_plan> plan_point(object_store& objects, const worktree_job& job) {
  auto* repository = objects.repository();
  const auto& point = job.point->point;
  const auto id = parse_oid(point.commit);
  if (!id) return id.error();
  point_plan plan;
  const auto layers = read_layers(objects, *id);
  if (!layers) return layers.error();
  plan.layers = *layers;
  if (auto done = read_point_head(repository, point, plan); !done) return done.error();
  auto uncommitted = holds_uncommitted(objects, plan.layers);
  if (!uncommitted) return uncommitted.error();
  plan.uncommitted = *uncommitted;
  if (job.remote_tip == point.remote_commit) return plan;
  if (!job.remote_tip) {
    plan.outcome = point_outcome::unpublished;
    return plan;
  }
  auto remote = existing_commit(repository, job.remote_tip);
  if (!remote) return remote.error();
  auto held = is_held(repository, plan, **remote);
  if (!held) return held.error();
  plan.outcome = *held ? point_outcome::held : point_outcome::kept;
  return plan;
}

result<point_head> set_point_branches(const worktree_place& place, git_repository* repository, const worktree_job& job,
                                      const point_plan& plan) {
  point_head head;
  head.branch = plan.head_branch;
  if (plan.branch)
    if (auto done = put_branch(place, repository, job, plan, job.branch, *plan.branch, head); !done)
      return done.error();
  if (!head.branch.empty() && head.branch != job.branch)
    if (const auto other = occupant_of(place, head.branch); other && plan.head) {
      head.reported.push_back(fmt::format("HEAD was on branch {}, which agent {} has checked out now: it is detached",
                                          head.branch, *other));
      head.branch.clear();
    }
  if (head.branch.empty()) {
    head.content = to_hex(*plan.head) + '\n';
    return head;
  }
  head.content = head_content(head.branch);
  const auto done = plan.head ? put_branch(place, repository, job, plan, head.branch, *plan.head, head)
                              : remove_branch(place, repository, job, plan, head.branch, head);
  if (!done) return done.error();
  return head;
}

result<void> unset_upstream(git_repository* repository, const std::string& branch) {
  config_handle config;
  if (const auto rc = git_repository_config(out(config), repository); rc != 0) return last_error(rc, branch);
  for (const auto* key : {"remote", "merge"}) {
    const auto name = fmt::format("branch.{}.{}", branch, key);
    if (const auto rc = git_config_delete_entry(config.get(), name.c_str()); rc != 0 && rc != GIT_ENOTFOUND)
      return last_error(rc, name);
  }
  return {};
}

} // namespace townkeeper::git
