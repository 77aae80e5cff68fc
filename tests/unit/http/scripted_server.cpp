#include "tests/unit/http/scripted_server.hpp"

#include <poll.h>

#include <stdexcept>

namespace townkeeper::test {
namespace {

template <class T>
T made(result<T> r) {
  if (!r) throw std::runtime_error(to_string(r.error()));
  return std::move(*r);
}

} // namespace

scripted_server::scripted_server(script s)
    : script_(std::move(s)) {
  auto listener = made(http::listen_on_tcp("127.0.0.1:0"));
  listening_ = std::move(listener.fd);
  port_ = listener.port;
  accepting_ = std::thread([this] { accept_all(); });
}

scripted_server::scripted_server(script s, const std::filesystem::path& unix_socket)
    : script_(std::move(s)) {
  listening_ = std::move(made(http::listen_on_unix(unix_socket)).fd);
  accepting_ = std::thread([this] { accept_all(); });
}

scripted_server::~scripted_server() {
  stopping_ = true;
  ::shutdown(listening_.get(), SHUT_RDWR); // wakes the accepting thread
  accepting_.join();
  for (auto& each : scripts_)
    each.join();
}

std::string scripted_server::url(std::string_view path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

void scripted_server::accept_all() {
  while (!stopping_) {
    pollfd waiting{listening_.get(), POLLIN, 0};
    ::poll(&waiting, 1, -1);
    http::unique_fd fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    scripts_.emplace_back(
        [this, number = ++connections_, client = peer(std::move(fd))]() mutable { script_(client, number); });
  }
}

std::string answer_text(std::string_view body, int status, std::string_view fields) {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + std::string(fields) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

} // namespace townkeeper::test
