#include "cli/termination_signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace townkeeper::cli {

termination_signals::termination_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&set, each);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

termination_signals::~termination_signals() {
  ::close(fd_);
}

// NOLINTNEXTLINE(readability-make-member-function-const): it takes a signal away
std::optional<std::string> termination_signals::next() {
  signalfd_siginfo info{};
  if (::read(fd_, &info, sizeof info) != sizeof info) return std::nullopt;
  switch (static_cast<int>(info.ssi_signo)) {
  case SIGTERM:
    return "SIGTERM";
  case SIGINT:
    return "SIGINT";
  default:
    return "SIGHUP";
  }
}

} // namespace townkeeper::cli
