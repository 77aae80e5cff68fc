#include "process/child_start.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <system_error>

namespace townkeeper {
namespace {

constexpr int exit_not_started = 127; // as shells have it; nobody sees it, the failure itself is told
constexpr int control_fd = 3;         // of the child, until exec closes it
constexpr int first_free_fd = 10;     // above all that the child dups onto

/// Pointers and numbers only: all the child touches.
struct child_plan {
  char* const* arguments;
  char* const* environment;
  const std::vector<std::string>* candidates;
  int directory, null_input, output, control;
  pid_t parent;
};

[[noreturn]] void give_up(child_failure::step at, int number, int refused = -1) noexcept {
  const child_failure failure{at, number, refused};
  // A parent that is gone needs no word.
  [[maybe_unused]] const auto written = ::write(control_fd, &failure, sizeof failure);
  ::_exit(exit_not_started);
}

/// Which errno makes execvp(3) go on to the next directory of PATH.
bool means_not_here(int number) noexcept {
  return number == ENOENT || number == ENOTDIR || number == EACCES || number == ESTALE || number == ENODEV ||
         number == ETIMEDOUT;
}

/// Runs in the child of a threaded process: async-signal-safe calls only (signal-safety(7)), no allocation.
[[noreturn]] void run_child(const child_plan& plan) noexcept {
  // All signals are blocked here, so that no handler of the daemon runs in this process before it is reset.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  for (int signal = 1; signal <= SIGRTMAX; ++signal)
    ::sigaction(signal, &by_default, nullptr); // those that cannot be set need not be
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != plan.parent) ::_exit(exit_not_started); // it died before the line above

  // ::dup2 clears close-on-exec on the new number.
  const bool placed = ::dup2(plan.null_input, STDIN_FILENO) >= 0 && ::dup2(plan.output, STDOUT_FILENO) >= 0 &&
                      ::dup2(plan.output, STDERR_FILENO) >= 0 && ::dup3(plan.control, control_fd, O_CLOEXEC) >= 0;
  if (!placed) ::_exit(exit_not_started);
  if (::fchdir(plan.directory) != 0) give_up(child_failure::step::directory, errno);
  if (::close_range(control_fd + 1, UINT_MAX, 0) != 0) give_up(child_failure::step::descriptors, errno);

  char go = 0;
  while (::read(control_fd, &go, 1) != 1)
    if (errno != EINTR) ::_exit(exit_not_started);

  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  int number = ENOENT, refused = -1;
  for (std::size_t i = 0; i < plan.candidates->size(); ++i) {
    ::execve((*plan.candidates)[i].c_str(), plan.arguments, plan.environment);
    if (!means_not_here(errno)) give_up(child_failure::step::program, errno, static_cast<int>(i));
    if (errno != EACCES) continue;
    number = EACCES;
    refused = static_cast<int>(i);
  }
  give_up(child_failure::step::program, number, refused);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const auto& s : strings)
    out.push_back(const_cast<char*>(s.c_str())); // NOLINT(cppcoreguidelines-pro-type-const-cast): execve's signature
  out.push_back(nullptr);
  return out;
}

error invalid(std::string object, std::string message) {
  return {error_code::invalid_argument, std::move(object), std::move(message)};
}

error exhausted(int number, std::string_view what) {
  return {error_code::unavailable, "agent process",
          fmt::format("{}: {}; raise the limit of processes (pids.max, ulimit -u), open files (ulimit -n) or memory",
                      what, std::generic_category().message(number))};
}

std::vector<std::string> candidates_of(const process_launch& launch) {
  const auto& program = launch.argv.front();
  if (program.find('/') != std::string::npos) return {program};
  const auto found = launch.environment.find("PATH");
  const std::string path = found == launch.environment.end() ? "/bin:/usr/bin" : found->second; // execvp(3)'s default
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= path.size();) {
    const auto end = std::min(path.find(':', at), path.size());
    const auto directory = path.substr(at, end - at);
    out.push_back(directory.empty() ? "./" + program : directory + "/" + program); // an empty entry is the directory
    at = end + 1;
  }
  return out;
}

/// One whose number is above all that the child dups onto: the daemon may have been started without its first three.
git::descriptor lifted(git::descriptor fd) {
  if (fd.get() >= first_free_fd || !fd) return fd;
  return git::descriptor(::fcntl(fd.get(), F_DUPFD_CLOEXEC, first_free_fd));
}

} // namespace

