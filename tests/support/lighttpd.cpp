#include "lighttpd.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "command.hpp"

namespace townkeeper::test {

namespace {

constexpr int backlog = 1024;
/// Where systemd's socket activation, which lighttpd speaks, hands sockets over (sd_listen_fds(3)).
constexpr int activation_fd = 3;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error{errno, std::generic_category(), "lighttpd: " + what};
}

/// A TCP socket bound to 127.0.0.1. Two may share a port as long as at most one of them listens.
int bound_socket(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("cannot bind 127.0.0.1:" + std::to_string(port));
  return fd;
}

int port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) fail("getsockname");
  return ntohs(address.sin_port);
}

} // namespace

lighttpd::lighttpd(std::filesystem::path directory)
    : directory_{std::move(directory)}
    , reserved_{bound_socket(0)} {
  port_ = port_of(reserved_);
}

lighttpd::~lighttpd() {
  stop();
  close(reserved_);
}

void lighttpd::start(const std::string& configuration) {
  const std::string file = directory_ / "lighttpd.conf", log_file = directory_ / "log";
  std::ofstream{file, std::ios::trunc} << "server.bind = \"127.0.0.1\"\nserver.port = " << port_
                                       << "\nserver.systemd-socket-activation = \"enable\"\nserver.errorlog = \""
                                       << log_file << "\"\n"
                                       << configuration;
  run({.argv = {"/usr/sbin/lighttpd", "-tt", "-f", file}});

  // It listens before the server runs: who connects from now on waits, and nobody need poll until the server is up.
  const int listening = bound_socket(port_);
  if (listen(listening, backlog) != 0) fail("cannot listen");
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) fail("cannot open its log");
  const pid_t parent = getpid();
  // The shell is only there to learn the process id before the server does.
  const char* script = "LISTEN_FDS=1 LISTEN_PID=$$ exec /usr/sbin/lighttpd -D -f \"$0\"";
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    // A descriptor that already has the right number would keep its close-on-exec flag.
    if (listening == activation_fd)
      fcntl(activation_fd, F_SETFD, 0);
    else
      dup2(listening, activation_fd);
    execl("/bin/sh", "sh", "-c", script, file.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(log);
  close(listening);
  if (child < 0) fail("fork");
  pid_ = child;
}

void lighttpd::stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void lighttpd::hang() {
  if (running()) kill(pid_, SIGSTOP);
}

void lighttpd::resume() {
  if (running()) kill(pid_, SIGCONT);
}

std::string lighttpd::log() const {
  std::ifstream file{directory_ / "log"};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

} // namespace townkeeper::test
