#pragma once

#include <future>
#include <memory>
#include <stdexcept>

#include "http/client.hpp"
#include "http/io_thread.hpp"
#include "tests/unit/http/peer.hpp"

namespace townkeeper::test {

using client_answer = result<http::client_response>;

/// A client and its I/O thread.
class running_client {
public:
  explicit running_client(http::client_options options = {}) {
    io_.start();
    auto made = http::client::create(io_, std::move(options));
    if (!made) throw std::runtime_error(to_string(made.error()));
    client_ = std::move(*made);
  }

  std::future<client_answer> send(http::client_request r) {
    auto answered = std::make_shared<std::promise<client_answer>>();
    auto coming = answered->get_future();
    client_->send(std::move(r), [answered](client_answer a) { answered->set_value(std::move(a)); });
    return coming;
  }

  client_answer ask(http::client_request r) {
    auto coming = send(std::move(r));
    if (coming.wait_for(patience) != std::future_status::ready) throw std::runtime_error("the callback was not called");
    return coming.get();
  }
  client_answer get(std::string url) { return ask(http::client_request{.url = std::move(url)}); }

  /// Destroys the client; the thread goes on.
  void end() { client_.reset(); }
  http::io_thread& io() noexcept { return io_; }

private:
  http::io_thread io_;
  std::unique_ptr<http::client> client_;
};

} // namespace townkeeper::test
