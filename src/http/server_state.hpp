#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <atomic>
#include <list>
#include <memory>
#include <set>
#include <string>

#include "http/io_core.hpp"
#include "http/listening_socket.hpp"
#include "http/server.hpp"
#include "http/server_connection.hpp"

// Internal to src/http: includes Asio.
namespace townkeeper::http {

/// What a server and its connections share: listeners, connections, limits. Lives on the I/O thread only, but for the
/// counters.
class server_state : public std::enable_shared_from_this<server_state> {
public:
  server_state(const std::shared_ptr<io_core>& core, handler handle, const server_limits& l);

  void add_listener(unique_fd fd, unix_listener file, std::string label);
  void remove_unix(const std::filesystem::path& path);
  /// No more accepting; connections close when their request is answered. `none_left` is called once, when the last has
  /// closed.
  void begin_stop(std::function<void()> none_left);
  void close_all();

  /// Called by an open connection that has entered a stage: it goes behind all that entered it before.
  void line_up(server_connection& connection);

  /// Called by a connection that closes, once.
  void remove(const std::shared_ptr<server_connection>& connection);

  /// Takes `bytes` out of what bodies may hold together, or refuses.
  bool reserve_body(std::size_t bytes) noexcept;
  void release_body(std::size_t bytes) noexcept { body_bytes_ -= bytes; }

  boost::asio::io_context& context() noexcept { return context_; }
  std::weak_ptr<io_core> core() const noexcept { return core_; }

  const server_limits limits;
  const handler handle;
  std::atomic<std::size_t> connection_count{0};
  std::atomic<std::uint16_t> bound_port{0};

private:
  struct listener {
    boost::asio::posix::stream_descriptor descriptor;
    boost::asio::steady_timer back_off;
    unix_listener file; ///< of a TCP listener: no path
    std::string label;
    bool closed = false;
  };

  void wait_for_clients(const std::shared_ptr<listener>& l);
  void accept_clients(const std::shared_ptr<listener>& l);
  void retry_later(const std::shared_ptr<listener>& l);
  void close(listener& l);
  void admit(accepted_socket client, const std::string& label);
  /// Closes the connection that has kept us waiting longest among the kind that is most (see `server`), in time that
  /// does not grow with their number. False where every one waits for us.
  bool evict_one();

  boost::asio::io_context& context_;
  std::weak_ptr<io_core> core_;
  std::list<std::shared_ptr<listener>> listeners_;
  std::set<std::shared_ptr<server_connection>> connections_;
  std::array<server_connection::line, 4> lines_; ///< each connection stands in one; server.cpp says in which
  std::size_t body_bytes_ = 0;
  std::function<void()> none_left_;
};

} // namespace townkeeper::http
