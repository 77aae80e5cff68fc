#include "git/descriptor.hpp"

#include <dirent.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "core/fault_point.hpp"
#include "core/ids.hpp"

namespace townkeeper::git {
namespace {

struct close_dir {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};

/// Removes a tree of any depth with a bounded number of open descriptors: what lies deeper than `max_open_levels` is
/// first moved up beside the top, and removed from there.
class tree_removal {
public:
  explicit tree_removal(int parent)
      : parent_(parent) {}

  result<void> run(const std::string& name) {
    pending_.push_back(name);
    while (!pending_.empty()) {
      const auto next = std::move(pending_.back());
      pending_.pop_back();
      if (auto done = remove_entry(parent_, next, 0); !done) return done;
    }
    return {};
  }

private:
  static constexpr int max_open_levels = 64;

  result<void> remove_entry(int directory, const std::string& name, int level) {
    if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return {};
    if (errno != EISDIR && errno != EPERM) return disk_error(errno, name, "cannot be removed");
    if (level >= max_open_levels) {
      auto moved = ".removing-" + random_hex(8);
      if (::renameat(directory, name.c_str(), parent_, moved.c_str()) != 0)
        return disk_error(errno, name, "cannot be moved to be removed");
      pending_.push_back(std::move(moved));
      return {};
    }
    if (auto done = remove_children(directory, name, level); !done) return done;
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      return disk_error(errno, name, "cannot be removed");
    return {};
  }

  result<void> remove_children(int directory, const std::string& name, int level) {
    const descriptor child(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child && errno == ENOENT) return {};
    if (!child) return disk_error(errno, name, "cannot be opened to be removed");
    auto names = list_directory(child.get(), name);
    if (!names) return names.error();
    for (const auto& each : *names)
      if (auto done = remove_entry(child.get(), each, level + 1); !done) return done;
    return {};
  }

  int parent_;
  std::vector<std::string> pending_;
};

} // namespace

void closing_batch::add(descriptor fd) noexcept {
  if (!fd) return;
  if (count_ == capacity) close_all();
  waiting_[count_++] = fd.release();
}

void closing_batch::close_all() noexcept {
  std::sort(waiting_.data(), waiting_.data() + count_);
  for (std::size_t first = 0; first < count_;) {
    // Other threads open descriptors in between: only numbers that were given to this batch may lie in a range.
    auto last = first;
    while (last + 1 < count_ && waiting_[last + 1] == waiting_[last] + 1)
      ++last;
    if (::close_range(static_cast<unsigned>(waiting_[first]), static_cast<unsigned>(waiting_[last]), 0) != 0)
      for (auto i = first; i <= last; ++i)
        ::close(waiting_[i]);
    first = last + 1;
  }
  count_ = 0;
}

error disk_error(int errno_value, std::string path, std::string_view what) {
  const auto reason = std::generic_category().message(errno_value);
  if (errno_value == ENAMETOOLONG || errno_value == EILSEQ)
    return {error_code::invalid_argument, std::move(path), fmt::format("{}: {}", what, reason)};
  const auto* remedy = errno_value == ENOSPC || errno_value == EDQUOT   ? "; free space or raise the quota"
                       : errno_value == EROFS                           ? "; the workspace must be writable"
                       : errno_value == EMFILE || errno_value == ENFILE ? "; raise the limit of open files"
                                                                        : "";
  return {error_code::disk, std::move(path), fmt::format("{}: {}{}", what, reason, remedy)};
}

result<descriptor> open_directory(int parent, const char* name, std::string_view path_for_errors) {
  descriptor fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd) return fd;
  if (errno == ELOOP || errno == ENOTDIR)
    return error{error_code::invalid_argument, std::string(path_for_errors),
                 "is a symbolic link or no directory; nothing is written through it"};
  return disk_error(errno, std::string(path_for_errors), "cannot be opened");
}

result<std::string> read_small_file(int directory, const char* name, std::size_t limit_bytes) {
  // O_NONBLOCK: a FIFO of that name must not hold the thread.
  const descriptor fd(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return error{error_code::not_found, name, "does not exist"};
    return disk_error(errno, name, "cannot be opened");
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return disk_error(errno, name, "cannot be examined");
  if (!S_ISREG(st.st_mode)) return error{error_code::corrupt, name, "is not a regular file"};
  if (static_cast<std::size_t>(st.st_size) > limit_bytes)
    return error{error_code::too_large, name, fmt::format("is larger than {} bytes", limit_bytes)};
  std::string content(static_cast<std::size_t>(st.st_size), '\0');
  std::size_t got = 0;
  while (got < content.size()) {
    const auto n = ::read(fd.get(), content.data() + got, content.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error(errno, name, "cannot be read");
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  content.resize(got);
  return content;
}

int write_all(int fd, std::string_view content) noexcept {
  while (!content.empty()) {
    const auto n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

result<void> create_file(int directory, const char* name, std::string_view content) {
  descriptor fd(::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return disk_error(errno, name, "cannot be created");
  if (const int failed = fault_point("file-created"); failed != 0) return disk_error(failed, name, "cannot be written");
  if (const auto failed = write_all(fd.get(), content); failed != 0)
    return disk_error(failed, name, "cannot be written");
  return {};
}

result<void> replace_file(int directory, const std::string& name, std::string_view content) {
  const auto lock = name + ".lock";
  descriptor fd(::openat(directory, lock.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return disk_error(errno, lock, "cannot be created");
  auto failed = write_all(fd.get(), content);
  if (failed == 0) failed = fault_point("file-replaced");
  if (failed == 0 && ::renameat(directory, lock.c_str(), directory, name.c_str()) != 0) failed = errno;
  if (failed == 0) return {};
  ::unlinkat(directory, lock.c_str(), 0);
  return disk_error(failed, name, "cannot be replaced");
}

int rename_new(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  if (::renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // A file system without the flag (some overlays, NFS): the look before the rename leaves a gap that only another job
  // of the same worktree could fall into, and there is only one.
  struct stat st {};
  if (::fstatat(to_directory, to, &st, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
  return ::renameat(from_directory, from, to_directory, to) == 0 ? 0 : errno;
}

result<void> remove_recursively(int directory, const std::string& name) {
  return tree_removal(directory).run(name);
}

result<std::vector<std::string>> list_directory(int directory, std::string_view path_for_errors) {
  // A descriptor of its own: readdir moves the offset that duplicates share.
  descriptor own(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) return disk_error(errno, std::string(path_for_errors), "cannot be opened");
  const std::unique_ptr<DIR, close_dir> stream(::fdopendir(own.get()));
  if (!stream) return disk_error(errno, std::string(path_for_errors), "cannot be read");
  own.release(); // closedir closes it
  std::vector<std::string> names;
  errno = 0;
  while (const auto* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return disk_error(errno, std::string(path_for_errors), "cannot be read");
  return names;
}

} // namespace townkeeper::git