result<child_program> prepare_program(const process_launch& launch) {
  const auto has_nul = [](const std::string& s) { return s.find('\0') != std::string::npos; };
  if (launch.argv.empty() || launch.argv.front().empty())
    return invalid(launch.agent_id, "no program is named; set agents.command");
  if (std::any_of(launch.argv.begin(), launch.argv.end(), has_nul))
    return invalid(launch.argv.front(), "an argument holds a NUL byte");
  if (!launch.directory.is_absolute()) return invalid(launch.directory.string(), "the worktree's path is not absolute");
  if (!launch.log.is_absolute()) return invalid(launch.log.string(), "the log's path is not absolute");
  for (const auto& file : launch.files)
    if (!file.first.is_absolute()) return invalid(file.first.string(), "the file's path is not absolute");
  child_program out;
  out.arguments = launch.argv;
  for (const auto& [name, value] : launch.environment) {
    if (name.empty() || name.find('=') != std::string::npos || has_nul(name) || has_nul(value))
      return invalid(name, "cannot be an environment variable");
    out.environment.push_back(name + "=" + value);
  }
  out.candidates = candidates_of(launch);
  return out;
}

result<git::descriptor> open_worktree(const std::filesystem::path& directory) {
  git::descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd) return fd;
  if (errno == ENOENT)
    return error{error_code::not_found, directory.string(),
                 "the agent's worktree does not exist; it is started again once the worktree is restored"};
  if (errno == ELOOP || errno == ENOTDIR)
    return error{error_code::invalid_argument, directory.string(),
                 "is a symbolic link or no directory; no agent is started in it"};
  return git::disk_error(errno, directory.string(), "cannot be opened");
}

result<forked_child> fork_child(const child_program& program, int directory, int output) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return exhausted(errno, "the control socket cannot be made");
  git::descriptor ours(ends[0]);
  const auto theirs = lifted(git::descriptor(ends[1]));
  const auto null_input = lifted(git::descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  const auto where = lifted(git::descriptor(::fcntl(directory, F_DUPFD_CLOEXEC, first_free_fd)));
  const auto log = lifted(git::descriptor(::fcntl(output, F_DUPFD_CLOEXEC, first_free_fd)));
  if (!theirs || !null_input || !where || !log) return exhausted(errno, "/dev/null or a descriptor cannot be had");
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);

  const auto arguments = pointers(program.arguments), environment = pointers(program.environment);
  const child_plan plan{arguments.data(), environment.data(), &program.candidates, where.get(),
                        null_input.get(), log.get(),          theirs.get(),        ::getpid()};
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const auto pid = ::fork();
  if (pid == 0) run_child(plan);
  const int failed = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return exhausted(failed, "no process can be made");
  return forked_child{pid, std::move(ours)};
}

void release_child(const forked_child& child) noexcept {
  // A child that is dead already is seen by its exit; MSG_NOSIGNAL keeps SIGPIPE from the daemon.
  [[maybe_unused]] const auto sent = ::send(child.control.get(), "g", 1, MSG_NOSIGNAL);
}

error explain(const child_failure& failure, const child_program& program, const process_launch& launch) {
  const auto reason = std::generic_category().message(failure.number);
  if (failure.at == child_failure::step::directory)
    return git::disk_error(failure.number, launch.directory.string(), "cannot be the process's directory");
  if (failure.at == child_failure::step::descriptors)
    return {error_code::unsupported, "agent process",
            fmt::format("the descriptors of the daemon cannot be closed: {}; Linux 5.9 or newer is needed", reason)};

  const auto& name = launch.argv.front();
  const auto& refused = failure.refused >= 0 ? program.candidates[static_cast<std::size_t>(failure.refused)] : name;
  const bool looked_up = name.find('/') == std::string::npos;
  const auto exists = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  switch (failure.number) {
  case ENOENT:
  case ENOTDIR:
    if (looked_up && std::none_of(program.candidates.begin(), program.candidates.end(), exists)) {
      const auto path = launch.environment.find("PATH");
      return {error_code::invalid_config, name,
              fmt::format("no such program in the agent's PATH ({}); install it in the image or correct agents.command",
                          path == launch.environment.end() ? "/bin:/usr/bin" : path->second)};
    }
    return {error_code::invalid_config, name,
            "the program, or the interpreter its first line names, does not exist; install it in the image or correct "
            "agents.command"};
  case EACCES:
  case EPERM:
    return {error_code::invalid_config, refused,
            fmt::format("may not be executed ({}); make it an executable file (chmod +x, no noexec mount) or correct "
                        "agents.command",
                        reason)};
  case ENOEXEC:
    return {error_code::invalid_config, refused,
            "is nothing the kernel can run; a script needs a #! line, a binary the machine's architecture"};
  case E2BIG:
    return {error_code::too_large, refused,
            "the arguments and the environment are more than the kernel takes; let agents.command name {promptFile} "
            "and {systemPromptFile} instead of holding the text"};
  case EAGAIN:
  case ENOMEM:
  case ENFILE:
  case EMFILE:
  case ETXTBSY:
    return {error_code::unavailable, refused, fmt::format("cannot be executed now: {}", reason)};
  default:
    return {error_code::invalid_config, refused, fmt::format("cannot be executed: {}; correct agents.command", reason)};
  }
}

} // namespace townkeeper
