#include "http_request.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <string_view>

#include "http_text.hpp"

namespace townkeeper::test {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

struct target {
  std::string host;
  std::string port;
  std::string path;
};

result<target> parse(const std::string& url) {
  constexpr std::string_view scheme = "http://";
  if (url.rfind(scheme, 0) != 0) return error{error_code::invalid_argument, url, "a test speaks http:// only"};
  const auto slash = url.find('/', scheme.size());
  const auto authority = url.substr(scheme.size(), slash == std::string::npos ? slash : slash - scheme.size());
  const auto colon = authority.rfind(':');
  if (colon == std::string::npos) return target{authority, "80", slash == std::string::npos ? "/" : url.substr(slash)};
  return target{authority.substr(0, colon), authority.substr(colon + 1),
                slash == std::string::npos ? "/" : url.substr(slash)};
}

/// Runs one asynchronous operation to its end: only those obey the stream's deadline.
template <class Start>
beast::error_code finish(asio::io_context& io, Start start) {
  beast::error_code outcome;
  start([&outcome](beast::error_code ec, auto&&...) { outcome = ec; });
  io.restart();
  io.run();
  return outcome;
}

} // namespace

result<http_response> send(const http_request& request) {
  const auto where = parse(request.url);
  if (!where) return where.error();
  asio::io_context io;
  beast::tcp_stream stream{io};
  stream.expires_after(request.timeout);
  const auto failed = [&](beast::error_code ec) {
    const bool late = ec == beast::error::timeout;
    return error{late ? error_code::timed_out : error_code::unavailable, request.url, ec.message()};
  };

  beast::error_code ec;
  asio::ip::tcp::resolver resolver{io};
  const auto endpoints = resolver.resolve(where->host, where->port, ec);
  if (ec) return failed(ec);
  ec = finish(io, [&](auto done) { stream.async_connect(endpoints, std::move(done)); });
  if (ec) return failed(ec);

  http::request<http::string_body> message{http::string_to_verb(request.method), where->path, 11};
  if (message.method() == http::verb::unknown) message.method_string(request.method);
  message.set(http::field::host, where->host + ":" + where->port);
  message.set(http::field::connection, "close");
  for (const auto& [name, value] : request.headers)
    message.set(name, value);
  message.body() = request.body;
  message.prepare_payload();
  // A server may answer before it has read all of a body it refuses; its answer counts, not the failed write.
  const auto write_ec = finish(io, [&](auto done) { http::async_write(stream, message, std::move(done)); });

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(std::uint64_t{64} * 1024 * 1024);
  if (message.method() == http::verb::head) parser.skip(true);
  ec = finish(io, [&](auto done) { http::async_read(stream, buffer, parser, std::move(done)); });
  if (ec) return failed(write_ec ? write_ec : ec);

  http_response response;
  response.status = static_cast<int>(parser.get().result_int());
  for (const auto& field : parser.get())
    response.headers[lower_case(field.name_string())] = std::string{field.value()};
  response.body = std::move(parser.get().body());
  return response;
}

} // namespace townkeeper::test
