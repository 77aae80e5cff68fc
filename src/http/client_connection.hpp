#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "http/client.hpp"
#include "http/url.hpp"

// Internal to src/http: includes Asio and TLS.
namespace townkeeper::http {

/// Who one connection speaks to: requests of equal destinations may share it.
struct destination {
  bool secure = false;
  std::string host;
  std::uint16_t port = 0;
  std::string unix_socket;
  friend auto operator<=>(const destination&, const destination&) = default;
};

/// What came of sending one request over one connection.
struct exchange_outcome {
  std::optional<client_response> answer; ///< complete
  bool keep = false;                     ///< the connection can take another request
  error failure;                         ///< where there is no answer
  bool broken = false;                   ///< it failed because the connection broke
  bool answer_began = false;             ///< at least one byte of an answer came
};

/// One connection to a server, plain or TLS. On the I/O thread only.
class client_connection {
public:
  using socket_type = boost::asio::generic::stream_protocol::socket;

  explicit client_connection(boost::asio::io_context& context)
      : socket_(context) {}

  /// Connects to the first of `addresses` that takes it, or to the Unix socket. `object` is what errors are about. No
  /// deadline: `close` ends it.
  boost::asio::awaitable<result<void>> connect(const destination& to, const std::vector<numeric_address>& addresses,
                                               boost::asio::ssl::context* tls, const std::string& object);

  /// Sends and receives. No deadline: `close` ends it.
  boost::asio::awaitable<exchange_outcome> exchange(const client_request& r, const url& target,
                                                    const std::string& object);

  void close() noexcept;

  /// False where the server has closed it, or has said something nobody asked for.
  bool is_usable() noexcept;

private:
  template <class Stream>
  boost::asio::awaitable<exchange_outcome> exchange_over(Stream& stream, const client_request& r, const url& target,
                                                         const std::string& object);
  boost::asio::awaitable<result<void>> start_tls(boost::asio::ssl::context& tls, const std::string& host,
                                                 const std::string& object);

  socket_type socket_;
  std::optional<boost::asio::ssl::stream<socket_type&>> tls_;
};

} // namespace townkeeper::http
