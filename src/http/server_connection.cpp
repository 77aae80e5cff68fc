#include "http/server_connection.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/span_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <fmt/chrono.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "core/log.hpp"
#include "http/header_reader.hpp"
#include "http/request_head.hpp"
#include "http/server_state.hpp"

namespace townkeeper::http {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace wire = boost::beast::http;
using boost::system::error_code;

constexpr auto as_values = net::as_tuple(net::use_awaitable);
constexpr std::size_t read_ahead_bytes =
    64 * 1024; // what the buffer may hold beside a header: a piece of body, pipelined requests
constexpr int http_1_1 = 11;

bool is_http_error(error_code e) {
  return e.category() == make_error_code(wire::error::bad_method).category();
}

/// RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
std::string http_date() {
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(std::time(nullptr)));
}

/// A header value must not end its line: whatever a handler puts in, the next line is ours.
std::string one_line(std::string_view value) {
  std::string out(value);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return out;
}

} // namespace

/// What is read of the current request, and the bytes of the next ones that came with it.
struct server_connection::incoming {
  explicit incoming(server_state& owner_state)
      : owner(owner_state)
      , buffer(owner_state.limits.max_header_bytes + read_ahead_bytes) {}
  ~incoming() { forget_body(); }
  incoming(const incoming&) = delete;
  incoming& operator=(const incoming&) = delete;

  void begin_request() {
    forget_body();
    if (buffer.size() == 0) buffer.shrink_to_fit(); // idle connections are many: they hold no buffer
    parser.emplace();
    parser->header_limit(static_cast<std::uint32_t>(owner.limits.max_header_bytes));
    parser->body_limit(owner.limits.max_body_bytes);
    version = http_1_1;
    head = false;
  }

  bool reserve_body(std::size_t bytes) {
    if (!owner.reserve_body(bytes)) return false;
    reserved = bytes;
    return true;
  }

  void forget_body() noexcept { owner.release_body(std::exchange(reserved, 0)); }

  server_state& owner;
  beast::flat_buffer buffer;
  std::optional<wire::request_parser<wire::string_body>> parser;
  std::size_t reserved = 0;
  unsigned version = http_1_1;
  bool head = false; ///< the answer goes without its body
};

// -- life ---------------------------------------------------------------------

server_connection::server_connection(std::shared_ptr<server_state> owner, socket_type socket, std::string peer,
                                     std::string label)
    : owner_(std::move(owner))
    , socket_(std::move(socket))
    , deadline_(owner_->context())
    , answer_came_(owner_->context())
    , peer_(std::move(peer))
    , label_(std::move(label)) {}

void server_connection::start() {
  net::co_spawn(
      owner_->context(), [self = shared_from_this()]() -> awaitable<void> { return self->serve(); },
      [self = shared_from_this()](const std::exception_ptr& failed) {
        try {
          if (failed) std::rethrow_exception(failed);
        } catch (const std::exception& e) {
          log::failure("exception in a connection", {{"peer", self->peer_}, {"what", e.what()}});
        }
        self->close();
      });
}

void server_connection::finish() {
  finishing_ = true;
  const bool at_work = stage_ == stage::body || stage_ == stage::handling || stage_ == stage::writing;
  if (!at_work && stage_ != stage::lingering) close();
}

void server_connection::close() {
  if (closed_) return;
  closed_ = true;
  error_code ignored;
  socket_.close(ignored);
  deadline_.cancel();
  answer_came_.cancel();
  owner_->remove(shared_from_this());
}

void server_connection::enter(stage s) {
  stage_ = s;
  if (!closed_) owner_->line_up(*this);
}

void server_connection::set_deadline(std::chrono::milliseconds limit) {
  expired_ = false;
  deadline_.expires_after(limit);
  deadline_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (cancelled || self->deadline_.expiry() > std::chrono::steady_clock::now()) return;
    self->expired_ = true;
    if (self->stage_ == stage::writing) return self->close();
    // Cancelling alone would miss an operation that is between two reads just now; with the receiving side shut, its
    // next read ends it.
    error_code ignored;
    self->socket_.shutdown(socket_type::shutdown_receive, ignored);
    self->socket_.cancel(ignored);
  });
}

