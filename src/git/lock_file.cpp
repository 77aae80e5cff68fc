#include "git/lock_file.hpp"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <climits>
#include <optional>
#include <string>

#include "git/descriptor.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

std::string link_target(const fs::path& link) {
  std::array<char, PATH_MAX> target{};
  const auto n = ::readlink(link.c_str(), target.data(), target.size());
  return n > 0 ? std::string(target.data(), static_cast<std::size_t>(n)) : std::string();
}

bool lies_in(const std::string& path, const std::string& directory) {
  return path == directory ||
         (path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/');
}

bool has_open(const fs::path& process, const std::string& file) {
  std::error_code ignored;
  for (const auto& fd : fs::directory_iterator(process / "fd", ignored))
    if (link_target(fd.path()) == file) return true;
  return false;
}

bool is_git(const fs::path& process) {
  return fs::path(link_target(process / "exe")).filename().native().starts_with("git");
}

std::optional<std::string> possible_owner(const std::string& lock, const std::string& directory, lock_scope scope) {
  const auto self = std::to_string(::getpid());
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const auto pid = entry.path().filename().native();
    if (!std::all_of(pid.begin(), pid.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) continue;
    // This process has one job for a worktree at a time, and that job is the caller.
    if (scope == lock_scope::worktree && pid == self) continue;
    if (has_open(entry.path(), lock)) return pid;
    if (scope == lock_scope::repository && !is_git(entry.path())) continue;
    if (lies_in(link_target(entry.path() / "cwd"), directory)) return pid;
  }
  return std::nullopt;
}

} // namespace

result<bool> remove_dead_lock(const fs::path& lock, const fs::path& directory, lock_scope scope) {
  struct stat st {};
  if (::lstat(lock.c_str(), &st) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return disk_error(errno, lock.native(), "cannot be examined");
  }
  if (const auto pid = possible_owner(lock.native(), directory.native(), scope))
    return error{error_code::conflict, lock.native(),
                 fmt::format("process {} may hold this lock; end it or wait for it", *pid)};
  if (::unlink(lock.c_str()) != 0 && errno != ENOENT) return disk_error(errno, lock.native(), "cannot be removed");
  return true;
}

} // namespace townkeeper::git
