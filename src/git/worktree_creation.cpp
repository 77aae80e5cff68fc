#include "git/worktree_creation.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>

#include "core/fault_point.hpp"
#include "git/checkout_conversion.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/index_writer.hpp"
#include "git/local_branch.hpp"
#include "git/object_id.hpp"
#include "git/recovery.hpp"
#include "git/registration.hpp"
#include "git/snapshot_index.hpp"
#include "git/tree_reader.hpp"
#include "git/worktree_writer.hpp"

namespace townkeeper::git {
namespace {

result<descriptor> make_directory(int parent, const char* name) {
  if (::mkdirat(parent, name, 0777) != 0) return disk_error(errno, name, "cannot be created");
  return open_directory(parent, name, name);
}

index_serialiser serialiser_for(const manifest& files) {
  std::size_t path_bytes = 0;
  for (const auto& entry : files.entries)
    path_bytes += entry.path.size();
  return {files.entries.size(), path_bytes};
}

} // namespace

result<staged_worktree> stage_worktree(const worktree_place& place) {
  auto staging = staging_directory::make(place);
  if (!staging) return staging.error();
  auto files = make_directory(staging->fd(), staged_worktree::files_name);
  if (!files) return files.error();
  auto registration = make_directory(staging->fd(), staged_worktree::registration_name);
  if (!registration) return registration.error();
  return staged_worktree{std::move(*staging), std::move(*files), std::move(*registration)};
}

result<void> publish(const worktree_place& place, const staged_worktree& staged) {
  const auto* name = place.agent_id.c_str();
  const auto staging = staged.staging.fd();
  if (const int failed = fault_point("worktree-published"); failed != 0)
    return disk_error(failed, place.worktree.native(), "cannot be put in place");
  if (const auto failed = rename_new(staging, staged_worktree::files_name, place.worktrees.get(), name); failed != 0)
    return disk_error(failed, place.worktree.native(), "cannot be put in place");
  auto failed = fault_point("registration-published");
  if (failed == 0) failed = rename_new(staging, staged_worktree::registration_name, place.registrations.get(), name);
  if (failed == 0) return {};
  // Back where it is removed with the rest; should even that fail, the next start finds a directory without
  // registration and mends it.
  static_cast<void>(rename_new(place.worktrees.get(), name, staging, staged_worktree::files_name));
  return disk_error(failed, place.registration.native(), "cannot be put in place");
}

result<void> note_point(int registration, const worktree_job& job) {
  if (!job.point) return {};
  if (const int failed = fault_point("point-noted"); failed != 0)
    return disk_error(failed, point_mark_file, "cannot be written");
  const auto& point = job.point->point;
  return create_file(registration, point_mark_file, point_mark_text({point.epoch, point.seq, point.commit}));
}

result<worktree_restored> create_worktree(const worktree_place& place, git_repository* repository,
                                          const worktree_job& job, const worktree_target& target,
                                          const worktree_observer& observe) {
  auto staged = stage_worktree(place);
  if (!staged) return staged.error();
  const int root = staged->files.get();
  const int registration = staged->registration.get();

  manifest files;
  index_serialiser index(0, 0);
  progress_reporter progress(observe, worktree_step::files);
  worktree_restored restored;
  if (target.commit) {
    auto objects = object_store::open(repository);
    if (!objects) return objects.error();
    auto tree = tree_of(repository, *target.commit);
    if (!tree) return tree.error();
    auto read = read_manifest(*objects, *tree, job.cancel);
    if (!read) return read.error();
    files = std::move(*read);
    auto conversion = checkout_conversion::open(*objects, *target.commit, files);
    if (!conversion) return conversion.error();
    progress.begin(worktree_step::files, static_cast<std::int64_t>(files.entries.size()));
    index = serialiser_for(files);
    worktree_writer writer(*objects, *conversion, job.cancel);
    // While the path is at hand: a walk over all of them afterwards would find them in no cache.
    auto written = writer.write_all_into(root, files, progress, [&](const auto& entry, const file_stamp& stamp) {
      index.add({entry.path, entry.id, entry.mode, stamp});
    });
    if (!written) return written.error();
    restored.reported = conversion->reports();
  }
  auto index_bytes = index.finish(files.trees);
  if (!index_bytes) return index_bytes.error();
  const auto commit = target.commit ? to_hex(*target.commit) : std::string();
  if (const int failed = fault_point("dot-git-written"); failed != 0)
    return disk_error(failed, ".git", "cannot be written");
  if (auto done = create_file(root, ".git", dot_git_content(place)); !done) return done.error();
  if (auto done = write_registration(registration, place, job.branch, commit, *index_bytes); !done) return done.error();
  if (auto done = note_point(registration, job); !done) return done.error();

  if (is_cancelled(job.cancel)) return cancelled_error(job.agent_id);
  if (target.commit && (!target.local_tip || !same(*target.local_tip, *target.commit)))
    if (auto moved =
            set_branch(place, repository, job.branch, *target.commit, target.local_tip, "townkeeper: restored");
        !moved)
      return moved.error();
  if (auto done = publish(place, *staged); !done) return done.error();

  progress.begin(worktree_step::verifying, static_cast<std::int64_t>(files.entries.size()));
  if (auto sound = verify_worktree(place, repository, job.branch, target.commit, files.entries.size()); !sound)
    return sound.error();
  progress.finish();
  restored.commit = commit;
  restored.branch = job.branch;
  restored.created_from_base = target.created_from_base;
  restored.unpushed_commits = target.unpushed_commits;
  restored.files_total = static_cast<std::int64_t>(files.entries.size());
  restored.files_written = restored.files_total;
  return restored;
}

result<void> verify_worktree(const worktree_place& place, git_repository* repository, const std::string& branch,
                             const std::optional<git_oid>& commit, std::size_t entries) {
  const auto wrong = [&](std::string_view what) {
    return error{error_code::corrupt, place.worktree.native(),
                 fmt::format("was written, and then {}; it is tried again", what)};
  };
  const auto root = open_directory(place.worktrees.get(), place.agent_id.c_str(), place.agent_id);
  if (!root) return root.error();
  const auto found = read_registration(place.registrations.get(), place.agent_id);
  if (!found || read_dot_git(root->get()) != place.registration || found->worktree != place.worktree ||
      !found->has_commondir)
    return wrong("it and its registration do not name each other");
  if (found->head_branch() != (branch.empty() ? std::nullopt : std::optional(branch)))
    return wrong("HEAD is not on its branch");
  std::optional<git_oid> tip;
  if (!branch.empty()) {
    git_oid id{};
    const auto rc = git_reference_name_to_id(&id, repository, ("refs/heads/" + branch).c_str());
    if (rc != 0 && rc != GIT_ENOTFOUND) return last_error(rc, place.worktree.native());
    if (rc == 0) tip = id;
  } else if (const auto detached = parse_oid(found->head.value_or(std::string()))) {
    tip = *detached;
  }
  if (tip.has_value() != commit.has_value() || (tip && !same(*tip, *commit))) return wrong("HEAD is at another commit");
  const auto registration = open_directory(place.registrations.get(), place.agent_id.c_str(), place.agent_id);
  if (!registration) return registration.error();
  const auto index = read_index_moment(registration->get(), (place.registration / "index").native());
  if (!index) return index.error();
  if (index->image.entries().size() != entries) return wrong("the index holds another number of paths");
  return {};
}

} // namespace townkeeper::git
