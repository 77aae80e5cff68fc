#include "control_stub.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <sys/socket.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>

#include "http_text.hpp"

namespace townkeeper::test {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

struct control_stub::impl {
  asio::io_context io;
  tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::make_address("127.0.0.1"), 0}};

  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  bool stopping = false;
  answerer answer = [](const stub_request&) { return stub_answer{}; };
  std::vector<stub_request> requests;
  std::set<int> open_sockets; ///< shut down at the end, which wakes the threads that read from them

  std::vector<std::thread> connections; ///< touched by the accepting thread only, until it is joined
  std::thread accepting;

  void accept_all() {
    for (;;) {
      beast::error_code ec;
      tcp::socket socket = acceptor.accept(ec);
      if (ec) return;
      {
        const std::lock_guard lock{mutex};
        if (stopping) return;
        open_sockets.insert(socket.native_handle());
      }
      connections.emplace_back([this, s = std::move(socket)]() mutable { serve(s); });
    }
  }

  void serve(tcp::socket& socket) {
    beast::flat_buffer buffer;
    while (serve_one(socket, buffer)) {
    }
    const std::lock_guard lock{mutex};
    open_sockets.erase(socket.native_handle());
    beast::error_code ignored;
    socket.close(ignored);
  }

  /// False when the connection is over.
  bool serve_one(tcp::socket& socket, beast::flat_buffer& buffer) {
    beast::error_code ec;
    http::request<http::string_body> message;
    http::read(socket, buffer, message, ec);
    if (ec) return false;
    stub_request request{std::string{message.method_string()},
                         std::string{message.target()},
                         {},
                         message.body(),
                         std::chrono::steady_clock::now()};
    for (const auto& field : message)
      request.headers[lower_case(field.name_string())] = std::string{field.value()};

    answerer how;
    {
      const std::lock_guard lock{mutex};
      requests.push_back(request);
      how = answer;
    }
    changed.notify_all();
    const stub_answer given = how(request);
    if (given.how == stub_answer::kind::hang_up) return false;
    if (given.how == stub_answer::kind::hang) {
      wait_for_close(socket);
      return false;
    }
    http::response<http::string_body> reply{static_cast<http::status>(given.status), message.version()};
    reply.set(http::field::content_type, "application/json");
    for (const auto& [name, value] : given.headers)
      reply.set(name, value);
    reply.body() = given.body;
    reply.keep_alive(message.keep_alive());
    reply.prepare_payload();
    http::write(socket, reply, ec);
    return !ec && reply.keep_alive();
  }

  static void wait_for_close(tcp::socket& socket) {
    char unread[512];
    beast::error_code ec;
    while (!ec)
      socket.read_some(asio::buffer(unread), ec);
  }
};

control_stub::control_stub()
    : impl_{std::make_unique<impl>()} {
  url_ = "http://127.0.0.1:" + std::to_string(impl_->acceptor.local_endpoint().port());
  impl_->accepting = std::thread{[this] { impl_->accept_all(); }};
}

control_stub::~control_stub() {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
    // shutdown, not close: a thread that blocks in accept or read must see the end of a socket that is still its own.
    ::shutdown(impl_->acceptor.native_handle(), SHUT_RDWR);
    for (const int fd : impl_->open_sockets)
      ::shutdown(fd, SHUT_RDWR);
  }
  impl_->accepting.join();
  for (auto& thread : impl_->connections)
    thread.join();
}

void control_stub::answer_with(answerer answer) {
  const std::lock_guard lock{impl_->mutex};
  impl_->answer = std::move(answer);
}

void control_stub::answer_with(stub_answer answer) {
  answer_with([answer](const stub_request&) { return answer; });
}

std::vector<stub_request> control_stub::requests() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->requests;
}

bool control_stub::wait_for(std::size_t count, std::chrono::milliseconds deadline) const {
  std::unique_lock lock{impl_->mutex};
  return impl_->changed.wait_for(lock, deadline, [&] { return impl_->requests.size() >= count; });
}

} // namespace townkeeper::test
