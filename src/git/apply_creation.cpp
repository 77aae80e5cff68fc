#include "git/apply_creation.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <iterator>

#include "core/fault_point.hpp"
#include "git/apply_extras.hpp"
#include "git/apply_index.hpp"
#include "git/checkout_conversion.hpp"
#include "git/descriptor.hpp"
#include "git/object_id.hpp"
#include "git/registration.hpp"
#include "git/worktree_creation.hpp"
#include "git/worktree_update.hpp"
#include "git/worktree_writer.hpp"

namespace townkeeper::git {
namespace {

void append(std::vector<std::string>& to, std::vector<std::string> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

/// In a registration whose files have not been put in their place yet.
constexpr const char* unpublished_note = "townkeeper-unpublished";

/// The registration first, for it holds what no file shows (index, operation in progress), and could not be made again
/// from the files alone.
result<void> publish_with_note(const worktree_place& place, const staged_worktree& staged) {
  const auto* name = place.agent_id.c_str();
  const auto staging = staged.staging.fd();
  const auto registration = staged.registration.get();
  if (auto done = create_file(registration, unpublished_note, ""); !done) return done;
  if (const int failed = fault_point("point-registration-published"); failed != 0)
    return disk_error(failed, place.registration.native(), "cannot be put in place");
  if (const auto failed = rename_new(staging, staged_worktree::registration_name, place.registrations.get(), name);
      failed != 0)
    return disk_error(failed, place.registration.native(), "cannot be put in place");
  auto failed = fault_point("point-worktree-published");
  if (failed == 0) failed = rename_new(staging, staged_worktree::files_name, place.worktrees.get(), name);
  if (failed != 0) {
    // Should this fail as well, the next start finds the note.
    static_cast<void>(rename_new(place.registrations.get(), name, staging, staged_worktree::registration_name));
    return disk_error(failed, place.worktree.native(), "cannot be put in place");
  }
  if (const int left = fault_point("unpublished-note-removed"); left != 0)
    return disk_error(left, (place.registration / unpublished_note).native(), "cannot be removed");
  if (::unlinkat(registration, unpublished_note, 0) != 0)
    return disk_error(errno, (place.registration / unpublished_note).native(), "cannot be removed");
  return {};
}

class creation {
public:
  creation(const worktree_place& place, object_store& objects, const worktree_job& job, const point_plan& plan,
           const worktree_observer& observe)
      : place_(place)
      , objects_(objects)
      , job_(job)
      , plan_(plan)
      , progress_(observe, worktree_step::files) {}

  result<worktree_restored> run() {
    auto staged = stage_worktree(place_);
    if (!staged) return staged.error();
    if (auto done = write_files(staged->files.get()); !done) return done.error();
    if (auto done = write_admin(staged->registration.get()); !done) return done.error();
    if (is_cancelled(job_.cancel)) return cancelled_error(job_.agent_id);
    auto head = set_point_branches(place_, objects_.repository(), job_, plan_);
    if (!head) return head.error();
    append(restored_.reported, std::move(head->reported));
    if (const int failed = fault_point("point-head-written"); failed != 0)
      return disk_error(failed, "HEAD", "cannot be written");
    if (auto done = replace_file(staged->registration.get(), "HEAD", head->content); !done) return done.error();
    if (auto done = publish_with_note(place_, *staged); !done) return done.error();
    progress_.begin(worktree_step::verifying, static_cast<std::int64_t>(index_.entries));
    if (auto sound = verify_worktree(place_, objects_.repository(), head->branch, plan_.head, index_.entries); !sound)
      return sound.error();
    progress_.finish();
    return describe(head->branch);
  }

private:
  result<void> write_files(int root) {
    auto files = read_files(objects_, plan_.layers, job_.cancel);
    if (!files) return files.error();
    files_ = std::move(*files);
    report_refused(files_.refused, restored_.reported);
    manifest all;
    all.entries = std::move(files_.all);
    all.has_attributes_file = files_.worktree.has_attributes_file || files_.untracked.has_attributes_file;
    auto conversion = checkout_conversion::open(objects_, plan_.layers.stash, all);
    if (!conversion) return conversion.error();
    progress_.begin(worktree_step::recovery, static_cast<std::int64_t>(all.entries.size()));
    std::vector<file_stamp> stamps;
    stamps.reserve(all.entries.size());
    auto done = worktree_writer(objects_, *conversion, job_.cancel)
                    .write_all_into(root, all, progress_,
                                    [&](const auto&, const file_stamp& stamp) { stamps.push_back(stamp); });
    if (!done) return done.error();
    files_.all = std::move(all.entries);
    written_files written;
    for (std::size_t i = 0; i < files_.all.size(); ++i)
      written.emplace_hint(written.end(), files_.all[i].path, written_file{&files_.all[i], stamps[i]});
    append(restored_.reported, conversion->reports());
    done = write_nested_repositories(objects_, plan_.layers, root, job_.cancel, restored_.reported);
    if (!done) return done;
    auto index = index_of_point(objects_, plan_.layers, files_, written, job_.cancel);
    if (!index) return index.error();
    index_ = std::move(*index);
    return create_file(root, ".git", dot_git_content(place_));
  }

  result<void> write_admin(int registration) {
    const auto commit = plan_.head ? to_hex(*plan_.head) : std::string();
    if (auto done = write_registration(registration, place_, job_.branch, commit, index_.bytes); !done) return done;
    if (auto written = write_operation(objects_, plan_.layers, registration, job_.cancel, restored_.reported); !written)
      return written.error();
    return note_point(registration, job_);
  }

  result<worktree_restored> describe(const std::string& branch) {
    restored_.recovery = plan_.outcome;
    restored_.branch = branch;
    restored_.files_total = static_cast<std::int64_t>(files_.all.size());
    restored_.files_written = restored_.files_total;
    restored_.applied_files = changes_in(files_).count();
    if (!plan_.head) return std::move(restored_);
    restored_.commit = to_hex(*plan_.head);
    auto unpushed = count_unsaved(objects_.repository(), *plan_.head, job_.remote_tip);
    if (!unpushed) return unpushed.error();
    restored_.unpushed_commits = *unpushed;
    return std::move(restored_);
  }

  const worktree_place& place_;
  object_store& objects_;
  const worktree_job& job_;
  const point_plan& plan_;
  progress_reporter progress_;
  point_files files_;
  point_index index_;
  worktree_restored restored_;
};

} // namespace

result<worktree_restored> create_from_point(const worktree_place& place, object_store& objects, const worktree_job& job,
                                            const point_plan& plan, const worktree_observer& observe) {
  return creation(place, objects, job, plan, observe).run();
}

result<void> clear_unpublished(const worktree_place& place) {
  const auto* name = place.agent_id.c_str();
  const auto note = place.agent_id + '/' + unpublished_note;
  struct stat st {};
  if (::fstatat(place.registrations.get(), note.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
  if (::fstatat(place.worktrees.get(), name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    if (::unlinkat(place.registrations.get(), note.c_str(), 0) != 0)
      return disk_error(errno, (place.registration / unpublished_note).native(), "cannot be removed");
    return {};
  }
  auto staging = staging_directory::make(place);
  if (!staging) return staging.error();
  const auto failed = rename_new(place.registrations.get(), name, staging->fd(), staged_worktree::registration_name);
  return failed == 0 ? result<void>() : disk_error(failed, place.registration.native(), "cannot be removed");
}

} // namespace townkeeper::git
