#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"

/// Files and directories by descriptor, so that no path is resolved twice and no symbolic link is ever followed by
/// accident.
namespace townkeeper::git {

/// Owns one file descriptor.
class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept
      : fd_(fd) {}
  descriptor(descriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~descriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

private:
  int fd_ = -1;
};

/// Closes descriptors many at a time: neighbouring numbers take one system call, where closing one by one is an eighth
/// of what creating a small file costs. Belongs to one thread.
class closing_batch {
public:
  /// So many stay open at most.
  static constexpr std::size_t capacity = 32;

  closing_batch() = default;
  closing_batch(const closing_batch&) = delete;
  closing_batch& operator=(const closing_batch&) = delete;
  ~closing_batch() { close_all(); }

  void add(descriptor fd) noexcept;
  void close_all() noexcept;

private:
  std::array<int, capacity> waiting_{};
  std::size_t count_ = 0;
};

/// What a failed system call means for `path`: `disk` for the file system (full, read-only, unreadable),
/// `invalid_argument` for a name it cannot hold.
error disk_error(int errno_value, std::string path, std::string_view what);

/// A directory below `parent` that is not a symbolic link.
result<descriptor> open_directory(int parent, const char* name, std::string_view path_for_errors);

/// Everything a regular file below `directory` holds; a symbolic link or other special file is refused. `limit_bytes`
/// bounds what is read (`too_large` beyond).
result<std::string> read_small_file(int directory, const char* name, std::size_t limit_bytes);

/// Writes all of `content`; the errno of the first failure, else 0.
int write_all(int fd, std::string_view content) noexcept;

/// Writes `content` to a file of that name that must not exist yet.
result<void> create_file(int directory, const char* name, std::string_view content);

/// Replaces or creates the file by writing `<name>.lock` beside it and renaming (git's own protocol, so that a git that
/// runs at the same moment sees the old or the new content and the two never write together).
result<void> replace_file(int directory, const std::string& name, std::string_view content);

/// Renames unless the target exists; 0, or the errno (EEXIST when it does).
int rename_new(int from_directory, const char* from, int to_directory, const char* to) noexcept;

/// Removes `name` below `directory` with everything in it; never follows a link. Absent: nothing to do.
result<void> remove_recursively(int directory, const std::string& name);

/// The names in a directory, without `.` and `..`, unsorted.
result<std::vector<std::string>> list_directory(int directory, std::string_view path_for_errors);

} // namespace townkeeper::git
