#include "child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string_view>

#include "exec_arguments.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration)

namespace townkeeper::test {

namespace {

std::vector<std::string> environment_changed_by(const std::map<std::string, std::string>& more) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    if (!more.contains(std::string{text.substr(0, text.find('='))})) out.emplace_back(text);
  }
  for (const auto& [name, value] : more)
    if (!value.empty()) out.push_back(name + "=" + value);
  return out;
}

/// Waits until the process has ended; false at the deadline.
bool wait_for_end(pid_t pid, std::chrono::milliseconds deadline) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return false;
  pollfd waiting{fd, POLLIN, 0};
  const int n = poll(&waiting, 1, static_cast<int>(deadline.count()));
  close(fd);
  return n > 0;
}

pid_t start(const child_options& options, int log) {
  auto arguments = options.argv;
  auto environment = environment_changed_by(options.environment);
  const auto argv = pointers(arguments);
  const auto envp = pointers(environment);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) _exit(127);
  execvpe(argv[0], argv.data(), envp.data());
  _exit(127);
}

int open_log(const std::filesystem::path& file) {
  const int fd = open(file.empty() ? "/dev/null" : file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) throw std::runtime_error{"cannot write " + file.string()};
  return fd;
}

} // namespace

child_process::child_process(const child_options& options) {
  const int log = open_log(options.log);
  pid_ = start(options, log);
  close(log);
  if (pid_ < 0) throw std::runtime_error{"fork failed"};
}

child_process::~child_process() {
  kill();
}

bool child_process::reap(int flags) {
  if (ended_) return true;
  int status = 0;
  pid_t got = 0;
  do {
    got = waitpid(pid_, &status, flags);
  } while (got < 0 && errno == EINTR);
  if (got != pid_) return false;
  dumped_core_ = WIFSIGNALED(status) && WCOREDUMP(status);
  ended_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

bool child_process::running() {
  return !reap(WNOHANG);
}

void child_process::signal(int number) {
  if (running()) ::kill(pid_, number);
}

void child_process::kill() {
  signal(SIGKILL);
  reap(0);
}

std::optional<int> child_process::wait(std::chrono::milliseconds deadline) {
  if (!running() || wait_for_end(pid_, deadline)) reap(0);
  return ended_;
}

} // namespace townkeeper::test
