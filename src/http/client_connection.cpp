#include "http/client_connection.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/span_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <fmt/core.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <sys/socket.h>

#include "core/secret.hpp"
#include "http/header_reader.hpp"

namespace townkeeper::http {
namespace {

namespace net = boost::asio;
namespace wire = boost::beast::http;
using boost::system::error_code;

constexpr auto as_values = net::as_tuple(net::use_awaitable);
constexpr std::uint32_t max_response_header_bytes = 64 * 1024;
constexpr std::size_t read_ahead_bytes = 64 * 1024;
constexpr int http_1_1 = 11;

bool is_http_error(error_code e) {
  return e.category() == make_error_code(wire::error::bad_method).category();
}

/// The connection itself failed, as opposed to what was said over it.
bool is_broken(error_code e) {
  return e == wire::error::end_of_stream || e == wire::error::partial_message || !is_http_error(e);
}

error describe(error_code e, const std::string& object, std::size_t max_bytes) {
  using enum townkeeper::error_code;
  if (e == wire::error::body_limit)
    return {too_large, object, fmt::format("the answer is larger than {} bytes", max_bytes)};
  if (e == wire::error::header_limit || e == wire::error::buffer_overflow)
    return {too_large, object, fmt::format("the answer's header is larger than {} bytes", max_response_header_bytes)};
  if (e == wire::error::end_of_stream || e == net::error::eof)
    return {unavailable, object, "the server closed the connection without an answer"};
  if (e == wire::error::partial_message || e == net::ssl::error::stream_truncated)
    return {unavailable, object, "the connection ended in the middle of the answer"};
  if (is_http_error(e)) return {corrupt, object, fmt::format("the answer is not HTTP/1.1: {}", e.message())};
  return {unavailable, object, fmt::format("the connection broke: {}", e.message())};
}

/// What X509_verify_cert(3) found, in words a person can act on.
std::string verify_text(long found, const std::string& host) {
  switch (found) {
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    return fmt::format("the server's certificate is for another host name than {}; correct the URL or the certificate",
                       host);
  case X509_V_ERR_CERT_HAS_EXPIRED:
    return "the server's certificate has expired; renew it (or set this machine's clock)";
  case X509_V_ERR_CERT_NOT_YET_VALID:
    return "the server's certificate is not valid yet; is this machine's clock right?";
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_CERT_UNTRUSTED:
    return "the server's certificate is signed by an unknown authority (CA); configure that authority's certificate as "
           "the CA file";
  default:
    return fmt::format("the server's certificate does not verify: {}", ::X509_verify_cert_error_string(found));
  }
}

net::generic::stream_protocol::endpoint endpoint_of(const numeric_address& address, std::uint16_t port) {
  error_code failed;
  const auto parsed = net::ip::make_address(address, failed);
  return net::ip::tcp::endpoint(parsed, port);
}

wire::request<wire::span_body<const char>> encode(const client_request& r, const url& target) {
  wire::request<wire::span_body<const char>> message;
  message.method_string(r.method);
  message.target(target.target);
  message.version(http_1_1);
  message.set(wire::field::host, target.authority());
  message.set(wire::field::user_agent, "townkeeper");
  for (const auto& [name, value] : r.headers)
    message.insert(name, value);
  message.body() = {r.body.data(), r.body.size()};
  // RFC 9110, 8.6: a method that has a body says so also when it is empty.
  if (!r.body.empty() || (r.method != "GET" && r.method != "HEAD" && r.method != "DELETE"))
    message.content_length(r.body.size());
  return message;
}

} // namespace

// -- connecting ---------------------------------------------------------------

net::awaitable<result<void>> client_connection::connect(const destination& to,
                                                        const std::vector<numeric_address>& addresses,
                                                        net::ssl::context* tls, const std::string& object) {
  std::vector<net::generic::stream_protocol::endpoint> endpoints;
  if (to.unix_socket.empty()) {
    for (const auto& each : addresses)
      endpoints.push_back(endpoint_of(each, to.port));
  } else {
    endpoints.emplace_back(net::local::stream_protocol::endpoint(to.unix_socket));
  }
  error_code last = net::error::host_not_found;
  for (const auto& endpoint : endpoints) {
    // Made here and not by Asio, which would let children inherit it.
    const int family = endpoint.protocol().family();
    const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      last = error_code(errno, boost::system::system_category());
      continue;
    }
    error_code ignored;
    socket_.close(ignored);
    socket_.assign(net::generic::stream_protocol(family, 0), fd, last);
    if (last) {
      ::close(fd);
      continue;
    }
    if (to.unix_socket.empty()) socket_.set_option(net::ip::tcp::no_delay(true), ignored);
    std::tie(last) = co_await socket_.async_connect(endpoint, as_values);
    if (!last || last == net::error::operation_aborted) break;
  }
  if (last)
    co_return error{townkeeper::error_code::unavailable, object,
                    fmt::format("cannot connect to {}: {}; is the server running?",
                                to.unix_socket.empty() ? fmt::format("{} port {}", to.host, to.port) : to.unix_socket,
                                last.message())};
  if (!to.secure) co_return result<void>();
  co_return co_await start_tls(*tls, to.host, object);
}

