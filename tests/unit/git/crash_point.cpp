#include "crash_point.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <system_error>

namespace townkeeper::test {

namespace {

bool changes_a_file_system(const __ptrace_syscall_info& call) {
  switch (call.entry.nr) {
#ifdef SYS_open
  case SYS_open:
    return (call.entry.args[1] & O_CREAT) != 0;
#endif
  case SYS_openat:
    return (call.entry.args[2] & O_CREAT) != 0;
#ifdef SYS_rename
  case SYS_rename:
  case SYS_mkdir:
  case SYS_rmdir:
  case SYS_unlink:
  case SYS_link:
  case SYS_symlink:
#endif
#ifdef SYS_renameat
  case SYS_renameat:
#endif
  case SYS_renameat2:
  case SYS_mkdirat:
  case SYS_unlinkat:
  case SYS_linkat:
  case SYS_symlinkat:
  case SYS_ftruncate:
  case SYS_write:
  case SYS_pwrite64:
    return true;
  default:
    return false;
  }
}

[[noreturn]] void run_traced(const std::function<void()>& body) {
  constexpr int not_traced = 77;
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(not_traced);
  raise(SIGSTOP);
  try {
    body();
  } catch (...) {
    _exit(1);
  }
  _exit(0);
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw std::system_error{errno, std::generic_category(), "waitpid"};
  return status;
}

} // namespace

crash_outcome die_before(int step, const std::function<void()>& body) {
  const pid_t child = fork();
  if (child < 0) throw std::system_error{errno, std::generic_category(), "fork"};
  if (child == 0) run_traced(body);
  int status = wait_for(child);
  if (!WIFSTOPPED(status)) return crash_outcome::not_allowed;
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  int deliver = 0;
  for (int steps = 0;;) {
    if (ptrace(PTRACE_SYSCALL, child, nullptr, static_cast<std::intptr_t>(deliver)) != 0)
      throw std::system_error{errno, std::generic_category(), "ptrace"};
    status = wait_for(child);
    if (WIFEXITED(status)) {
      if (WEXITSTATUS(status) != 0) throw std::runtime_error{"the body failed"};
      return crash_outcome::finished;
    }
    if (WIFSIGNALED(status)) throw std::runtime_error{"the body was killed by another"};
    constexpr int syscall_stop = SIGTRAP | 0x80;
    deliver = WSTOPSIG(status) == syscall_stop ? 0 : WSTOPSIG(status);
    if (deliver != 0) continue;
    __ptrace_syscall_info call{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof call, &call) <= 0) continue;
    if (call.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_a_file_system(call) || ++steps < step) continue;
    kill(child, SIGKILL); // before the kernel has begun the call
    wait_for(child);
    return crash_outcome::died;
  }
}

} // namespace townkeeper::test
