#pragma once

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <list>
#include <memory>
#include <set>

#include "http/client_connection.hpp"
#include "http/io_core.hpp"

// Internal to src/http: includes Asio and TLS.
namespace townkeeper::http {

class client_exchange;

/// What a client and its requests share: the requests under way, the connections kept for later ones, the trusted
/// authorities. On the I/O thread only.
class client_state : public std::enable_shared_from_this<client_state> {
public:
  client_state(const std::shared_ptr<io_core>& core, lookup_function l);

  /// Trusts the authorities in `ca_file` (none: empty), and later the system's.
  result<void> prepare_tls(const std::filesystem::path& ca_file);

  /// What https connections are made with; the first call reads the system's authorities, which takes tens of
  /// milliseconds.
  boost::asio::ssl::context& tls();

  /// A kept connection to `to` that still seems open, or null.
  std::shared_ptr<client_connection> take(const destination& to);
  /// Keeps `connection` for the next request to `to`.
  void keep(const destination& to, std::shared_ptr<client_connection> connection);

  /// Ends every request with `cancelled` and closes every connection.
  void close();

  boost::asio::io_context& context() noexcept { return context_; }
  std::weak_ptr<io_core> core() const noexcept { return core_; }

  const lookup_function lookup;
  std::set<std::shared_ptr<client_exchange>> under_way;

private:
  struct kept_connection {
    destination to;
    std::shared_ptr<client_connection> connection;
    std::chrono::steady_clock::time_point until;
  };

  void drop_old_ones();

  boost::asio::ssl::context tls_{boost::asio::ssl::context::tls_client};
  bool system_trusted_ = false;
  boost::asio::io_context& context_;
  std::weak_ptr<io_core> core_;
  std::list<kept_connection> kept_; ///< oldest first
  boost::asio::steady_timer sweep_;
};

} // namespace townkeeper::http
