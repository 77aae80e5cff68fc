#include "process/private_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/fault_point.hpp"
#include "core/ids.hpp"
#include "git/descriptor.hpp"

namespace townkeeper {

result<void> make_private_directory(const std::filesystem::path& directory) {
  if (::mkdir(directory.c_str(), S_IRWXU) == 0) return {};
  if (errno == ENOENT && directory.has_parent_path() && directory.parent_path() != directory) {
    if (auto made = make_private_directory(directory.parent_path()); !made) return made;
    if (::mkdir(directory.c_str(), S_IRWXU) == 0) return {};
  }
  const int failed = errno;
  struct stat there {};
  if (failed == EEXIST && ::stat(directory.c_str(), &there) == 0) {
    if (S_ISDIR(there.st_mode)) return {};
    return error{error_code::invalid_argument, directory.string(), "is no directory; move it away"};
  }
  return git::disk_error(failed, directory.string(), "cannot be made");
}

result<void> write_private_file(const std::filesystem::path& file, std::string_view content) {
  if (auto made = make_private_directory(file.parent_path()); !made) return made;
  constexpr std::size_t random_bytes = 8;
  const auto temporary = file.parent_path() / ("." + file.filename().string() + "." + random_hex(random_bytes));
  const git::descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return git::disk_error(errno, temporary.string(), "cannot be created");
  int failed = git::write_all(fd.get(), content);
  if (failed == 0) failed = fault_point("private-file-renamed");
  if (failed == 0 && ::rename(temporary.c_str(), file.c_str()) != 0) failed = errno;
  if (failed == 0) return {};
  ::unlink(temporary.c_str());
  return git::disk_error(failed, file.string(), "cannot be written");
}

} // namespace townkeeper
