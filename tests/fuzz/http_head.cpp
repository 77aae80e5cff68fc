// Requests as the control server reads them: the same limits, the same Beast parser, the same objections.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/_experimental/test/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include <optional>
#include <string>

#include "http/header_reader.hpp"
#include "http/request_head.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;
using fuzz::require;
namespace wire = boost::beast::http;
namespace net = boost::asio;

namespace {

constexpr std::size_t max_header_bytes = 1024; // small, so that the fuzzer meets them
constexpr std::size_t max_body_bytes = 512;

struct outcome {
  std::optional<http::request> accepted;
  bool body_complete = false;
};

net::awaitable<void> read_request(boost::beast::test::stream& stream, outcome& out) {
  boost::beast::flat_buffer buffer(max_header_bytes + 64 * 1024);
  wire::request_parser<wire::string_body> parser;
  parser.header_limit(max_header_bytes);
  parser.body_limit(max_body_bytes);
  if (co_await http::read_header(stream, buffer, parser, max_header_bytes)) co_return;
  const auto& header = parser.get();
  if (!http::objection(header).empty()) co_return;
  http::request r;
  r.method = std::string(header.method_string());
  r.target = std::string(header.target());
  for (const auto& field : header)
    r.headers.add(std::string(field.name_string()), std::string(field.value()));
  if (!http::split_target(r)) co_return;
  const auto [failed, bytes] = co_await wire::async_read(stream, buffer, parser, net::as_tuple(net::use_awaitable));
  out.body_complete = !failed;
  if (out.body_complete) r.body = std::move(parser.get().body());
  out.accepted = std::move(r);
}

/// Reads `bytes` as they come in pieces of at most `piece` bytes, and then the end.
outcome read_in_pieces(std::string_view bytes, std::size_t piece) {
  net::io_context context;
  boost::beast::test::stream stream(context, bytes);
  auto peer = boost::beast::test::connect(stream);
  stream.read_size(piece);
  peer.close();
  outcome out;
  net::co_spawn(context, read_request(stream, out), net::detached);
  context.run();
  return out;
}

void check(const http::request& r) {
  require(r.path == "*" || r.path.starts_with('/'), "a path begins with a slash");
  require(r.path.find_first_of("? \r\n\0", 0, 5) == std::string::npos, "a path is one word without a query");
  require(r.body.size() <= max_body_bytes, "a body is within its limit");
  std::size_t header_bytes = r.method.size() + r.target.size();
  for (const auto& [name, value] : r.headers) {
    require(value.find_first_of("\r\n\0", 0, 3) == std::string::npos, "a field's value stays on its line");
    require(name.find_first_of(" \t:\r\n\0", 0, 6) == std::string::npos && !name.empty(), "a field's name is a token");
    header_bytes += name.size() + value.size();
  }
  require(header_bytes <= max_header_bytes, "a header is within its limit");
  require(r.bearer_token().find_first_of("\r\n") == std::string::npos, "a token stays on its line");
  (void)r.query_value("strict");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = fuzz::bytes_of(data + 1, size - 1);
  const auto whole = read_in_pieces(bytes, bytes.size() + 1);
  const auto pieces = read_in_pieces(bytes, 1U + data[0]);
  require(whole.accepted.has_value() == pieces.accepted.has_value(), "how a header is cut into packets means nothing");
  if (!whole.accepted) return 0;
  check(*whole.accepted);
  require(whole.accepted->target == pieces.accepted->target && whole.accepted->method == pieces.accepted->method &&
              whole.body_complete == pieces.body_complete && whole.accepted->body == pieces.accepted->body,
          "how a request is cut into packets means nothing");
  return 0;
}
