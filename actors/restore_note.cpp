#include "actors/restore_note.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace townkeeper {
namespace {

using git::point_outcome;

constexpr std::size_t most_listed = 5; // the report and the context hold all of them

std::string short_commit(const std::string& commit) {
  return commit.substr(0, 12);
}

/// A path may hold anything; the note is one paragraph.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return text;
}

/// "a, b and 3 more".
template <class Items, class Show>
std::string listed(const Items& items, Show show) {
  std::string out;
  for (std::size_t i = 0; i < std::min(items.size(), most_listed); ++i)
    out += (i == 0 ? "" : ", ") + show(items[i]);
  if (items.size() > most_listed) out += fmt::format(" and {} more", items.size() - most_listed);
  return out;
}

std::string where(const git::worktree_restored& restored) {
  const auto head = restored.branch.empty() ? std::string("with a detached HEAD") : "on branch " + restored.branch;
  return restored.commit.empty() ? head + ", which has no commit yet"
                                 : head + " at commit " + short_commit(restored.commit);
}

std::string named(const town::recovery_point& point) {
  return fmt::format("recovery point {} ({}, of {})", point.ref, short_commit(point.commit), point.saved_at);
}

// -- what became of the point -----------------------------------------------------------------------------------------

std::string without_point(const town::agent_spec& agent, const git::worktree_restored& restored) {
  if (restored.left_dirty)
    return fmt::format("Your worktree was still on the disk and held work that is not on the remote; it was left "
                       "exactly as it was, {}. Look at `git status` and `git log @{{upstream}}..` before you go on.",
                       where(restored));
  if (restored.commit.empty())
    return fmt::format("The repository has no commit yet; your worktree is on the unborn branch {}.", restored.branch);
  if (restored.created_from_base)
    return fmt::format("Branch {} was never pushed; your worktree is a new branch of that name, starting at commit "
                       "{}{}. What an earlier container held on it, and did not save, is not here.",
                       restored.branch, short_commit(restored.commit), agent.base_ref ? " of " + *agent.base_ref : "");
  return fmt::format("Your worktree is on branch {} at commit {}, the tip of that branch on the remote, with a clean "
                     "status. There is no recovery point of yours: edits and commits of an earlier container that were "
                     "neither pushed nor saved are not here.",
                     restored.branch, short_commit(restored.commit));
}

std::string applied(const git::worktree_restored& restored, const town::recovery_point& point) {
  if (point.clean)
    return fmt::format("Your worktree is as you left it, {}, with nothing uncommitted, from {}.", where(restored),
                       named(point));
  return fmt::format(
      "Your work is back exactly as it was, {}, from {}: {} staged, {} modified and {} untracked file(s), index and "
      "any "
      "merge or rebase in progress among it. Look at `git status`, then commit and push what is worth keeping.",
      where(restored), named(point), point.files.staged, point.files.modified, point.files.untracked);
}

std::string kept(const git::worktree_restored& restored, const town::recovery_point& point) {
  return fmt::format(
      "Branch {0} moved on the remote while you were away. Your worktree is {1}; your saved work was not mixed into it "
      "and lies under {2}. To look at it: `git fetch origin {3}`, then `git diff HEAD FETCH_HEAD^1` for your version "
      "of the tracked files, `git log FETCH_HEAD^1^1` for your commits, and `git show --stat FETCH_HEAD^1^3` for your "
      "untracked files; `git checkout FETCH_HEAD^1 -- <path>` takes one over (FETCH_HEAD^1^3 for an untracked one).",
      point.branch, where(restored), named(point), point.ref);
}

std::string of_point(const git::worktree_restored& restored, const town::recovery_point& point) {
  switch (restored.recovery) {
  case point_outcome::applied:
    return applied(restored, point);
  case point_outcome::held:
    return fmt::format("Your worktree is {}, the tip of that branch on the remote, with a clean status. The branch "
                       "moved on while you were away and holds all that was in your {}.",
                       where(restored), named(point));
  case point_outcome::kept:
    return kept(restored, point);
  case point_outcome::unpublished:
    return fmt::format(
        "Branch {0} is gone from the remote (merged and deleted, or renamed). {1} It has no upstream any "
        "more: find out why before you push it again (`git push -u origin {0}`).",
        point.branch, applied(restored, point));
  case point_outcome::disk_newer:
    return fmt::format("Your worktree was still on the disk, and is at or after what was saved last; it was left as it "
                       "was, {}. Look at `git status` before you go on.",
                       where(restored));
  case point_outcome::disk_older:
  case point_outcome::none:
    break;
  }
  return {};
}

// -- what is to be known besides --------------------------------------------------------------------------------------

std::string left_out(const std::vector<town::left_out_file>& files) {
  if (files.empty()) return {};
  return fmt::format(" Not saved, and not here: {}.",
                     listed(files, [](const auto& f) { return one_line(f.path) + " (" + one_line(f.reason) + ")"; }));
}

std::string kept_points(const std::vector<town::recovery_point>& points) {
  if (points.empty()) return {};
  return fmt::format(" Kept for you to look at, and applied to nothing: {} (`git fetch origin <ref>`, then `git show "
                     "--stat FETCH_HEAD^1`).",
                     listed(points, [](const auto& p) { return p.ref; }));
}

} // namespace

std::string restore_note(const town::agent_spec& agent, const git::worktree_restored& restored,
                         const std::optional<git::found_recovery>& point) {
  const bool has_point = point && restored.recovery != point_outcome::none;
  auto note = has_point ? of_point(restored, point->point) : without_point(agent, restored);
  if (restored.unpushed_commits > 0)
    note += fmt::format(" {} commit(s) of yours are not on the remote yet: push them.", restored.unpushed_commits);
  if (has_point) note += left_out(point->left_out);
  note += kept_points(agent.kept);
  for (const auto& what : restored.reported)
    note += " Note: " + one_line(what) + ".";
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
  if (why.code == error_code::recovery_point_missing)
    return fmt::format(
        "The last recovery point of this agent{} cannot be read: {}. Nothing older was put in its place, so that no "
        "work is passed over in silence; it is tried again every minute. Push the ref again if a clone still has it. "
        "An operator who accepts the loss drops the point (`townkeeper recovery drop --agent {} --rig RIG "
        "--recovery`); "
        "then the worktree is restored at the tip of {}.",
        agent.recovery ? " (" + agent.recovery->ref + ")" : "", to_string(why), agent.agent_id, agent.branch);
  return fmt::format("The worktree of branch {} could not be restored: {}. It is tried again every minute.",
                     agent.branch, to_string(why));
}

} // namespace townkeeper
