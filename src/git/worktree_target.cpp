#include "git/worktree_target.hpp"

#include <fmt/core.h>

#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/local_branch.hpp"
#include "git/object_cache.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

result<std::optional<git_oid>> existing_commit(git_repository* repository, const std::optional<std::string>& hex) {
  if (!hex) return std::optional<git_oid>();
  auto id = parse_oid(*hex);
  if (!id) return id.error();
  if (auto tree = tree_of(repository, *id); !tree) return tree.error();
  return std::optional<git_oid>(*id);
}

/// The branch is on the remote at `remote`.
result<void> choose_beside_remote(git_repository* repository, const worktree_job& job, const git_oid& remote,
                                  worktree_target& target) {
  target.commit = remote;
  if (!target.local_tip) return {};
  auto behind = is_reachable(repository, *target.local_tip, remote);
  if (!behind) return behind.error();
  if (*behind) return {};
  auto ahead = count_commits(repository, *target.local_tip, {remote});
  if (!ahead) return ahead.error();
  auto contains_remote = is_reachable(repository, remote, *target.local_tip);
  if (!contains_remote) return contains_remote.error();
  target.commit = target.local_tip;
  target.unpushed_commits = *ahead;
  if (!*contains_remote)
    target.reported.push_back(fmt::format("branch {} has diverged: {} local commits are not on the remote, whose tip "
                                          "is {}; the local branch was left as it is",
                                          job.branch, *ahead, to_hex(remote)));
  return {};
}

/// The branch was never pushed.
result<void> choose_without_remote(git_repository* repository, const worktree_job& job, worktree_target& target) {
  auto base = existing_commit(repository, job.base_tip);
  if (!base) return base.error();
  if (target.local_tip) {
    auto ahead = count_commits(repository, *target.local_tip, *base ? std::vector{**base} : std::vector<git_oid>());
    if (!ahead) return ahead.error();
    target.commit = target.local_tip;
    target.unpushed_commits = *ahead;
    target.created_from_base = base->has_value();
    return {};
  }
  if (*base) {
    target.commit = *base;
    target.created_from_base = true;
    return {};
  }
  auto tips = remote_tips(repository);
  if (!tips) return tips.error();
  if (!tips->empty())
    return error{
        error_code::branch_missing, job.base_ref.value_or(job.branch),
        fmt::format(
            "neither branch {} nor what it was to start from is on the remote; push one of them or set another baseRef",
            job.branch)};
  target.reported.push_back(fmt::format("the remote is empty: branch {} has no commit yet", job.branch));
  return {};
}

} // namespace

result<worktree_target> choose_target(git_repository* repository, const worktree_job& job) {
  worktree_target target;
  auto remote = existing_commit(repository, job.remote_tip);
  if (!remote) return remote.error();
  if (!*remote && job.ever_pushed)
    return error{error_code::branch_missing, job.branch,
                 "the branch was pushed once and is not on the remote; push it again or mark the agent done"};
  auto local = read_branch(repository, job.branch);
  if (!local) return local.error();
  target.local_tip = local->tip;
  if (local->note) target.healed.push_back(*local->note);
  const auto chosen = *remote ? choose_beside_remote(repository, job, **remote, target)
                              : choose_without_remote(repository, job, target);
  if (!chosen) return chosen.error();
  return target;
}

result<git_oid> tree_of(git_repository* repository, const git_oid& commit) {
  commit_handle handle;
  if (const auto rc = git_commit_lookup(out(handle), repository, &commit); rc != 0) {
    auto failure = last_error(rc, to_hex(commit));
    return error{error_code::corrupt, std::move(failure.object),
                 fmt::format("commit cannot be read ({}); the repository must be fetched anew", failure.message)};
  }
  return *git_commit_tree_id(handle.get());
}

} // namespace townkeeper::git
