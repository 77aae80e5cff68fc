#include "process/rotated_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/fault_point.hpp"
#include "process/private_files.hpp"

namespace townkeeper {

result<rotated_log> rotated_log::open(const std::filesystem::path& log, std::uint64_t max_bytes, std::uint32_t files) {
  if (auto made = make_private_directory(log.parent_path()); !made) return made.error();
  rotated_log out;
  out.directory_.reset(::open(log.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out.directory_) return git::disk_error(errno, log.parent_path().string(), "cannot be opened");
  out.name_ = log.filename().string();
  out.max_bytes_ = max_bytes;
  out.files_ = files;
  if (const int failed = out.open_current(); failed != 0) {
    if (failed == ELOOP || failed == EEXIST)
      return error{error_code::invalid_argument, log.string(), "is a symbolic link or no regular file; move it away"};
    return git::disk_error(failed, log.string(), "cannot be opened for the process's output");
  }
  for (auto n = files; ::unlinkat(out.directory_.get(), out.numbered(n).c_str(), 0) == 0; ++n) {
  }
  return out;
}

int rotated_log::append(std::string_view output) {
  while (!output.empty()) {
    if (!current_)
      if (const int failed = open_current(); failed != 0) return failed;
    const auto room = max_bytes_ - std::min(max_bytes_, size_bytes_);
    auto piece = output.substr(0, room);
    if (piece.size() < output.size()) {
      // It does not fit as a whole: as many whole lines as fit; a line that is itself longer than a file is cut.
      const auto line_end = piece.rfind('\n');
      if (line_end != std::string_view::npos)
        piece = piece.substr(0, line_end + 1);
      else if (size_bytes_ > 0)
        piece = {};
    }
    if (piece.empty()) {
      if (const int failed = rotate(); failed != 0) return failed;
      continue;
    }
    if (const int failed = git::write_all(current_.get(), piece); failed != 0) {
      current_.reset(); // how much of it was written is read from the file again
      return failed;
    }
    size_bytes_ += piece.size();
    output.remove_prefix(piece.size());
  }
  return 0;
}

int rotated_log::open_current() {
  git::descriptor fd(::openat(directory_.get(), name_.c_str(),
                              O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  struct stat there {};
  if (!fd || ::fstat(fd.get(), &there) != 0) return errno;
  if (!S_ISREG(there.st_mode)) return EEXIST;
  if (::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) return errno;
  size_bytes_ = static_cast<std::uint64_t>(there.st_size);
  current_ = std::move(fd);
  return 0;
}

int rotated_log::rotate() {
  if (const int failed = fault_point("agent-log-rotated"); failed != 0) return failed;
  for (auto n = files_ - 1; n > 0; --n)
    if (::renameat(directory_.get(), numbered(n - 1).c_str(), directory_.get(), numbered(n).c_str()) != 0 &&
        errno != ENOENT)
      return errno;
  if (files_ == 1 && ::unlinkat(directory_.get(), name_.c_str(), 0) != 0 && errno != ENOENT) return errno;
  current_.reset();
  return open_current();
}

std::string rotated_log::numbered(std::uint32_t n) const {
  return n == 0 ? name_ : name_ + "." + std::to_string(n);
}

} // namespace townkeeper
