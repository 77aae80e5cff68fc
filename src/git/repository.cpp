#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/fault_point.hpp"
#include "core/ids.hpp"
#include "git/fetch.hpp"
#include "git/git_error.hpp"
#include "git/jobs.hpp"
#include "git/loose_reader.hpp"
#include "git/repository_history.hpp"
#include "git/repository_layout.hpp"
#include "git/repository_mend.hpp"
#include "git/repository_packs.hpp"
#include "git/repository_points.hpp"
#include "git/repository_refs.hpp"
#include "git/rig_refs.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

/// How often one call starts over because the remote moved between its advertisement and its pack.
constexpr int max_rounds = 3;

/// One call of `restore_repository`.
class restoration {
public:
  restoration(const repository_job& job, const transfer_observer& observe)
      : job_(job)
      , observe_(observe)
      , points_(job, observe)
      , is_cancelled_([flag = job.cancel] { return flag && flag->load(std::memory_order_relaxed); }) {}

  result<repository_restored> run();

private:
  result<void> take_wanted();
  result<void> bring_up(const fs::path& path);
  result<void> clone();
  result<void> clone_again();
  result<bool> refresh();
  result<bool> check_disk();
  result<advertisement> fetch_missing(repository_handle& repo);
  result<advertisement> fetch_all(const fs::path& fresh);
  result<void> refill(advertisement& remote, repository_handle& repo);
  result<void> set_refs(git_repository* repo, const advertisement& remote);

  std::vector<std::string> points_to_bring(const fs::path& repository) const;
  bool may_be_a_points_fault(const error& why) const;

  result<std::unique_ptr<fetch_session>> connect(const fs::path& repository, bool has_objects);
  void read_tips(const advertisement& remote);
  result<void> bring(fetch_session& session, const std::vector<std::string>& refs);

  const repository_job& job_;
  const transfer_observer& observe_;
  point_search points_;
  const std::function<bool()> is_cancelled_;
  std::vector<std::string> wanted_; ///< the default branch first; valid and distinct
  advertisement remote_;            ///< of the latest session
  bool cloned_ = false;
  bool with_points_ = true; ///< fetch points and branches together
  repository_restored done_;
};

result<repository_restored> restoration::run() {
  if (const auto allowed = check_url(job_.url, job_.urls); !allowed)
    return error{allowed.error().code, job_.rig_id, allowed.error().object + ": " + allowed.error().message};
  if (const auto taken = take_wanted(); !taken) return taken.error();
  const auto lock = rig_lock::take(job_.directory, job_.rig_id);
  if (!lock) return lock.error();
  remove_left_behind(job_.directory);
  for (int round = 1;; ++round) {
    const auto path = repository_path(job_.directory, job_.url);
    if (!path) return path.error();
    done_.repository = *path;
    const auto outcome = bring_up(*path);
    if (outcome) {
      if (const auto settled = points_.settle(remote_, cloned_, done_); !settled) return settled.error();
      return std::move(done_);
    }
    if (std::exchange(with_points_, with_points_ && !may_be_a_points_fault(outcome.error())) != with_points_) continue;
    if (outcome.error().code != error_code::conflict) return outcome.error();
    if (round == max_rounds)
      return error{error_code::unavailable, job_.rig_id, "the remote moved each time it was read; it is tried again"};
  }
}

result<void> restoration::take_wanted() {
  if (!is_valid_branch(job_.default_branch))
    return error{error_code::invalid_argument, job_.rig_id, "the default branch is not a branch name git takes"};
  std::set<std::string> seen;
  wanted_.push_back(job_.default_branch);
  seen.insert(job_.default_branch);
  for (const auto& branch :
       job_.branches) // a malformed one cannot be on any remote: it is absent from the tips like any other
    if (is_valid_branch(branch) && seen.insert(branch).second) wanted_.push_back(branch);
  return {};
}

result<std::unique_ptr<fetch_session>> restoration::connect(const fs::path& repository, bool has_objects) {
  repository_handle repo;
  if (const int code = open_bare_repository(out(repo), repository.c_str()); code < 0)
    return last_error(code, repository.string());
  auto session = fetch_session::open(job_, std::move(repo), has_objects, observe_);
  if (session) read_tips((*session)->remote());
  return session;
}

