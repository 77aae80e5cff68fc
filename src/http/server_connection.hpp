#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "http/message.hpp"
#include "http/responder.hpp"

// Internal to src/http: includes Asio.
namespace townkeeper::http {

class server_state;

/// One client's connection, from accept to close: a coroutine that reads a request, has it handled, writes the answer,
/// and begins again. Lives on the I/O thread only; its own coroutine keeps it alive.
class server_connection : public std::enable_shared_from_this<server_connection> {
public:
  enum class stage { idle, header, body, handling, writing, lingering };
  using socket_type = boost::asio::generic::stream_protocol::socket;
  using line = std::list<server_connection*>;

  server_connection(std::shared_ptr<server_state> owner, socket_type socket, std::string peer, std::string label);

  void start();

  /// Closes as soon as the request in work is answered; at once where there is none.
  void finish();
  /// Closes now, whatever is under way.
  void close();

  stage current_stage() const noexcept { return stage_; }
  /// Where it stands among the server's connections while it is open; the server's alone.
  std::pair<line*, line::iterator>& standing() noexcept { return standing_; }
  const std::string& label() const noexcept { return label_; }

private:
  struct incoming; // one request while it is read; knows Beast
  template <class T>
  using awaitable = boost::asio::awaitable<T>;

  awaitable<void> serve();
  awaitable<bool> serve_one(incoming& in);
  awaitable<bool> read_header(incoming& in);
  awaitable<bool> read_body(incoming& in);
  awaitable<response> handled(request r);
  awaitable<bool> write(const response& r, const incoming& in, bool keep_alive);
  awaitable<bool> refuse(const response& r, const incoming& in);
  awaitable<void> linger();

  responder make_responder();
  void deliver(std::uint64_t request_number, response r);
  void enter(stage s);
  /// From now on the socket's operations have until then, all together.
  void set_deadline(std::chrono::milliseconds limit);
  void clear_deadline();

  std::shared_ptr<server_state> owner_;
  socket_type socket_;
  boost::asio::steady_timer deadline_;
  boost::asio::steady_timer answer_came_;
  std::string peer_;
  std::string label_;
  stage stage_ = stage::idle;
  std::pair<line*, line::iterator> standing_;
  std::uint64_t request_number_ = 0;
  std::optional<response> answer_;
  bool expired_ = false;   ///< the deadline passed and cancelled the operation
  bool finishing_ = false; ///< no further request
  bool closed_ = false;
};

} // namespace townkeeper::http
