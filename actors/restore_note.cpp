#include "actors/restore_note.hpp"

#include <fmt/core.h>

namespace townkeeper {
namespace {

std::string short_commit(const std::string& commit) {
  return commit.substr(0, 12);
}

} // namespace

std::string restore_note(const town::agent_spec& agent, const git::worktree_restored& restored) {
  std::string note;
  if (restored.left_dirty) {
    note = fmt::format(
        "Your worktree was still on the disk and held work that is not on the remote; it was left exactly as it was, "
        "{}{}. Look at `git status` and `git log @{{upstream}}..` before you go on.",
        restored.branch.empty() ? "with a detached HEAD" : "on branch " + restored.branch,
        restored.commit.empty() ? "" : " at commit " + short_commit(restored.commit));
  } else if (restored.commit.empty()) {
    note = fmt::format("The repository has no commit yet; your worktree is on the unborn branch {}.", restored.branch);
  } else if (restored.created_from_base) {
    note = fmt::format(
        "Branch {} was never pushed; your worktree is a new branch of that name, starting at commit {}{}. What an "
        "earlier container held on it is not here.",
        restored.branch, short_commit(restored.commit), agent.base_ref ? " of " + *agent.base_ref : "");
  } else {
    note = fmt::format(
        "Your worktree is on branch {} at commit {}, the tip of that branch on the remote, with a clean status. Edits "
        "and commits that were not pushed before the last container ended are not here.",
        restored.branch, short_commit(restored.commit));
  }
  if (restored.unpushed_commits > 0)
    note += fmt::format(" {} commit(s) of yours are not on the remote yet: push them.", restored.unpushed_commits);
  for (const auto& what : restored.reported)
    note += " Note: " + what + ".";
  if (agent.maybe_lost_seconds)
    note +=
        fmt::format(" The last container ended without a word; up to {:.0f} seconds of work before that may be lost.",
                    *agent.maybe_lost_seconds);
  if (agent.checkpoint)
    note += fmt::format(" Your last checkpoint is number {}, saved at {}; it is in this context.",
                        agent.checkpoint->seq, agent.checkpoint->saved_at);
  return note;
}

std::string failure_note(const town::agent_spec& agent, const error& why) {
  if (why.code == error_code::branch_missing)
    return fmt::format("Branch {} was pushed once and is not on the remote any more. No other branch was put in its "
                       "place. Push it again, "
                       "or set the agent's branch anew in the town; this is looked at again every minute.",
                       agent.branch);
  return fmt::format("The worktree of branch {} could not be restored: {}. It is tried again every minute.",
                     agent.branch, to_string(why));
}

} // namespace townkeeper
