#include "git/apply_extras.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/directory_stack.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

constexpr std::string_view stand_in = "dot-git"; ///< how a point spells `.git`

bool belongs_to_operation(std::string_view path) {
  const auto first = path.substr(0, path.find('/'));
  if (first.size() == path.size())
    return path != "HEAD" &&
           std::all_of(path.begin(), path.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
  if (first == "rebase-merge" || first == "rebase-apply" || first == "sequencer") return true;
  return path.starts_with("refs/bisect/") || path.starts_with("refs/worktree/") || path.starts_with("refs/rewritten/");
}

result<void> put(object_store& objects, directory_stack& directories, const std::string& path,
                 const manifest_entry& entry) {
  auto blob = objects.read(entry.id, GIT_OBJECT_BLOB);
  if (!blob) return blob.error();
  auto directory = directories.enter(parent_of(path), directory_stack::on_missing::create);
  if (!directory) return directory.error();
  const auto* leaf = leaf_of(path);
  if (::unlinkat(*directory, leaf, 0) != 0 && errno != ENOENT)
    return disk_error(errno, printable(path), "cannot be replaced");
  if (const int failed = fault_point("operation-written"); failed != 0)
    return disk_error(failed, printable(path), "cannot be written");
  const ::mode_t permissions = entry.mode == mode_executable ? 0777 : 0666;
  const descriptor file(::openat(*directory, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, permissions));
  if (!file) return disk_error(errno, printable(path), "cannot be created");
  if (const auto failed = write_all(file.get(), (*blob)->bytes); failed != 0)
    return disk_error(failed, printable(path), "cannot be written");
  return {};
}

bool is_file(const manifest_entry& entry) {
  return entry.mode == mode_file || entry.mode == mode_executable;
}

/// `a/dot-git/config` → `a` and `/config`; a path that spells no `.git` has no first part.
struct nested_path {
  std::string repository, below;
};
nested_path split(std::string_view path) {
  for (std::size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at + 1)) {
    const auto rest = path.substr(at + 1);
    if (rest.starts_with(stand_in) && (rest.size() == stand_in.size() || rest[stand_in.size()] == '/'))
      return {std::string(path.substr(0, at)), std::string(rest.substr(stand_in.size()))};
  }
  return {};
}

} // namespace

result<std::vector<std::string>> write_operation(object_store& objects, const point_layers& layers, int admin_directory,
                                                 const cancel_flag& cancel, std::vector<std::string>& reported) {
  std::vector<std::string> written;
  if (!layers.operation) return written;
  std::vector<std::string> refused;
  auto files = read_manifest(objects, *layers.operation, cancel, &refused);
  if (!files) return files.error();
  directory_stack directories(admin_directory);
  for (const auto& entry : files->entries) {
    if (!is_file(entry) || !belongs_to_operation(entry.path)) {
      refused.push_back(fmt::format("{}: is no file of an operation", printable(entry.path)));
      continue;
    }
    if (auto done = put(objects, directories, std::string(entry.path), entry); !done) return done.error();
    written.emplace_back(entry.path);
  }
  report_refused(refused, reported);
  return written;
}

result<void> write_nested_repositories(object_store& objects, const point_layers& layers, int worktree,
                                       const cancel_flag& cancel, std::vector<std::string>& reported) {
  if (!layers.nested) return {};
  std::vector<std::string> refused;
  auto files = read_manifest(objects, *layers.nested, cancel, &refused);
  if (!files) return files.error();
  directory_stack directories(worktree);
  std::set<std::string> made, standing;
  for (const auto& entry : files->entries) {
    const auto [repository, below] = split(entry.path);
    if (repository.empty() || !is_file(entry)) {
      refused.push_back(fmt::format("{}: is no file of a nested repository", printable(entry.path)));
      continue;
    }
    if (standing.contains(repository)) continue;
    if (made.insert(repository).second) {
      auto directory = directories.enter(repository, directory_stack::on_missing::create);
      if (!directory) return directory.error();
      struct stat st {};
      if (::fstatat(*directory, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0) {
        standing.insert(repository);
        reported.push_back(
            fmt::format("{} has a .git of its own now; the recovery point's was not written", printable(repository)));
        continue;
      }
    }
    if (auto done = put(objects, directories, repository + "/.git" + below, entry); !done) return done;
    // git takes a directory for a repository only with these two, and a tree cannot hold them while they are empty.
    if (below == "/HEAD")
      for (const auto* needed : {"/.git/objects", "/.git/refs"})
        if (auto directory = directories.enter(repository + needed, directory_stack::on_missing::create); !directory)
          return directory.error();
  }
  report_refused(refused, reported);
  return {};
}

void report_refused(const std::vector<std::string>& refused, std::vector<std::string>& reported) {
  if (refused.empty()) return;
  reported.push_back(fmt::format("{} {} of the recovery point {} not written: {}{}", refused.size(),
                                 refused.size() == 1 ? "path" : "paths", refused.size() == 1 ? "was" : "were",
                                 refused.front(), refused.size() == 1 ? "" : "; …"));
}

} // namespace townkeeper::git
