#include "tests/unit/http/peer.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace townkeeper::test {
namespace {

using clock = std::chrono::steady_clock;

peer connected(int family, const sockaddr* address, socklen_t size) {
  http::unique_fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), address, size) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot connect");
  return peer(std::move(fd));
}

} // namespace

bool eventually(const std::function<bool()>& condition) {
  const auto until = clock::now() + patience;
  while (!condition()) {
    if (clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

peer::peer(http::unique_fd fd)
    : fd_(std::move(fd)) {
  constexpr int on = 1; // each send a segment of its own; means nothing to a Unix socket
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

peer peer::to(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connected(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

peer peer::to(const std::filesystem::path& unix_socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (unix_socket.native().size() >= sizeof address.sun_path) throw std::invalid_argument("path too long");
  std::memcpy(address.sun_path, unix_socket.c_str(), unix_socket.native().size() + 1);
  return connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

bool peer::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void peer::reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd_ = {};
}

bool peer::read_more(clock::time_point until) {
  if (ended_) return false;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
  pollfd readable{fd_.get(), POLLIN, 0};
  if (::poll(&readable, 1, static_cast<int>(std::max<long>(left, 0))) != 1) return false;
  char bytes[16 * 1024];
  const auto n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
  ended_ = n <= 0;
  if (n > 0) unread_.append(bytes, static_cast<std::size_t>(n));
  return n > 0;
}

std::string peer::read_until(std::string_view mark) {
  const auto until = clock::now() + patience;
  auto at = unread_.find(mark);
  while (at == std::string::npos && read_more(until))
    at = unread_.find(mark);
  const auto size = at == std::string::npos ? unread_.size() : at + mark.size();
  auto out = unread_.substr(0, size);
  unread_.erase(0, size);
  return out;
}

std::string peer::read_bytes(std::size_t count) {
  const auto until = clock::now() + patience;
  while (unread_.size() < count && read_more(until)) {
  }
  auto out = unread_.substr(0, count);
  unread_.erase(0, count);
  return out;
}

std::string peer::read_request() {
  auto out = read_until("\r\n\r\n");
  constexpr std::string_view length = "\r\nContent-Length: ";
  if (const auto at = out.find(length); at != std::string::npos)
    out += read_bytes(std::stoul(out.substr(at + length.size())));
  return out;
}

answer peer::read_answer(bool bodiless) {
  answer out;
  auto head = read_until("\r\n\r\n");
  if (!head.starts_with("HTTP/1.") || head.size() < 13) return out;
  out.status = std::stoi(head.substr(9, 3));
  for (auto begin = head.find("\r\n") + 2; begin + 2 < head.size();) {
    const auto end = head.find("\r\n", begin);
    const auto colon = head.find(": ", begin);
    out.headers.add(head.substr(begin, colon - begin), head.substr(colon + 2, end - colon - 2));
    begin = end + 2;
  }
  const auto length = out.header("Content-Length");
  if (!bodiless && !length.empty()) out.body = read_bytes(std::stoul(length));
  return out;
}

bool peer::is_closed() {
  const auto until = clock::now() + patience;
  while (read_more(until)) {
  }
  return ended_;
}

} // namespace townkeeper::test
