#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/client_state.hpp"

// Internal to src/http: includes Asio and TLS.
namespace townkeeper::http {

/// One request from `send` to its callback. The callback does not wait for the coroutine: a deadline or a cancellation
/// answers at once, and the coroutine, whose socket is then closed, runs out by itself. On the I/O thread only.
class client_exchange : public std::enable_shared_from_this<client_exchange> {
public:
  client_exchange(std::shared_ptr<client_state> owner, client_request r, client::callback done);

  void start();
  /// Instead of `start`, on any thread: the I/O thread takes no more.
  void refuse();
  /// Calls the callback, the first time.
  void finish(result<client_response> r);

private:
  boost::asio::awaitable<void> run();
  boost::asio::awaitable<result<void>> connect();
  boost::asio::awaitable<result<std::vector<numeric_address>>> addresses();
  result<client_response> checked(client_response answer) const;
  void finish_after(boost::asio::steady_timer& timer, std::chrono::milliseconds limit, std::string what);

  std::shared_ptr<client_state> owner_;
  client_request request_;
  client::callback done_;
  url url_;
  destination to_;
  std::string object_; ///< what errors are about: method and URL without its query
  bool finished_ = false;
  std::shared_ptr<client_connection> connection_;
  std::optional<result<std::vector<numeric_address>>> found_;
  boost::asio::steady_timer total_;
  boost::asio::steady_timer connect_;
  boost::asio::steady_timer looked_up_;
};

} // namespace townkeeper::http
