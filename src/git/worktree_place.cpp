#include "git/worktree_place.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>

#include "core/fault_point.hpp"
#include "core/ids.hpp"
#include "git/path_rules.hpp"
#include "git/repository_layout.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr const char* staging_name = ".new";
constexpr const char* kept_name = ".kept";
constexpr int max_kept = 10'000;

error refused(const fs::path& path, std::string_view why) {
  return {error_code::invalid_argument, printable(path.native()), std::string(why)};
}

result<descriptor> open_or_make(int parent, const char* name, const fs::path& path) {
  if (::mkdirat(parent, name, 0777) != 0 && errno != EEXIST)
    return disk_error(errno, path.native(), "cannot be created");
  return open_directory(parent, name, path.native());
}

bool same_directory(int a, int b) {
  struct stat first {};
  struct stat second {};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

/// `parent` holds an entry of the agent's name, which is `path`.
result<fs::path> move_to_kept(const worktree_place& place, int parent, const fs::path& path) {
  const auto directory = place.worktree.parent_path() / kept_name;
  auto kept = open_or_make(place.worktrees.get(), kept_name, directory);
  if (!kept) return kept.error();
  for (int n = 1; n <= max_kept; ++n) {
    const auto name = fmt::format("{}-{}", place.agent_id, n);
    if (const int failed = fault_point("worktree-set-aside"); failed != 0)
      return disk_error(failed, path.native(), "cannot be moved aside");
    const auto failed = rename_new(parent, place.agent_id.c_str(), kept->get(), name.c_str());
    if (failed == 0) return directory / name;
    if (failed != EEXIST) return disk_error(failed, path.native(), "cannot be moved aside");
  }
  return error{error_code::too_large, directory.native(),
               fmt::format("holds {} things kept for this agent; remove some", max_kept)};
}

} // namespace

result<worktree_place> open_place(const worktree_job& job) {
  if (!is_valid_id(job.agent_id)) return refused(job.agent_id, "is no valid agent id");
  if (!is_valid_branch(job.branch)) return refused(job.branch, "is no valid branch name");
  const auto rig = job.worktree.parent_path().parent_path();
  if (!job.worktree.is_absolute() || job.worktree != job.worktree.lexically_normal() ||
      job.worktree.filename() != job.agent_id || job.worktree.parent_path().filename() != "worktrees" ||
      !rig.has_filename() || !rig.parent_path().has_filename())
    return refused(job.worktree, "is not <workspace>/rigs/<rigId>/worktrees/<agentId>");
  if (job.repository.parent_path() != rig)
    return refused(job.repository, "does not lie in the directory of the worktree's rig");

  const auto workspace = rig.parent_path().parent_path();
  std::error_code failed;
  const auto real_workspace = fs::canonical(workspace, failed);
  if (failed) return disk_error(failed.value(), workspace.native(), "cannot be opened");
  const descriptor base(::open(real_workspace.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!base) return disk_error(errno, workspace.native(), "cannot be opened");

  worktree_place place;
  place.agent_id = job.agent_id;
  const auto real_rig = real_workspace / rig.parent_path().filename() / rig.filename();
  place.worktree = real_rig / "worktrees" / job.agent_id;
  place.repository = real_rig / job.repository.filename();
  place.registration = place.repository / "worktrees" / job.agent_id;

  auto rigs = open_directory(base.get(), rig.parent_path().filename().c_str(), rig.parent_path().native());
  if (!rigs) return rigs.error();
  auto rig_dir = open_directory(rigs->get(), rig.filename().c_str(), rig.native());
  if (!rig_dir) return rig_dir.error();
  auto repository = open_directory(rig_dir->get(), job.repository.filename().c_str(), job.repository.native());
  if (!repository) return repository.error();
  auto worktrees = open_or_make(rig_dir->get(), "worktrees", job.worktree.parent_path());
  if (!worktrees) return worktrees.error();
  auto registrations = open_or_make(repository->get(), "worktrees", job.repository / "worktrees");
  if (!registrations) return registrations.error();
  if (same_directory(worktrees->get(), registrations->get()))
    return refused(job.repository, "is the rig directory itself; the repository needs a directory of its own");
  place.repository_dir = std::move(*repository);
  place.worktrees = std::move(*worktrees);
  place.registrations = std::move(*registrations);
  return place;
}

result<staging_directory> staging_directory::make(const worktree_place& place) {
  sweep_staging(place.worktrees.get());
  auto parent = open_or_make(place.worktrees.get(), staging_name, place.worktree.parent_path() / staging_name);
  if (!parent) return parent.error();
  auto name = temporary_name(place.agent_id);
  if (const int failed = fault_point("staging-made"); failed != 0)
    return disk_error(failed, (place.worktree.parent_path() / staging_name / name).native(), "cannot be created");
  if (::mkdirat(parent->get(), name.c_str(), 0777) != 0)
    return disk_error(errno, (place.worktree.parent_path() / staging_name / name).native(), "cannot be created");
  auto own = open_directory(parent->get(), name.c_str(), name);
  if (!own) return own.error();
  return staging_directory(std::move(*parent), std::move(name), std::move(*own));
}

staging_directory::~staging_directory() {
  // What cannot be removed now is swept at the next start.
  if (own_) static_cast<void>(remove_recursively(parent_.get(), name_));
}

result<void> put_file(const worktree_place& place, int directory, const char* name, std::string_view content) {
  auto staging = staging_directory::make(place);
  if (!staging) return staging.error();
  if (auto done = create_file(staging->fd(), name, content); !done) return done;
  if (::renameat(staging->fd(), name, directory, name) != 0) return disk_error(errno, name, "cannot be put in place");
  return {};
}

result<fs::path> move_aside(const worktree_place& place) {
  return move_to_kept(place, place.worktrees.get(), place.worktree);
}

result<fs::path> move_registration_aside(const worktree_place& place) {
  return move_to_kept(place, place.registrations.get(), place.registration);
}

void sweep_staging(int worktrees) {
  const descriptor parent(::openat(worktrees, staging_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!parent) return;
  auto names = list_directory(parent.get(), staging_name);
  if (!names) return;
  for (const auto& name : *names)
    if (is_left_behind(name)) static_cast<void>(remove_recursively(parent.get(), name));
}

} // namespace townkeeper::git
