#include "http/client_exchange.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fmt/core.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

#include "core/log.hpp"

namespace townkeeper::http {
namespace {

namespace net = boost::asio;

constexpr auto as_values = net::as_tuple(net::use_awaitable);

/// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  const auto allowed = [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           marks.find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

bool is_ours_to_write(std::string_view name) {
  constexpr std::array<std::string_view, 5> names{"Host", "Content-Length", "Transfer-Encoding", "Connection",
                                                  "User-Agent"};
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view each) { return equal_ignoring_case(each, name); });
}

/// Why this request cannot be sent; empty where it can. Never says a header's value.
std::string objection(const client_request& r) {
  if (!is_token(r.method)) return "the method is no HTTP token";
  for (const auto& [name, value] : r.headers) {
    if (!is_token(name)) return "a header's name is no HTTP token";
    if (is_ours_to_write(name)) return fmt::format("the header {} is written by the client itself", name);
    if (!is_field_value(value)) return fmt::format("the value of the header {} holds a line break or NUL", name);
  }
  if (r.unix_socket.native().size() >= sizeof(sockaddr_un::sun_path)) return "the path of the Unix socket is too long";
  return {};
}

/// RFC 9110, 9.2.2.
bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

bool is_redirect(unsigned status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

} // namespace

client_exchange::client_exchange(std::shared_ptr<client_state> owner, client_request r, client::callback done)
    : owner_(std::move(owner))
    , request_(std::move(r))
    , done_(std::move(done))
    , total_(owner_->context())
    , connect_(owner_->context())
    , looked_up_(owner_->context()) {}

void client_exchange::start() {
  auto parsed = parse_url(request_.url);
  if (!parsed) return finish(parsed.error());
  url_ = std::move(*parsed);
  to_ = {url_.secure, url_.host, url_.port, request_.unix_socket.string()};
  object_ = fmt::format("{} {}", request_.method, url_.display());
  if (auto why = objection(request_); !why.empty())
    return finish(error{error_code::invalid_argument, url_.display(), std::move(why)});
  if (url_.secure && !to_.unix_socket.empty())
    return finish(error{error_code::invalid_argument, object_, "over a Unix socket write http://, not https://"});
  if (owner_->under_way.size() >= client::max_requests_at_once)
    return finish(error{error_code::unavailable, object_,
                        fmt::format("{} requests are under way already", client::max_requests_at_once)});
  owner_->under_way.insert(shared_from_this());
  finish_after(total_, request_.total_timeout, "no complete answer");
  net::co_spawn(
      owner_->context(), [self = shared_from_this()] { return self->run(); },
      [self = shared_from_this()](const std::exception_ptr& failed) {
        try {
          if (failed) std::rethrow_exception(failed);
        } catch (const std::exception& e) {
          log::failure("exception in an HTTP request", {{"request", self->object_}, {"what", e.what()}});
          self->finish(error{error_code::internal, self->object_, "the request failed inside the client"});
        }
      });
}

void client_exchange::refuse() {
  std::exchange(done_, nullptr)(error{error_code::cancelled, {}, "the HTTP client's thread has ended"});
}

void client_exchange::finish(result<client_response> r) {
  if (finished_) return;
  finished_ = true;
  total_.cancel();
  connect_.cancel();
  looked_up_.cancel();
  if (connection_) connection_->close();
  owner_->under_way.erase(shared_from_this());
  std::exchange(done_, nullptr)(std::move(r));
}

void client_exchange::finish_after(net::steady_timer& timer, std::chrono::milliseconds limit, std::string what) {
  timer.expires_after(limit);
  timer.async_wait([self = shared_from_this(), limit, what = std::move(what)](boost::system::error_code cancelled) {
    if (!cancelled)
      self->finish(error{error_code::timed_out, self->object_, fmt::format("{} within {} ms", what, limit.count())});
  });
}

net::awaitable<void> client_exchange::run() {
  for (bool again = false;; again = true) {
    connection_ = again ? nullptr : owner_->take(to_);
    const bool reused = connection_ != nullptr;
    if (!reused) {
      const auto connected = co_await connect();
      if (finished_) co_return;
      if (!connected) {
        finish(connected.error());
        co_return;
      }
    }
    const auto connection = connection_; // stays while it is in use, whoever finishes meanwhile
    auto outcome = co_await connection->exchange(request_, url_, object_);
    if (finished_) co_return;
    if (outcome.answer) {
      if (outcome.keep) owner_->keep(to_, std::exchange(connection_, nullptr));
      finish(checked(std::move(*outcome.answer)));
      co_return;
    }
    // A kept connection may have been closed by the server just as this request went out.
    const bool repeatable = !outcome.answer_began || is_idempotent(request_.method);
    if (reused && outcome.broken && repeatable) continue;
    finish(std::move(outcome.failure));
    co_return;
  }
}

net::awaitable<result<void>> client_exchange::connect() {
  finish_after(connect_, request_.connect_timeout, "no connection");
  const auto connection = std::make_shared<client_connection>(owner_->context());
  connection_ = connection;
  const auto found = co_await addresses();
  if (finished_ || !found) co_return finished_ ? result<void>() : result<void>(found.error());
  const auto connected = co_await connection->connect(to_, *found, to_.secure ? &owner_->tls() : nullptr, object_);
  connect_.cancel();
  co_return connected;
}

net::awaitable<result<std::vector<numeric_address>>> client_exchange::addresses() {
  boost::system::error_code not_an_address;
  net::ip::make_address(to_.host, not_an_address);
  if (!to_.unix_socket.empty() || !not_an_address) co_return std::vector<numeric_address>{to_.host};

  looked_up_.expires_at(net::steady_timer::time_point::max());
  look_up(owner_->lookup, to_.host, [core = owner_->core(), self = weak_from_this()](auto result_of_lookup) {
    const auto loop = core.lock();
    if (!loop) return;
    loop->post([self, found = std::move(result_of_lookup)]() mutable {
      const auto exchange = self.lock();
      if (!exchange) return;
      exchange->found_ = std::move(found);
      exchange->looked_up_.cancel();
    });
  });
  [[maybe_unused]] const auto [ignored] = co_await looked_up_.async_wait(as_values);
  if (!found_) co_return error{error_code::cancelled, object_, "the request ended during the name lookup"};
  co_return std::move(*found_);
}

/// A redirect that leaves the origin is an error, so that nobody takes its body for the answer or carries a token
/// there.
result<client_response> client_exchange::checked(client_response answer) const {
  const auto location = answer.headers.find("Location").value_or("");
  // RFC 3986, 4.2: a colon before any of these ends a scheme.
  const bool absolute = location.starts_with("//") ||
                        location.substr(0, location.find_first_of("/?#")).find(':') != std::string_view::npos;
  if (!is_redirect(answer.status) || !absolute) return answer;
  const auto there = parse_url(location);
  if (there && there->secure == url_.secure && there->host == url_.host && there->port == url_.port) return answer;
  return error{error_code::redirect_refused, object_,
               fmt::format("the server redirects to {}; correct the URL if that is where it lives",
                           there ? there->display() : "another place")};
}

} // namespace townkeeper::http
