#include "process/process_table.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

#include "git/descriptor.hpp"

namespace townkeeper {
namespace {

/// Files of proc have no size: read until the end or the limit. Nothing where it cannot be read to its end.
std::optional<std::string> read_proc_file(const std::string& path, std::size_t limit_bytes) {
  const git::descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  std::array<char, 4096> chunk; // NOLINT(cppcoreguidelines-pro-type-member-init): read() fills it
  while (text.size() <= limit_bytes) {
    const auto n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return std::nullopt;
}

template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number out{};
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

struct close_directory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

} // namespace

std::optional<process_entry> parse_process_stat(std::string_view text) {
  // "pid (name) state ppid …": the name may hold anything, also spaces and parentheses, so that its end is the last
  // one.
  const auto open = text.find(" (");
  const auto close = text.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  constexpr std::size_t first = 3, last = 22; // numbers of the fields as proc(5) counts them
  std::array<std::string_view, last + 1> field;
  auto rest = text.substr(close + 2);
  for (auto i = first; i <= last; ++i) {
    const auto end = rest.find_first_of(" \n");
    if (end == std::string_view::npos) return std::nullopt;
    field[i] = rest.substr(0, end);
    rest.remove_prefix(end + 1);
  }
  const auto pid = number_in<int>(text.substr(0, open)), parent = number_in<int>(field[4]),
             group = number_in<int>(field[5]), session = number_in<int>(field[6]), threads = number_in<int>(field[20]);
  const auto start_time = number_in<std::uint64_t>(field[22]);
  if (!pid || !parent || !group || !session || !threads || !start_time || field[3].size() != 1) return std::nullopt;
  return process_entry{*pid, *parent, *group, *session, field[3].front(), *threads, *start_time};
}

std::optional<process_entry> read_process(int pid) {
  constexpr std::size_t longest = 4096;
  const auto text = read_proc_file(fmt::format("/proc/{}/stat", pid), longest);
  return text ? parse_process_stat(*text) : std::nullopt;
}

std::vector<process_entry> read_processes() {
  std::vector<process_entry> out;
  const std::unique_ptr<DIR, close_directory> directory(::opendir("/proc"));
  if (!directory) return out;
  while (const auto* entry = ::readdir(directory.get()))
    if (const auto pid = number_in<int>(entry->d_name))
      if (const auto process = read_process(*pid)) out.push_back(*process);
  return out;
}

std::vector<process_entry> living_in_session(const std::vector<process_entry>& processes, int session) {
  std::vector<process_entry> out;
  for (const auto& process : processes)
    if (process.session == session && process.pid != session && process.lives()) out.push_back(process);
  return out;
}

bool signal_process(const process_entry& to, int signal) {
  // The descriptor first, the look second: if the pid changed hands before the descriptor was taken, the look shows it;
  // if it does so later, the signal goes to the dead process.
  const git::descriptor fd(open_pidfd(to.pid));
  if (!fd) return false;
  const auto now = read_process(to.pid);
  if (!now || now->start_time != to.start_time || now->session != to.session) return false;
  return ::syscall(SYS_pidfd_send_signal, fd.get(), signal, nullptr, 0U) == 0;
}

bool has_environment_entry(int pid, std::string_view entry) {
  constexpr std::size_t longest = std::size_t{4} << 20; // beyond what execve(2) takes with the usual stack limit
  const auto environment = read_proc_file(fmt::format("/proc/{}/environ", pid), longest);
  if (!environment) return false;
  for (std::string_view rest = *environment; !rest.empty();) {
    const auto end = rest.find('\0');
    if (rest.substr(0, end) == entry) return true;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return false;
}

std::string boot_id() {
  constexpr std::size_t longest = 128;
  auto text = read_proc_file("/proc/sys/kernel/random/boot_id", longest).value_or("");
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

std::string pid_namespace() {
  std::array<char, 128> name{};
  const auto n = ::readlink("/proc/self/ns/pid", name.data(), name.size());
  return n > 0 ? std::string(name.data(), static_cast<std::size_t>(n)) : std::string();
}

int open_pidfd(int pid) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U));
}

} // namespace townkeeper
