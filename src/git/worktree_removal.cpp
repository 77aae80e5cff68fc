#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <cerrno>
#include <tuple>

#include "core/fault_point.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/jobs.hpp"
#include "git/local_branch.hpp"
#include "git/loose_reader.hpp"
#include "git/path_rules.hpp"
#include "git/worktree_place.hpp"
#include "git/worktree_repair.hpp"
#include "git/worktree_target.hpp"
#include "git/worktree_update.hpp"
#include "git/worktree_work.hpp"

namespace townkeeper::git {
namespace {

bool is_directory(const worktree_place& place) {
  struct stat st {};
  return ::fstatat(place.worktrees.get(), place.agent_id.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/// What in the worktree nobody else has; empty when nothing is.
result<std::string> unsaved_in(const worktree_place& place, git_repository* repository, const worktree_job& job) {
  auto work = inspect_work(place);
  if (!work) return work.error();
  if (work->is_uncommitted()) return work->described();
  if (!work->submodules_in_use.empty())
    return fmt::format("checked-out submodules, which may hold work of their own ({})",
                       printable(fmt::format("{}", fmt::join(work->submodules_in_use, ", "))));
  if (!work->head) return std::string();
  auto unsaved = count_unsaved(repository, *work->head, job.remote_tip);
  if (!unsaved) return unsaved.error();
  if (*unsaved > 0) return fmt::format("{} {} that origin lacks", *unsaved, *unsaved == 1 ? "commit" : "commits");
  return std::string();
}

/// The directory goes before the registration: what a crash leaves in between is a registration without directory,
/// which holds no work, and the next call removes it.
result<void> remove_both(const worktree_place& place) {
  auto staging = staging_directory::make(place);
  if (!staging) return staging.error();
  const auto* name = place.agent_id.c_str();
  for (const auto& [parent, path, as] : {std::tuple{place.worktrees.get(), &place.worktree, "files"},
                                         std::tuple{place.registrations.get(), &place.registration, "registration"}}) {
    if (const int failed = fault_point("worktree-removed"); failed != 0)
      return disk_error(failed, path->native(), "cannot be removed");
    if (const auto failed = rename_new(parent, name, staging->fd(), as); failed != 0 && failed != ENOENT)
      return disk_error(failed, path->native(), "cannot be removed");
  }
  return {};
}

} // namespace

result<worktree_removal> remove_worktree(const worktree_job& job) {
  auto place = open_place(job);
  if (!place) return place.error();
  repository_handle repository;
  if (const auto rc = open_bare_repository(out(repository), place->repository.c_str()); rc != 0)
    return last_error(rc, place->repository.native());
  sweep_staging(place->worktrees.get());
  if (!is_directory(*place)) {
    struct stat st {};
    if (::fstatat(place->registrations.get(), place->agent_id.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
      auto work = registration_holds_work(*place, repository.get(), job.cancel);
      if (!work) return work.error();
      if (*work)
        return worktree_removal{false, "git's notes on it name staged changes, commits or an operation in progress"};
    }
  } else {
    // Only what git can open can be judged; mending it changes nothing the agent wrote.
    worktree_target last_known;
    auto local = read_branch(repository.get(), job.branch);
    if (!local) return local.error();
    last_known.local_tip = local->tip;
    auto repair = mend_worktree(*place, repository.get(), job, last_known);
    if (!repair && repair.error().code == error_code::unsupported)
      return worktree_removal{false, to_string(repair.error())};
    if (!repair) return repair.error();
    if (!repair->reported.empty()) return worktree_removal{false, fmt::format("{}", fmt::join(repair->reported, "; "))};
    if (repair->is_there) {
      auto unsaved = unsaved_in(*place, repository.get(), job);
      if (!unsaved) return unsaved.error();
      if (!unsaved->empty()) return worktree_removal{false, *unsaved};
    }
  }
  if (auto done = remove_both(*place); !done) return done.error();
  return worktree_removal{true, {}};
}

} // namespace townkeeper::git