void server_connection::clear_deadline() {
  deadline_.expires_at(net::steady_timer::time_point::max());
}

// -- one request after the other ----------------------------------------------

server_connection::awaitable<void> server_connection::serve() {
  incoming in(*owner_);
  while (co_await serve_one(in)) {
  }
}

server_connection::awaitable<bool> server_connection::serve_one(incoming& in) {
  in.begin_request();
  if (finishing_ || closed_) co_return false;
  if (in.buffer.size() == 0) {
    enter(stage::idle);
    set_deadline(owner_->limits.idle_timeout);
    const auto [failed] = co_await socket_.async_wait(socket_type::wait_read, as_values);
    if (failed || expired_ || closed_) co_return false;
  }
  const bool header_complete = co_await read_header(in);
  if (!header_complete) co_return false;
  const auto& header = in.parser->get();
  if (const auto why = objection(header); !why.empty()) co_return co_await refuse(failure(400, "bad_request", why), in);
  request r{.method = std::string(header.method_string()),
            .target = std::string(header.target()),
            .path = {},
            .query = {},
            .headers = {},
            .body = {},
            .peer = peer_,
            .label = label_,
            .params = {}};
  // Now and not later: Beast puts the trailer fields of a chunked body among them, which RFC 9110, 6.5.1 forbids.
  for (const auto& field : header)
    r.headers.add(std::string(field.name_string()), std::string(field.value()));
  if (!split_target(r)) co_return co_await refuse(failure(400, "bad_request", "the request target is no path"), in);
  const bool client_keeps = header.keep_alive();
  const bool body_complete = co_await read_body(in);
  if (!body_complete) co_return false;
  clear_deadline();
  r.body = std::move(in.parser->get().body());

  const response answer = co_await handled(std::move(r));
  if (closed_) co_return false;
  const bool keep_alive = client_keeps && !finishing_;
  const bool written = co_await write(answer, in, keep_alive);
  if (!written) co_return false;
  if (!keep_alive) co_await linger();
  co_return keep_alive;
}

server_connection::awaitable<bool> server_connection::read_header(incoming& in) {
  enter(stage::header);
  set_deadline(owner_->limits.header_timeout);
  const auto failed = co_await http::read_header(socket_, in.buffer, *in.parser, owner_->limits.max_header_bytes);
  if (closed_) co_return false;
  if (!failed) {
    in.version = in.parser->get().version();
    in.head = in.parser->get().method() == wire::verb::head;
    co_return true;
  }
  if (expired_) co_return co_await refuse(failure(408, "timed_out", "the header took too long to arrive"), in);
  if (failed == wire::error::header_limit || failed == wire::error::buffer_overflow)
    co_return co_await refuse(
        failure(431, "too_large", fmt::format("the header is larger than {} bytes", owner_->limits.max_header_bytes)),
        in);
  if (failed == wire::error::body_limit)
    co_return co_await refuse(
        failure(413, "too_large", fmt::format("the body is larger than {} bytes", owner_->limits.max_body_bytes)), in);
  if (failed == wire::error::end_of_stream || !is_http_error(failed)) co_return false;
  co_return co_await refuse(
      failure(400, "bad_request", fmt::format("this is no HTTP/1.1 request: {}", failed.message())), in);
}

server_connection::awaitable<bool> server_connection::read_body(incoming& in) {
  if (in.parser->is_done()) co_return true;
  enter(stage::body);
  set_deadline(owner_->limits.body_timeout);
  const auto announced = in.parser->content_length_remaining();
  if (!in.reserve_body(announced ? static_cast<std::size_t>(*announced) : owner_->limits.max_body_bytes))
    co_return co_await refuse(
        with_retry_after(failure(503, "busy", "too many request bodies are being read; try again"), 1), in);
  // RFC 9110, 10.1.1. An expectation that is not understood may be ignored.
  if (in.version == http_1_1 && equal_ignoring_case(in.parser->get()[wire::field::expect], "100-continue")) {
    constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [unwritten, sent] = co_await net::async_write(socket_, net::buffer(go_on), as_values);
    if (unwritten || closed_) co_return false;
  }
  const auto [failed, bytes] = co_await wire::async_read(socket_, in.buffer, *in.parser, as_values);
  if (closed_) co_return false;
  if (!failed) co_return true;
  if (expired_) co_return co_await refuse(failure(408, "timed_out", "the body took too long to arrive"), in);
  if (failed == wire::error::body_limit)
    co_return co_await refuse(
        failure(413, "too_large", fmt::format("the body is larger than {} bytes", owner_->limits.max_body_bytes)), in);
  if (!is_http_error(failed)) co_return false;
  co_return co_await refuse(failure(400, "bad_request", fmt::format("the body is malformed: {}", failed.message())),
                            in);
}

