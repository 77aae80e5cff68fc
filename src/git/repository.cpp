#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/ids.hpp"
#include "git/fetch.hpp"
#include "git/git_error.hpp"
#include "git/jobs.hpp"
#include "git/repository_layout.hpp"
#include "git/repository_refs.hpp"

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
      , observe_(observe) {}

  result<repository_restored> run();

private:
  result<void> take_wanted();
  result<void> clone();
  result<void> refresh();

  result<std::unique_ptr<fetch_session>> connect(const fs::path& repository, bool has_objects);
  void read_tips(const advertisement& remote);
  result<void> bring(fetch_session& session, std::vector<std::string> refs);

  const repository_job& job_;
  const transfer_observer& observe_;
  std::vector<std::string> wanted_; ///< the default branch first; valid and distinct
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
    std::error_code ignored;
    const auto outcome = fs::exists(*path, ignored) ? refresh() : clone();
    if (outcome) return std::move(done_);
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
  if (const int code = git_repository_open_bare(out(repo), repository.c_str()); code < 0)
    return last_error(code, repository.string());
  auto session = fetch_session::open(job_, std::move(repo), has_objects, observe_);
  if (session) read_tips((*session)->remote());
  return session;
}

void restoration::read_tips(const advertisement& remote) {
  done_.tips.clear();
  done_.remote_empty = remote.refs.empty();
  done_.default_branch_gone.reset();
  for (const auto& branch : wanted_)
    if (const auto* id = remote.branch(branch)) done_.tips.emplace(branch, *id);
  if (!done_.remote_empty && remote.branch(job_.default_branch) == nullptr)
    done_.default_branch_gone = job_.default_branch;
}

result<void> restoration::bring(fetch_session& session, std::vector<std::string> refs) {
  if (refs.empty()) return {};
  const auto outcome = session.download(refs);
  done_.fetched_bytes += session.received().bytes;
  done_.fetched_objects += session.received().objects;
  return outcome;
}

result<void> restoration::clone() {
  temporary_directory building(job_.directory / temporary_name(".new"));
  if (const auto made = make_skeleton(building.path(), job_.url, job_.default_branch, wanted_); !made) return made;
  {
    auto session = connect(building.path(), false);
    if (!session) return session.error();
    std::vector<std::string> refs;
    for (const auto& [branch, id] : done_.tips)
      refs.push_back(local_prefix + branch);
    if (const auto brought = bring(**session, std::move(refs)); !brought) return brought;
    for (const auto& [branch, id] : done_.tips)
      if (!commit_is_readable((*session)->repository(), id))
        return error{error_code::corrupt, job_.rig_id, "the pack that came lacks the commit of branch " + branch};
  }
  if (const auto written = write_first_refs(building.path(), done_.tips, job_.default_branch); !written) return written;
  const auto published = publish(building.path(), done_.repository);
  if (!published) return published.error();
  if (!*published) return error{error_code::conflict, job_.rig_id, "another repository stands in its place"};
  building.release();
  return {};
}

result<void> restoration::refresh() {
  auto opened = connect(done_.repository, true);
  if (!opened) return opened.error();
  auto& session = **opened;
  auto* repo = session.repository();
  const auto previous_tip = target_of(repo, tracking_prefix + job_.default_branch);
  std::vector<std::string> missing;
  for (const auto& [branch, id] : done_.tips)
    if (target_of(repo, tracking_prefix + branch) != id) missing.push_back(local_prefix + branch);
  if (const auto pruned = prune_tracking_refs(repo, session.remote()); !pruned) return pruned.error();
  if (const auto brought = bring(session, std::move(missing)); !brought) return brought;
  if (const auto updated = update_tracking_refs(repo, done_.tips); !updated) return updated.error();
  if (const auto tip = done_.tips.find(job_.default_branch); tip != done_.tips.end())
    if (const auto placed = place_default_branch(repo, tip->first, tip->second, previous_tip); !placed)
      return placed.error();
  if (const auto configured = configure_branches(repo, wanted_); !configured) return configured.error();
  return {};
}

} // namespace

result<repository_restored> restore_repository(const repository_job& job, const transfer_observer& observe) {
  return restoration(job, observe).run();
}

} // namespace townkeeper::git
