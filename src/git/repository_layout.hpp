#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

/// Where a rig's repositories lie and how they come to be:
///
///     <rig>/repo.git                 the bare repository of the first URL
///     <rig>/repo-<16 hex>.git        that of another URL (SHA-256 of it); the older one stays as long as worktrees may
///     need it <rig>/.new-<owner>             one being built; renamed when complete, so that whoever looks sees all of
///     it or nothing <repository>/townkeeper/       our own notes: `url`, `packs`, and what was set aside while healing
namespace townkeeper::git {

/// `<prefix>-<pid>-<start time>-<random>`: a name whose owner can be asked after (proc(5), field 22 of stat).
std::string temporary_name(std::string_view prefix);

/// True for a name made by `temporary_name` whose process is gone.
bool is_left_behind(std::string_view name);

/// Removes directories and files directly below `directory` that dead processes left behind. Never fails: what stays is
/// harmless. Returns how many went.
int remove_left_behind(const std::filesystem::path& directory);

/// Holds a rig's directory for one job at a time, in this process and others, by flock(2) on the directory: gone with
/// its holder.
class rig_lock {
public:
  /// Makes the directory when it is missing. Errors: `invalid_argument` (not absolute, or a symbolic link in its
  /// place), `disk`, `unavailable` (another job holds it).
  static result<rig_lock> take(const std::filesystem::path& directory, const std::string& rig_id);

  rig_lock(rig_lock&& other) noexcept;
  rig_lock& operator=(rig_lock&&) = delete;
  ~rig_lock();

private:
  explicit rig_lock(int fd)
      : fd_(fd) {}
  int fd_;
};

/// The path for the repository of `url` below `rig`, whether it exists or not. Errors: `invalid_argument`, a symbolic
/// link stands there.
result<std::filesystem::path> repository_path(const std::filesystem::path& rig, const std::string& url);

/// The URL a repository was made for; empty when nothing says so.
std::string recorded_url(const std::filesystem::path& repository);

/// Writes a file by temporary and rename. Errors: `disk`.
result<void> write_file(const std::filesystem::path& path, std::string_view content);
/// The whole file, or nothing when it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// An empty bare repository at `path` (which must not exist) with all its configuration, HEAD on `default_branch`
/// (unborn).
result<void> make_skeleton(const std::filesystem::path& path, const std::string& url, const std::string& default_branch,
                           const std::vector<std::string>& branches);

/// The text of a fresh configuration file.
std::string fresh_config(const std::string& url, const std::vector<std::string>& branches);

/// Renames `from` to `to` unless `to` exists (renameat2(2), RENAME_NOREPLACE). False: it exists. Errors: `disk`.
result<bool> publish(const std::filesystem::path& from, const std::filesystem::path& to);

/// Makes missing directories, each an error of ours when it cannot be made.
result<void> make_directories(const std::filesystem::path& path);

/// `disk`, with the path and what errno says.
error disk_error(const std::filesystem::path& path, std::string_view doing, int number);

/// Removes a temporary directory when it goes out of scope, unless released.
class temporary_directory {
public:
  explicit temporary_directory(std::filesystem::path path)
      : path_(std::move(path)) {}
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory();
  const std::filesystem::path& path() const noexcept { return path_; }
  void release() noexcept { path_.clear(); }

private:
  std::filesystem::path path_;
};

} // namespace townkeeper::git
