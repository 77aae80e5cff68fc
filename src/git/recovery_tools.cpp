#include "git/recovery_tools.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "git/apply_extras.hpp"
#include "git/checkout_conversion.hpp"
#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/recovery_clone.hpp"
#include "git/worktree_writer.hpp"

namespace townkeeper::git {
namespace {

using pack_builder = std::unique_ptr<git_packbuilder, free_with<git_packbuilder_free>>;

std::vector<std::string> paths_of(const std::vector<manifest_entry>& entries) {
  std::vector<std::string> paths;
  std::transform(entries.begin(), entries.end(), std::back_inserter(paths),
                 [](const auto& e) { return std::string(e.path); });
  return paths;
}

result<std::vector<std::string>> paths_in(object_store& objects, const std::optional<git_oid>& tree) {
  if (!tree) return std::vector<std::string>();
  std::vector<std::string> refused;
  auto files = read_manifest(objects, *tree, nullptr, &refused);
  if (!files) return files.error();
  return paths_of(files->entries);
}

int append_to(void* data, std::size_t size, void* file) {
  return write_all(static_cast<const descriptor*>(file)->get(), {static_cast<const char*>(data), size}) == 0 ? 0 : -1;
}

/// A bundle (gitformat-bundle(5), version 2) of one ref with all it reaches.
result<void> write_bundle(git_repository* repository, const located_point& point, int directory, const char* name) {
  descriptor file(::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file) return disk_error(errno, name, "cannot be created");
  const auto head = "# v2 git bundle\n" + to_hex(point.layers.point) + ' ' + point.found.point.ref + "\n\n";
  if (const auto failed = write_all(file.get(), head); failed != 0)
    return disk_error(failed, name, "cannot be written");
  revwalk_handle walk;
  pack_builder pack;
  if (const auto rc = git_revwalk_new(out(walk), repository); rc != 0) return last_error(rc, name);
  if (const auto rc = git_revwalk_push(walk.get(), &point.layers.point); rc != 0) return last_error(rc, name);
  if (const auto rc = git_packbuilder_new(out(pack), repository); rc != 0) return last_error(rc, name);
  if (const auto rc = git_packbuilder_insert_walk(pack.get(), walk.get()); rc != 0) return last_error(rc, name);
  const auto rc = git_packbuilder_foreach(pack.get(), append_to, &file);
  return rc == 0 ? result<void>() : last_error(rc, name);
}

/// Writes every file of a point below an empty directory.
result<std::int64_t> write_files(object_store& objects, const located_point& point, int directory,
                                 std::vector<std::string>& reported) {
  auto files = read_files(objects, point.layers, nullptr);
  if (!files) return files.error();
  report_refused(files->refused, reported);
  manifest all;
  all.entries = std::move(files->all);
  all.has_attributes_file = files->worktree.has_attributes_file || files->untracked.has_attributes_file;
  auto conversion = checkout_conversion::open(objects, point.layers.stash, all);
  if (!conversion) return conversion.error();
  const cancel_flag nobody;
  const worktree_observer unwatched;
  progress_reporter progress(unwatched, worktree_step::files);
  auto written = worktree_writer(objects, *conversion, nobody).write_all_into(directory, all, progress);
  if (!written) return written.error();
  for (auto& line : conversion->reports())
    reported.push_back(std::move(line));
  if (auto done = write_nested_repositories(objects, point.layers, directory, nobody, reported); !done)
    return done.error();
  return static_cast<std::int64_t>(all.entries.size());
}

result<void> fill(object_store& objects, const located_point& point, int directory, point_exported& exported) {
  if (::mkdirat(directory, "files", 0777) != 0) return disk_error(errno, exported.files.native(), "cannot be created");
  auto files = open_directory(directory, "files", exported.files.native());
  if (!files) return files.error();
  auto count = write_files(objects, point, files->get(), exported.reported);
  if (!count) return count.error();
  exported.file_count = *count;
  return write_bundle(objects.repository(), point, directory, "point.bundle");
}

} // namespace

result<shown_point> show_point(const clone_location& clone, const std::string& point) {
  auto opened = open_point(clone, point);
  if (!opened) return opened.error();
  auto& [handles, objects, located] = *opened;
  auto files = read_files(objects, located.layers, nullptr);
  if (!files) return files.error();
  auto changes = changes_in(*files);
  shown_point shown;
  shown.found = std::move(located.found);
  shown.identity = located.parts.meta.identity;
  shown.staged = std::move(changes.staged);
  shown.modified = std::move(changes.modified);
  shown.deleted = std::move(changes.deleted);
  shown.untracked = std::move(changes.untracked);
  std::set<std::string> conflicted;
  for (const auto& stage : located.layers.stages) {
    auto paths = paths_in(objects, stage);
    if (!paths) return paths.error();
    conflicted.insert(paths->begin(), paths->end());
  }
  shown.conflicted.assign(conflicted.begin(), conflicted.end());
  auto operation = paths_in(objects, located.layers.operation);
  if (!operation) return operation.error();
  shown.operation = std::move(*operation);
  return shown;
}

result<point_exported> export_point(const clone_location& clone, const std::string& point,
                                    const std::filesystem::path& directory) {
  auto opened = open_point(clone, point);
  if (!opened) return opened.error();
  auto& [handles, objects, located] = *opened;
  if (::mkdir(directory.c_str(), 0777) != 0) {
    if (errno == EEXIST)
      return error{error_code::conflict, directory.native(), "exists already; name a new directory to export to"};
    return disk_error(errno, directory.native(), "cannot be created");
  }
  auto into = open_directory(AT_FDCWD, directory.c_str(), directory.native());
  if (!into) return into.error();
  point_exported exported;
  exported.found = located.found;
  exported.bundle = directory / "point.bundle";
  exported.files = directory / "files";
  if (auto done = fill(objects, located, into->get(), exported); !done) {
    static_cast<void>(remove_recursively(AT_FDCWD, directory.native())); // it was made a moment ago
    return done.error();
  }
  return exported;
}

} // namespace townkeeper::git