net::awaitable<result<void>> client_connection::start_tls(net::ssl::context& tls, const std::string& host,
                                                          const std::string& object) {
  tls_.emplace(socket_, tls);
  auto* const session = tls_->native_handle();
  error_code not_an_address;
  net::ip::make_address(host, not_an_address);
  // OpenSSL compares the name itself, so that its verdict tells a wrong name from an unknown chain (SSL_set1_host(3)).
  // Server name indication carries names only (RFC 6066, 3).
  const bool prepared = not_an_address ? ::SSL_set1_host(session, host.c_str()) == 1 &&
                                             SSL_set_tlsext_host_name(session, host.c_str()) == 1
                                       : ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(session), host.c_str()) == 1;
  if (!prepared) co_return error{townkeeper::error_code::tls_failed, object, "the host name cannot be verified by TLS"};
  ::SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

  const auto [failed] = co_await tls_->async_handshake(net::ssl::stream_base::client, as_values);
  if (!failed) co_return result<void>();
  if (const long found = ::SSL_get_verify_result(session); found != X509_V_OK)
    co_return error{townkeeper::error_code::tls_failed, object, verify_text(found, host)};
  if (failed.category() == net::error::get_ssl_category())
    co_return error{
        townkeeper::error_code::tls_failed, object,
        fmt::format("the TLS handshake failed: {}; does the server speak TLS 1.2 or newer there?", failed.message())};
  co_return error{townkeeper::error_code::unavailable, object,
                  fmt::format("the connection ended in the TLS handshake: {}", failed.message())};
}

void client_connection::close() noexcept {
  error_code ignored;
  socket_.close(ignored);
}

bool client_connection::is_usable() noexcept {
  char byte = 0;
  const auto n = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n == 0) return false;
  // TLS 1.3 sends session tickets when it likes; on a plain connection nothing may come unasked.
  if (n > 0) return tls_.has_value();
  return errno == EAGAIN || errno == EWOULDBLOCK;
}

// -- exchanging ---------------------------------------------------------------

net::awaitable<exchange_outcome> client_connection::exchange(const client_request& r, const url& target,
                                                             const std::string& object) {
  if (tls_) return exchange_over(*tls_, r, target, object);
  return exchange_over(socket_, r, target, object);
}

template <class Stream>
net::awaitable<exchange_outcome> client_connection::exchange_over(Stream& stream, const client_request& r,
                                                                  const url& target, const std::string& object) {
  exchange_outcome out;
  const auto message = encode(r, target);
  wire::request_serializer<wire::span_body<const char>> serializer(message);
  const auto [unsent, sent_bytes] = co_await wire::async_write(stream, serializer, as_values);
  // A server may answer and close before it has read all (413, 401): what it said counts more than that it did not
  // listen.

  boost::beast::flat_buffer buffer(max_response_header_bytes + read_ahead_bytes);
  std::optional<wire::response_parser<wire::string_body>> parser;
  error_code failed;
  do { // interim answers (1xx) precede the answer (RFC 9110, 15.2)
    parser.emplace();
    parser->header_limit(max_response_header_bytes);
    parser->body_limit(r.max_response_bytes);
    parser->skip(r.method == "HEAD");
    failed = co_await read_header(stream, buffer, *parser, max_response_header_bytes);
    out.answer_began = out.answer_began || parser->got_some();
  } while (!failed && parser->get().result_int() < 200);
  if (!failed && !parser->is_done())
    std::tie(failed, std::ignore) = co_await wire::async_read(stream, buffer, *parser, as_values);
  if (failed) {
    out.broken = is_broken(failed);
    out.failure = describe(unsent && !out.answer_began ? unsent : failed, object, r.max_response_bytes);
    co_return out;
  }

  out.keep = parser->keep_alive() && !unsent && buffer.size() == 0;
  auto got = parser->release();
  client_response answer;
  answer.status = got.result_int();
  for (const auto& field : got)
    answer.headers.add(std::string(field.name_string()), std::string(field.value()));
  answer.body = std::move(got.body());
  out.answer = std::move(answer);
  co_return out;
}

} // namespace townkeeper::http
