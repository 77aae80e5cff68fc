#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/read_size.hpp>
#include <boost/beast/http/error.hpp>

#include <cstddef>

// Internal to src/http: includes Asio and Beast.
namespace townkeeper::http {

/// Reads a message's start line and fields into `parser`, as Beast's async_read_header does and with its errors, but
/// with a limit for all of them together: Beast's own limit is for what waits unparsed in the buffer, so that a peer
/// that sends line by line never meets it.
///
/// `max_bytes` exceeded: `header_limit`. `buffer` must hold that and a read more.
template <class Stream, class Parser>
boost::asio::awaitable<boost::system::error_code> read_header(Stream& stream, boost::beast::flat_buffer& buffer,
                                                              Parser& parser, std::size_t max_bytes) {
  namespace wire = boost::beast::http;
  constexpr auto as_values = boost::asio::as_tuple(boost::asio::use_awaitable);
  constexpr std::size_t max_read_bytes = 64 * 1024;
  parser.eager(false); // stop where the body begins
  std::size_t parsed_bytes = 0;
  for (;;) {
    if (buffer.size() > 0) {
      boost::system::error_code failed;
      const auto used = parser.put(buffer.data(), failed);
      buffer.consume(used);
      parsed_bytes += used;
      const bool complete = !failed && parser.is_header_done();
      if (failed && failed != wire::error::need_more) co_return failed;
      if (parsed_bytes + (complete ? 0 : buffer.size()) > max_bytes) co_return wire::error::header_limit;
      if (complete) co_return boost::system::error_code();
    }
    const auto room = buffer.prepare(boost::beast::read_size(buffer, max_read_bytes));
    const auto [failed, bytes] = co_await stream.async_read_some(room, as_values);
    if (failed == boost::asio::error::eof)
      co_return parser.got_some() || buffer.size() > 0 ? wire::error::partial_message : wire::error::end_of_stream;
    if (failed) co_return failed;
    buffer.commit(bytes);
  }
}

} // namespace townkeeper::http
