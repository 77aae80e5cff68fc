#include "http/listening_socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/core.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

namespace townkeeper::http {
namespace {

// More than there may be connections: where it is full, the kernel drops what comes, and a probe comes again only after
// a second. The kernel cuts it to net.core.somaxconn.
constexpr int listen_backlog = 4096;

std::string errno_text(int number) {
  return std::generic_category().message(number);
}

error socket_error(std::string_view object, std::string_view doing, int number) {
  const auto code = number == EADDRINUSE ? error_code::conflict : error_code::disk;
  return {code, std::string(object), fmt::format("cannot {}: {}", doing, errno_text(number))};
}

struct any_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

std::optional<any_address> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = std::string(text.substr(0, colon));
  const auto port_text = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (port_text.empty() || failed != std::errc() || end != port_text.data() + port_text.size()) return std::nullopt;
  if (host == "localhost") host = "127.0.0.1";

  any_address out;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
    if (::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6->sin6_addr) != 1) return std::nullopt;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
    if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) != 1) return std::nullopt;
  }
  return out;
}

std::uint16_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

std::string describe(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, port_of(address));
  }
  if (address.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text, sizeof text);
    return fmt::format("[{}]:{}", text, port_of(address));
  }
  return "unix";
}

std::optional<sockaddr_un> unix_address(const std::filesystem::path& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  const auto& text = path.native();
  if (text.empty() || text.size() >= sizeof out.sun_path || text.find('\0') != std::string::npos) return std::nullopt;
  std::memcpy(out.sun_path, text.c_str(), text.size() + 1);
  return out;
}

unique_fd new_socket(int family) {
  return unique_fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// True unless the connection is refused: a full backlog (EAGAIN) is a listener too.
bool somebody_listens(const sockaddr_un& address) {
  const auto probe = new_socket(AF_UNIX);
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno != ECONNREFUSED;
}

} // namespace

// -- unique_fd ----------------------------------------------------------------

unique_fd& unique_fd::operator=(unique_fd&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = other.release();
  return *this;
}

unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}

int unique_fd::release() noexcept {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

// -- TCP ----------------------------------------------------------------------

result<tcp_listener> listen_on_tcp(std::string_view address_and_port) {
  auto address = parse_endpoint(address_and_port);
  if (!address)
    return error{
        error_code::invalid_argument, std::string(address_and_port),
        "not an address to listen on; write ADDRESS:PORT, as in 0.0.0.0:8080, [::]:8080 or 127.0.0.1:0 (any port)"};
  tcp_listener out{new_socket(address->storage.ss_family)};
  if (!out.fd) return socket_error(address_and_port, "make a socket", errno);
  constexpr int on = 1;
  ::setsockopt(out.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); // a restart need not wait for TIME_WAIT
  if (::bind(out.fd.get(), address->get(), address->size) != 0)
    return socket_error(address_and_port, "listen there (choose another port, or stop the process that has it)", errno);
  if (::listen(out.fd.get(), listen_backlog) != 0) return socket_error(address_and_port, "listen there", errno);
  any_address bound;
  bound.size = sizeof bound.storage;
  if (::getsockname(out.fd.get(), bound.get(), &bound.size) != 0)
    return socket_error(address_and_port, "read the bound address", errno);
  out.port = port_of(bound.storage);
  return out;
}

// -- Unix sockets -------------------------------------------------------------

result<unix_listener> listen_on_unix(const std::filesystem::path& path) {
  // The socket is made under a name of its own, closed to others and already listening, and then takes its place in one
  // rename: the final name never shows a socket with wider access, and never nothing where a stale one stood. (No
  // umask: that is the whole process's.)
  auto temporary = path;
  temporary += ".new";
  const auto address = unix_address(temporary);
  if (!address)
    return error{error_code::invalid_argument, path.string(),
                 fmt::format("the path of a Unix socket has 1 to {} bytes here; choose a shorter workspace path",
                             sizeof(sockaddr_un::sun_path) - 1 - std::strlen(".new"))};
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode))
      return error{error_code::conflict, path.string(), "a file that is no socket is in the way; move it away"};
    if (somebody_listens(*unix_address(path)))
      return error{error_code::conflict, path.string(), "another process listens on this socket; stop it first"};
  }
  unix_listener out{new_socket(AF_UNIX), path};
  if (!out.fd) return socket_error(path.string(), "make a socket", errno);
  ::unlink(temporary.c_str()); // left by a process that was killed right here
  if (::bind(out.fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
    return socket_error(path.string(), "make the socket file", errno);
  // Nobody can connect before listen(), so the mode is in force from the first moment on.
  struct stat made {};
  const bool done = ::chmod(temporary.c_str(), S_IRUSR | S_IWUSR) == 0 && ::listen(out.fd.get(), listen_backlog) == 0 &&
                    ::lstat(temporary.c_str(), &made) == 0 && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!done) {
    const int number = errno;
    ::unlink(temporary.c_str());
    return socket_error(path.string(), "make the socket file", number);
  }
  out.device = made.st_dev;
  out.inode = made.st_ino;
  return out;
}

void unlink_listener(const unix_listener& listener) noexcept {
  struct stat there {};
  if (::lstat(listener.path.c_str(), &there) != 0) return;
  if (there.st_dev == listener.device && there.st_ino == listener.inode) ::unlink(listener.path.c_str());
}

// -- accepting ----------------------------------------------------------------

accepted_socket accept_from(int listening_fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  accepted_socket out;
  out.fd =
      unique_fd(::accept4(listening_fd, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!out.fd) {
    out.error_number = errno == EWOULDBLOCK ? EAGAIN : errno;
    return out;
  }
  // The peer of a Unix socket has no name, and then no family either.
  out.family = size < sizeof(sa_family_t) || address.ss_family == AF_UNSPEC ? AF_UNIX : address.ss_family;
  out.peer = describe(address);
  if (out.family != AF_UNIX) {
    constexpr int on = 1;
    ::setsockopt(out.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return out;
}

} // namespace townkeeper::http
