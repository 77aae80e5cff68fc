#include "git/worktree_writer.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <string_view>

#include "core/fault_point.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

error cannot_create(int errno_value, std::string_view path) {
  if (errno_value == EEXIST)
    return {error_code::corrupt, printable(path),
            "the commit names this path twice, or the file system takes it for another one (letter case)"};
  return disk_error(errno_value, printable(path), "cannot be created");
}

} // namespace

// -- progress ----------------------------------------------------------------

void progress_reporter::begin(worktree_step step, std::int64_t files_total) {
  now_at_ = {step, 0, files_total};
  tell();
}

void progress_reporter::file_done() {
  if (++now_at_.files_done % files_per_look != 0) return;
  if (std::chrono::steady_clock::now() - last_told_ >= least_interval) tell();
}

void progress_reporter::finish() {
  now_at_.files_done = now_at_.files_total;
  tell();
}

void progress_reporter::tell() {
  last_told_ = std::chrono::steady_clock::now();
  if (observe_) observe_(now_at_);
}

// -- writing -----------------------------------------------------------------

result<void> worktree_writer::write_all_into(int root, const manifest& files, progress_reporter& progress,
                                             const written_observer& written) {
  directory_stack directories(root, &closing_);
  for (const auto& entry : files.entries) {
    if (is_cancelled(cancel_)) return cancelled_error("worktree");
    auto directory = directories.enter(parent_of(entry.path), directory_stack::on_missing::must_be_new);
    if (!directory) return directory.error();
    auto stamp = write(*directory, leaf_of(entry), entry);
    if (!stamp) return stamp.error();
    if (written) written(entry, *stamp);
    progress.file_done();
  }
  closing_.close_all();
  return {};
}

result<file_stamp> worktree_writer::write_one(int directory, const char* leaf, const manifest_entry& entry) {
  auto stamp = write(directory, leaf, entry);
  closing_.close_all();
  return stamp;
}

result<file_stamp> worktree_writer::write(int directory, const char* leaf, const manifest_entry& entry) {
  if (entry.mode == mode_symlink) return write_symlink(directory, leaf, entry);
  if (entry.mode == mode_submodule) return make_submodule_directory(directory, leaf, entry);
  return write_file(directory, leaf, entry);
}

result<file_stamp> worktree_writer::write_file(int directory, const char* leaf, const manifest_entry& entry) {
  auto blob = objects_.read(entry.id, GIT_OBJECT_BLOB);
  if (!blob) return blob.error();
  const std::string_view content =
      entry.as_it_is ? (*blob)->bytes : conversion_.to_worktree(entry, (*blob)->bytes, buffer_);
  const ::mode_t permissions = entry.mode == mode_executable ? 0777 : 0666; // the umask decides, as with git
  descriptor fd(::openat(directory, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, permissions));
  if (!fd) return cannot_create(errno, entry.path);
  if (const int failed = fault_point("file-written"); failed != 0)
    return disk_error(failed, printable(entry.path), "cannot be written");
  if (const auto failed = write_all(fd.get(), content); failed != 0)
    return disk_error(failed, printable(entry.path), "cannot be written");
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return disk_error(errno, printable(entry.path), "cannot be examined");
  if (static_cast<std::size_t>(st.st_size) != content.size())
    return error{error_code::disk, printable(entry.path), "holds fewer bytes than were written"};
  closing_.add(std::move(fd));
  return stamp_of(st);
}

result<file_stamp> worktree_writer::write_symlink(int directory, const char* leaf, const manifest_entry& entry) {
  auto blob = objects_.read(entry.id, GIT_OBJECT_BLOB);
  if (!blob) return blob.error();
  const auto& target = (*blob)->bytes;
  if (target.empty() || target.find('\0') != std::string::npos)
    return error{error_code::invalid_argument, printable(entry.path),
                 "is a symbolic link to an empty name or one with a NUL"};
  if (const int failed = fault_point("symlink-made"); failed != 0) return cannot_create(failed, entry.path);
  if (::symlinkat(target.c_str(), directory, leaf) != 0) return cannot_create(errno, entry.path);
  struct stat st {};
  if (::fstatat(directory, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return disk_error(errno, printable(entry.path), "cannot be examined");
  return stamp_of(st);
}

result<file_stamp> worktree_writer::make_submodule_directory(int directory, const char* leaf,
                                                             const manifest_entry& entry) {
  if (::mkdirat(directory, leaf, 0777) != 0) return cannot_create(errno, entry.path);
  struct stat st {};
  if (::fstatat(directory, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return disk_error(errno, printable(entry.path), "cannot be examined");
  return stamp_of(st);
}

} // namespace townkeeper::git