std::vector<std::string> restoration::points_to_bring(const fs::path& repository) const {
  return with_points_ ? points_.refs_to_bring(remote_, repository) : std::vector<std::string>{};
}

/// A point that the remote cannot give ends the whole answer: then the branches are fetched without any, and each point
/// by itself.
bool restoration::may_be_a_points_fault(const error& why) const {
  const bool by_its_nature = why.code == error_code::corrupt || why.code == error_code::unavailable ||
                             why.code == error_code::internal || why.code == error_code::not_found;
  return by_its_nature && !remote_.refs.empty() && !points_.refs_to_bring(remote_, {}).empty();
}

void restoration::read_tips(const advertisement& remote) {
  remote_ = remote;
  done_.tips.clear();
  done_.remote_empty = remote.refs.empty();
  done_.default_branch_gone.reset();
  for (const auto& branch : wanted_)
    if (const auto* id = remote.branch(branch)) done_.tips.emplace(branch, *id);
  if (!done_.remote_empty && remote.branch(job_.default_branch) == nullptr)
    done_.default_branch_gone = job_.default_branch;
}

result<void> restoration::bring(fetch_session& session, const std::vector<std::string>& refs) {
  if (refs.empty()) return {};
  const auto outcome = session.download(refs);
  done_.fetched_bytes += session.received().bytes;
  done_.fetched_objects += session.received().objects;
  return outcome;
}

result<void> restoration::bring_up(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return clone();
  const auto usable = refresh();
  if (!usable) return usable.error();
  return *usable ? result<void>{} : clone_again();
}

/// Into the empty repository `fresh`, all that is wanted.
result<advertisement> restoration::fetch_all(const fs::path& fresh) {
  if (const auto made = make_skeleton(fresh, job_.url, job_.default_branch, wanted_); !made) return made.error();
  auto session = connect(fresh, false);
  if (!session) return session.error();
  std::vector<std::string> refs;
  for (const auto& [branch, id] : done_.tips)
    refs.push_back(local_prefix + branch);
  const auto points = points_to_bring({});
  refs.insert(refs.end(), points.begin(), points.end());
  if (const auto brought = bring(**session, refs); !brought) return brought.error();
  for (const auto& [branch, id] : done_.tips)
    if (!commit_is_readable((*session)->repository(), id))
      return error{error_code::corrupt, job_.rig_id, "the pack that came lacks the commit of branch " + branch};
  return (*session)->remote();
}

result<void> restoration::clone() {
  temporary_directory building(job_.directory / temporary_name(".new"));
  if (const auto fetched = fetch_all(building.path()); !fetched) return fetched.error();
  if (const auto written = write_first_refs(building.path(), done_.tips, job_.default_branch); !written) return written;
  if (const auto noted = want_rig_refs(building.path()); !noted) return noted;
  if (const int failed = fault_point("repository-published"); failed != 0)
    return disk_error(done_.repository, "cannot publish the repository", failed);
  const auto published = publish(building.path(), done_.repository);
  if (!published) return published.error();
  if (!*published) return error{error_code::conflict, job_.rig_id, "another repository stands in its place"};
  building.release();
  cloned_ = true;
  return {};
}

/// A repository beyond mending makes room for a new one, which takes over what git knows of the worktrees.
result<void> restoration::clone_again() {
  const auto kept = set_repository_aside(done_.repository);
  if (!kept) return kept.error();
  done_.healed.push_back("repository beyond mending cloned afresh; the old one is " + kept->string());
  if (auto cloned = clone(); !cloned) return cloned;
  std::error_code failure;
  fs::rename(*kept / "worktrees", done_.repository / "worktrees", failure);
  if (failure && failure != std::errc::no_such_file_or_directory && failure != std::errc::not_a_directory)
    return disk_error(*kept / "worktrees", "cannot be taken over", failure.value());
  return {};
}

