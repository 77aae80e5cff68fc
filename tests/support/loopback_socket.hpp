#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace townkeeper::test {

/// A descriptor that is closed when it goes.
class socket_owner {
public:
  explicit socket_owner(int fd = -1)
      : fd_{fd} {}
  socket_owner(socket_owner&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)} {}
  socket_owner& operator=(socket_owner&&) = delete;
  ~socket_owner() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }

private:
  int fd_;
};

inline sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// Connected to 127.0.0.1:`port`, blocking; a negative descriptor where nobody listens.
inline socket_owner connect_to_loopback(int port) {
  socket_owner made{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto address = loopback(port);
  if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return socket_owner{};
  return made;
}

struct loopback_listener {
  socket_owner socket;
  int port = 0;
};

/// Listens on 127.0.0.1 and a free port; does not block. Throws `std::system_error`.
inline loopback_listener listen_on_loopback() {
  loopback_listener made{socket_owner{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}};
  auto address = loopback(0);
  socklen_t size = sizeof address;
  const int fd = made.socket.get();
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(fd, SOMAXCONN) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::system_error{errno, std::generic_category(), "cannot listen on 127.0.0.1"};
  made.port = ntohs(address.sin_port);
  return made;
}

/// Its next close sends a RST in place of an end.
inline void make_abortive(int fd) {
  const linger now{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

} // namespace townkeeper::test
