#include "cli/workspace.hpp"

#include <fcntl.h>
#include <rapidjson/document.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "actors/agent_socket.hpp"
#include "core/bounded_json.hpp"
#include "core/fault_point.hpp"
#include "town/json_writer.hpp"

namespace townkeeper::cli {
namespace {

error disk_error(const std::filesystem::path& at, std::string what) {
  return {error_code::disk, at.string(), std::move(what) + ": " + std::generic_category().message(errno)};
}

/// A directory of ours, of mode 0700; a link in its place could send what we write anywhere.
result<void> make_private_directory(const std::filesystem::path& at) {
  if (::mkdir(at.c_str(), S_IRWXU) != 0 && errno != EEXIST) return disk_error(at, "cannot be made");
  struct stat found {};
  if (::lstat(at.c_str(), &found) != 0) return disk_error(at, "cannot be looked at");
  if (!S_ISDIR(found.st_mode)) return error{error_code::disk, at.string(), "is no directory (a link is not followed)"};
  if (::chmod(at.c_str(), S_IRWXU) != 0) return disk_error(at, "its mode cannot be set");
  return {};
}

result<std::string> read_small_file(const std::filesystem::path& file) {
  constexpr std::size_t most = 64 * 1024;
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return disk_error(file, "cannot be read");
  std::string text(most, '\0');
  const auto got = ::read(fd, text.data(), text.size());
  ::close(fd);
  if (got < 0) return disk_error(file, "cannot be read");
  text.resize(static_cast<std::size_t>(got));
  return text;
}

} // namespace

// -- owned_workspace --------------------------------------------------------------------------------------------------

owned_workspace::owned_workspace(workspace_layout layout, int lock)
    : layout_(std::move(layout))
    , lock_(lock) {
  std::error_code ignored;
  warm_ = std::filesystem::directory_iterator(layout_.rigs(), ignored) != std::filesystem::directory_iterator{};
}

owned_workspace::owned_workspace(owned_workspace&& other) noexcept
    : layout_(std::move(other.layout_))
    , lock_(std::exchange(other.lock_, -1))
    , warm_(other.warm_) {}

owned_workspace::~owned_workspace() {
  if (lock_ >= 0) ::close(lock_);
}

result<owned_workspace> owned_workspace::take(const std::filesystem::path& root) {
  workspace_layout layout{root};
  std::error_code failed;
  std::filesystem::create_directories(layout.rigs(), failed);
  if (failed) return error{error_code::disk, layout.rigs().string(), "cannot be made: " + failed.message()};
  if (auto made = make_private_directory(layout.own()); !made) return made.error();
  const int lock = ::open(layout.lock_file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (lock < 0) return disk_error(layout.lock_file(), "cannot be opened");
  owned_workspace mine(layout, lock);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return disk_error(layout.lock_file(), "cannot be locked");
    const auto other = read_control_file(layout.control_file());
    return error{error_code::disk, root.string(),
                 "another townkeeper has this workspace" +
                     (other ? " (pid " + std::to_string(other->pid) + ", " + other->url + ")" : std::string{}) +
                     ": stop that one, or give this one a workspace of its own"};
  }
  for (const auto& each : {layout.agents(), layout.processes(), layout.commands(), layout.sockets()})
    if (auto made = make_private_directory(each); !made) return made.error();
  return mine;
}

// -- control.json -----------------------------------------------------------------------------------------------------

result<void> write_control_file(const std::filesystem::path& file, const control_address& address) {
  town::json_writer out;
  out.begin_object();
  out.member("pid", address.pid);
  out.member("url", address.url);
  out.end_object();
  const auto text = out.text() + "\n";
  const auto fresh = std::filesystem::path(file).concat(".new");
  ::unlink(fresh.c_str());
  if (const int failed = fault_point("control-file-written"); failed != 0) {
    errno = failed;
    return disk_error(file, "cannot be written");
  }
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0) return disk_error(fresh, "cannot be made");
  const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int why = errno;
  ::close(fd);
  errno = why;
  if (!whole || ::rename(fresh.c_str(), file.c_str()) != 0) return disk_error(file, "cannot be written");
  return {};
}

result<control_address> read_control_file(const std::filesystem::path& file) {
  const auto none = [&](std::string why) {
    return error{error_code::unavailable, file.string(), std::move(why) + ": no daemon can be found by it"};
  };
  const auto text = read_small_file(file);
  if (!text) return none(text.error().message);
  rapidjson::Document document;
  if (parse_bounded(*text, document) || !document.IsObject()) return none("is no JSON object");
  const auto& read = document; // clang: its other iterators compare ambiguously in C++20
  const auto pid = read.FindMember("pid");
  const auto url = read.FindMember("url");
  if (pid == read.MemberEnd() || !pid->value.IsInt() || url == read.MemberEnd() || !url->value.IsString())
    return none("holds no pid and url");
  return control_address{pid->value.GetInt(), {url->value.GetString(), url->value.GetStringLength()}};
}

// -- links and sockets ------------------------------------------------------------------------------------------------

result<void> link_commands(const std::filesystem::path& directory, const std::filesystem::path& executable) {
  constexpr std::array names{"townkeeper", "gt_checkpoint", "gt_prime", "gt_done", "gt_status"};
  for (const auto* name : names) {
    const auto link = directory / name;
    const auto fresh = directory / (std::string(".") + name);
    ::unlink(fresh.c_str());
    if (const int failed = fault_point("command-linked"); failed != 0) {
      errno = failed;
      return disk_error(link, "cannot be made");
    }
    if (::symlink(executable.c_str(), fresh.c_str()) != 0 || ::rename(fresh.c_str(), link.c_str()) != 0)
      return disk_error(link, "cannot be made");
  }
  return {};
}

result<std::filesystem::path> make_socket_directory(const std::filesystem::path& preferred) {
  if (agent_socket_fits(preferred)) return preferred;
  for (std::string pattern : {"/run/townkeeper-XXXXXX", "/tmp/townkeeper-XXXXXX"})
    if (::mkdtemp(pattern.data()) != nullptr) return std::filesystem::path(pattern);
  return disk_error(preferred, "is too long a path for sockets, and none can be made below /run or /tmp");
}

} // namespace townkeeper::cli