/// False: what the disk has is beyond mending.
result<bool> restoration::check_disk() {
  if (observe_) observe_({});
  const repository_frame frame{job_.rig_id, job_.url, job_.default_branch, wanted_};
  const auto mended = mend_repository(done_.repository, frame, done_.healed);
  if (!mended && mended.error().code == error_code::corrupt) {
    done_.healed.push_back(mended.error().object + ": " + mended.error().message);
    return false;
  }
  if (!mended) return mended.error();
  if (const auto checked = check_packs(done_.repository, is_cancelled_, done_.healed); !checked) return checked.error();
  return true;
}

/// One round trip, and a pack where the remote has something new. When the disk lacks objects it should have, nothing
/// it says of itself can be trusted in a negotiation: then everything is fetched as if it were empty.
result<advertisement> restoration::fetch_missing(repository_handle& repo) {
  auto whole = has_whole_history(repo.get(), tracking_prefix, is_cancelled_);
  if (!whole) return whole.error();
  advertisement remote;
  if (*whole) {
    auto session = connect(done_.repository, true);
    if (!session) return session.error();
    remote = (*session)->remote();
    std::vector<std::string> missing;
    for (const auto& [branch, id] : done_.tips)
      if (target_of(repo.get(), tracking_prefix + branch) != id) missing.push_back(local_prefix + branch);
    const auto points = points_to_bring(done_.repository);
    missing.insert(missing.end(), points.begin(), points.end());
    if (missing.empty()) return remote;
    whole = has_whole_history(repo.get(), "refs/", is_cancelled_);
    if (!whole) return whole.error();
    if (*whole) {
      if (const auto brought = bring(**session, missing); !brought) return brought.error();
      return remote;
    }
  }
  if (const auto filled = refill(remote, repo); !filled) return filled.error();
  return remote;
}

result<void> restoration::refill(advertisement& remote, repository_handle& repo) {
  temporary_directory building(job_.directory / temporary_name(".new"));
  auto fetched = fetch_all(building.path());
  if (!fetched) return fetched.error();
  remote = std::move(*fetched);
  if (auto adopted = adopt_packs(building.path(), done_.repository); !adopted) return adopted;
  done_.healed.emplace_back("objects were missing: fetched again");
  if (const int code = open_bare_repository(out(repo), done_.repository.c_str()); code < 0)
    return last_error(code, done_.repository.string());
  return {};
}

/// False: what the disk has is beyond mending.
result<bool> restoration::refresh() {
  if (auto usable = check_disk(); !usable || !*usable) return usable;
  repository_handle repo;
  if (open_bare_repository(out(repo), done_.repository.c_str()) < 0) return false;
  const auto remote = fetch_missing(repo);
  if (!remote) return remote.error();
  for (const auto& [branch, id] : done_.tips)
    if (!commit_is_readable(repo.get(), id)) return false;
  if (const auto set = set_refs(repo.get(), *remote); !set) return set.error();
  return true;
}

result<void> restoration::set_refs(git_repository* repo, const advertisement& remote) {
  const auto previous_tip = target_of(repo, tracking_prefix + job_.default_branch);
  if (const auto pruned = prune_tracking_refs(repo, remote); !pruned) return pruned.error();
  if (const auto updated = update_tracking_refs(repo, done_.tips); !updated) return updated.error();
  if (const auto tip = done_.tips.find(job_.default_branch); tip != done_.tips.end())
    if (const auto placed = place_default_branch(repo, tip->first, tip->second, previous_tip); !placed)
      return placed.error();
  // A local branch that is gone from the remote may have lost its upstream on purpose.
  std::vector<std::string> usual;
  for (const auto& branch : wanted_)
    if (done_.tips.contains(branch) || target_of(repo, local_prefix + branch).empty()) usual.push_back(branch);
  if (const auto configured = configure_branches(repo, usual); !configured) return configured.error();
  return {};
}

} // namespace

result<repository_restored> restore_repository(const repository_job& job, const transfer_observer& observe) {
  return restoration(job, observe).run();
}

} // namespace townkeeper::git
