#include "git/repository_layout.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "core/fault_point.hpp"
#include "core/ids.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view usual_name = "repo.git";
constexpr std::string_view url_note = "townkeeper/url";
constexpr std::size_t hash_bytes_in_name = 8;

/// Start time of a process in clock ticks since boot, or nothing when there is no such process.
std::optional<unsigned long long> start_time(long pid) {
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid));
  auto at = stat.rfind(')'); // the command before it may hold spaces and brackets
  if (at == std::string::npos) return std::nullopt;
  constexpr int fields_to_skip = 20; // from field 3 (state) to field 22
  for (int i = 0; i < fields_to_skip && at != std::string::npos; ++i)
    at = stat.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  unsigned long long ticks = 0;
  std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), ticks);
  return ticks;
}

/// The nth part of `name` from its end, split at `-`, as a number.
std::optional<unsigned long long> number_from_end(std::string_view name, int nth) {
  for (int i = 0; i < nth; ++i) {
    const auto dash = name.rfind('-');
    if (dash == std::string_view::npos) return std::nullopt;
    name = name.substr(0, dash);
  }
  const auto part = name.substr(name.rfind('-') + 1);
  unsigned long long value = 0;
  const auto [end, failed] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (failed != std::errc{} || end != part.data() + part.size()) return std::nullopt;
  return value;
}

std::string hash_of(const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_sha256(), nullptr);
  std::string out;
  for (std::size_t i = 0; i < hash_bytes_in_name; ++i)
    out += fmt::format("{:02x}", digest[i]);
  return out;
}

/// A value in git's configuration syntax (git-config(1), "Syntax").
std::string config_quoted(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

} // namespace

error disk_error(const fs::path& path, std::string_view doing, int number) {
  return {error_code::disk, path.string(), fmt::format("{}: {}", doing, std::strerror(number))};
}

std::string temporary_name(std::string_view prefix) {
  constexpr std::size_t random_bytes = 4;
  const auto pid = static_cast<long>(::getpid());
  return fmt::format("{}-{}-{}-{}", prefix, pid, start_time(pid).value_or(0), random_hex(random_bytes));
}

bool is_left_behind(std::string_view name) {
  const auto ticks = number_from_end(name, 1);
  const auto pid = number_from_end(name, 2);
  if (!ticks || !pid) return false;
  return start_time(static_cast<long>(*pid)) != ticks;
}

int remove_left_behind(const fs::path& directory) {
  int removed = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const auto name = entry.path().filename().string();
    const bool ours =
        name.starts_with(".new-") || name.starts_with("tmp_objdir-townkeeper-") || name.starts_with(".tmp-tk-");
    if (ours && is_left_behind(name) && fs::remove_all(entry.path(), ignored) > 0) ++removed;
  }
  return removed;
}

result<rig_lock> rig_lock::take(const fs::path& directory, const std::string& rig_id) {
  if (!directory.is_absolute()) return error{error_code::invalid_argument, directory.string(), "not an absolute path"};
  if (const auto made = make_directories(directory); !made) return made.error();
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
    return error{error_code::invalid_argument, directory.string(), "a rig's directory must be a directory, not a link"};
  if (fd < 0) return disk_error(directory, "cannot open", errno);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int number = errno;
    ::close(fd);
    if (number == EWOULDBLOCK)
      return error{error_code::unavailable, rig_id, "another job still works on this repository"};
    return disk_error(directory, "cannot lock", number);
  }
  return rig_lock(fd);
}

rig_lock::rig_lock(rig_lock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

rig_lock::~rig_lock() {
  if (fd_ >= 0) ::close(fd_);
}

std::string recorded_url(const fs::path& repository) {
  auto text = read_file(repository / url_note);
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

result<fs::path> repository_path(const fs::path& rig, const std::string& url) {
  std::error_code ignored;
  const auto usual = rig / usual_name;
  const auto other = rig / fmt::format("repo-{}.git", hash_of(url));
  for (const auto& path : {usual, other})
    if (fs::is_symlink(fs::symlink_status(path, ignored)))
      return error{error_code::invalid_argument, path.string(),
                   "a symbolic link in the place of a repository: remove it"};
  if (fs::exists(other, ignored)) return other;
  // Without a note (it was lost) the usual one is taken for ours: its objects are checked against the remote in any
  // case.
  if (const auto noted = recorded_url(usual); !noted.empty() && noted != url) return other;
  return usual;
}

std::optional<fs::path> repository_of_warm_worktree(const fs::path& worktree, const std::string& url) {
  const auto repository = repository_path(worktree.parent_path().parent_path(), url);
  std::error_code ignored;
  const auto is_there = [&](const fs::path& path) { return fs::is_directory(fs::symlink_status(path, ignored)); };
  if (!repository || !is_there(worktree) || !is_there(*repository / "worktrees" / worktree.filename()))
    return std::nullopt;
  return *repository;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

result<void> write_file(const fs::path& path, std::string_view content) {
  const auto temporary = path.parent_path() / temporary_name(".tmp-tk");
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return disk_error(path, "cannot write", errno);
  int failed = 0;
  for (std::size_t done = 0; done < content.size() && failed == 0;) {
    const auto written = ::write(fd, content.data() + done, content.size() - done);
    if (written > 0)
      done += static_cast<std::size_t>(written);
    else if (written == 0 || errno != EINTR)
      failed = written == 0 ? ENOSPC : errno;
  }
  if (::close(fd) != 0 && failed == 0) failed = errno;
  if (failed == 0) failed = fault_point("file-renamed");
  if (failed == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) failed = errno;
  if (failed == 0) return {};
  ::unlink(temporary.c_str());
  return disk_error(path, "cannot write", failed);
}

result<void> make_directories(const fs::path& path) {
  std::error_code failure;
  fs::create_directories(path, failure);
  if (failure) return disk_error(path, "cannot make the directory", failure.value());
  return {};
}

std::string fresh_config(const std::string& url, const std::vector<std::string>& branches) {
  std::string text = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
                     "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[push]\n\tautoSetupRemote = true\n";
  text += "[remote \"origin\"]\n\turl = " + config_quoted(url) + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n";
  for (const auto& branch : branches)
    text += "[branch " + config_quoted(branch) +
            "]\n\tremote = origin\n\tmerge = " + config_quoted("refs/heads/" + branch) + "\n";
  return text;
}

result<void> make_skeleton(const fs::path& path, const std::string& url, const std::string& default_branch,
                           const std::vector<std::string>& branches) {
  for (const char* part : {"objects/pack", "objects/info", "refs/heads", "refs/tags", "townkeeper"})
    if (const auto made = make_directories(path / part); !made) return made;
  if (const int failed = fault_point("repository-config-written"); failed != 0)
    return disk_error(path / "config", "cannot write", failed);
  if (const auto written = write_file(path / "config", fresh_config(url, branches)); !written) return written;
  if (const int failed = fault_point("repository-head-written"); failed != 0)
    return disk_error(path / "HEAD", "cannot write", failed);
  if (const auto written = write_file(path / "HEAD", "ref: refs/heads/" + default_branch + "\n"); !written)
    return written;
  return write_file(path / url_note, url + "\n");
}

result<bool> publish(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EEXIST) return false;
  // A file system without the flag: rename(2) itself never replaces a directory that has something in it.
  if (errno == EINVAL && ::rename(from.c_str(), to.c_str()) == 0) return true;
  if (errno == ENOTEMPTY || errno == EEXIST) return false;
  return disk_error(to, "cannot publish the repository", errno);
}

temporary_directory::~temporary_directory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

} // namespace townkeeper::git