// -- the handler's turn -------------------------------------------------------

responder server_connection::make_responder() {
  return responder([core = owner_->core(), self = weak_from_this(), number = request_number_](response r) {
    const auto loop = core.lock();
    if (!loop) return;
    loop->post([self, number, r = std::move(r)]() mutable {
      if (const auto connection = self.lock()) connection->deliver(number, std::move(r));
    });
  });
}

void server_connection::deliver(std::uint64_t request_number, response r) {
  if (request_number != request_number_ || stage_ != stage::handling) return;
  answer_ = std::move(r);
  answer_came_.cancel();
}

server_connection::awaitable<response> server_connection::handled(request r) {
  enter(stage::handling);
  ++request_number_;
  answer_.reset();
  const auto target = r.method + " " + r.path;
  try {
    owner_->handle(std::move(r), make_responder());
  } catch (const std::exception& e) {
    log::failure("exception in a request handler", {{"request", target}, {"what", e.what()}});
  }
  answer_came_.expires_after(owner_->limits.handler_timeout);
  [[maybe_unused]] const auto [ignored] = co_await answer_came_.async_wait(as_values);
  if (answer_) co_return std::move(*answer_);
  if (!closed_) log::warn("no answer to a request in time", {{"request", target}});
  co_return with_retry_after(failure(503, "timed_out", "the daemon did not answer this request in time"), 1);
}

// -- answering ----------------------------------------------------------------

server_connection::awaitable<bool> server_connection::write(const response& r, const incoming& in, bool keep_alive) {
  wire::response<wire::span_body<const char>> message;
  const int status = r.status >= 200 && r.status <= 599 ? r.status : 500;
  message.result(static_cast<unsigned>(status));
  message.version(in.version);
  for (const auto& [name, value] : r.headers)
    message.insert(name, one_line(value));
  message.set(wire::field::date, http_date());
  if (message.find(wire::field::cache_control) == message.end()) message.set(wire::field::cache_control, "no-store");
  const bool bodiless = status == 204 || status == 304;
  if (!bodiless) {
    message.set(wire::field::content_type, one_line(r.content_type));
    message.body() = {r.body_view().data(), r.body_view().size()};
    message.content_length(r.body_view().size());
  }
  message.keep_alive(keep_alive);

  enter(stage::writing);
  set_deadline(owner_->limits.write_timeout);
  wire::response_serializer<wire::span_body<const char>> serializer(message);
  error_code failed;
  if (in.head) {
    std::tie(failed, std::ignore) = co_await wire::async_write_header(socket_, serializer, as_values);
  } else {
    std::tie(failed, std::ignore) = co_await wire::async_write(socket_, serializer, as_values);
  }
  co_return !failed && !closed_;
}

/// Answers a request that cannot be read to its end; what follows on this connection cannot be told apart any more, so
/// it closes.
server_connection::awaitable<bool> server_connection::refuse(const response& r, const incoming& in) {
  const bool written = co_await write(r, in, false);
  if (written) co_await linger();
  co_return false;
}

/// Closing while the client still sends would reset the connection and take our last answer back (RFC 9112, 9.6): says
/// that no more comes, then reads and forgets until the client closes.
server_connection::awaitable<void> server_connection::linger() {
  enter(stage::lingering);
  error_code ignored;
  socket_.shutdown(socket_type::shutdown_send, ignored);
  set_deadline(owner_->limits.linger_timeout);
  std::array<char, 4096> unread;
  while (!closed_ && !expired_) {
    const auto [failed, bytes] = co_await socket_.async_read_some(net::buffer(unread), as_values);
    if (failed) break;
  }
}

} // namespace townkeeper::http
