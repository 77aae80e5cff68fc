#include "git/fetch_socket.hpp"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "git/url.hpp"

namespace townkeeper::git {
namespace {

struct free_addresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

std::string errno_text(int number) {
  char buffer[128];
  return ::strerror_r(number, buffer, sizeof buffer); // the GNU one: returns the text
}

} // namespace

watched_socket::~watched_socket() {
  close();
}

void watched_socket::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

bool watched_socket::connect(const std::string& host, const std::string& port) {
  const auto deadline = transfer_watch::clock::now() + watch_.job().limits.connect;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failed != 0) {
    watch_.fail(error_code::unavailable, fmt::format("{}: {}", host, ::gai_strerror(failed)));
    return false;
  }
  const std::unique_ptr<addrinfo, free_addresses> addresses(found);
  int last = 0;
  bool refused_one = false;
  for (const auto* a = found; a != nullptr; a = a->ai_next) {
    if (is_refused_address(*a->ai_addr)) {
      refused_one = true;
      continue;
    }
    const int fd = ::socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) {
      last = errno;
      continue;
    }
    if (connect_to(fd, a->ai_addr, a->ai_addrlen, deadline)) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      fd_ = fd;
      return true;
    }
    last = errno;
    ::close(fd);
    if (watch_.ended()) return false;
  }
  if (last == 0 && refused_one)
    watch_.fail(error_code::invalid_argument, fmt::format("{} resolves to a link-local or unspecified address", host));
  else
    watch_.fail(error_code::unavailable, fmt::format("cannot connect to {}:{}: {}", host, port, errno_text(last)));
  return false;
}

bool watched_socket::connect_to(int fd, const void* address, unsigned length,
                                transfer_watch::clock::time_point deadline) {
  if (::connect(fd, static_cast<const sockaddr*>(address), length) == 0) return true;
  if (errno != EINPROGRESS) return false;
  if (!watch_.wait_until(fd, POLLOUT, deadline, "a connection")) return false;
  int outcome = 0;
  socklen_t size = sizeof outcome;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &outcome, &size) != 0) return false;
  errno = outcome;
  return outcome == 0;
}

ssize_t watched_socket::receive_now(void* into, std::size_t size) noexcept {
  const auto got = ::recv(fd_, into, size, 0);
  if (got > 0) watch_.moved(got);
  return got;
}

ssize_t watched_socket::send_now(const void* from, std::size_t size) noexcept {
  const auto sent = ::send(fd_, from, size, MSG_NOSIGNAL);
  if (sent > 0) watch_.moved(sent);
  return sent;
}

bool watched_socket::is_open() const noexcept {
  char byte = 0;
  const auto got = ::recv(fd_, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

ssize_t watched_socket::read(void* into, std::size_t size) {
  for (;;) {
    if (watch_.ended()) return -1;
    const auto got = receive_now(into, size);
    if (got >= 0) return got;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      watch_.fail(error_code::unavailable, fmt::format("the connection broke: {}", errno_text(errno)));
      return -1;
    }
    if (!watch_.wait(fd_, POLLIN)) return -1;
  }
}

void watched_socket::read_last_words() {
  char buffer[4096];
  for (ssize_t got = 0; (got = receive_now(buffer, sizeof buffer)) > 0 && !watch_.response().is_complete();)
    watch_.arrived({buffer, static_cast<std::size_t>(got)});
}

ssize_t watched_socket::write(const char* from, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    if (watch_.ended()) return -1;
    const auto sent = send_now(from + done, size - done);
    if (sent >= 0) {
      done += static_cast<std::size_t>(sent);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      const int broke = errno;
      read_last_words();
      watch_.fail(error_code::unavailable, fmt::format("the connection broke: {}", errno_text(broke)));
      return -1;
    }
    if (!watch_.wait(fd_, POLLOUT)) return -1;
  }
  return static_cast<ssize_t>(size);
}

} // namespace townkeeper::git
