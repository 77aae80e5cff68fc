#include "http/client.hpp"

#include <fmt/core.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "http/client_exchange.hpp"
#include "http/client_state.hpp"

namespace townkeeper::http {

namespace net = boost::asio;

// -- client_state -------------------------------------------------------------

client_state::client_state(const std::shared_ptr<io_core>& core, lookup_function l)
    : lookup(std::move(l))
    , context_(core->context)
    , core_(core)
    , sweep_(core->context) {}

result<void> client_state::prepare_tls(const std::filesystem::path& ca_file) {
  boost::system::error_code failed;
  ::SSL_CTX_set_min_proto_version(tls_.native_handle(), TLS1_2_VERSION);
  tls_.set_verify_mode(net::ssl::verify_peer);
  if (!ca_file.empty()) tls_.load_verify_file(ca_file.string(), failed);
  if (!failed) return {};
  return error{error_code::invalid_config, ca_file.string(),
               fmt::format("cannot read certificates (PEM) from this CA file: {}", failed.message())};
}

net::ssl::context& client_state::tls() {
  if (!system_trusted_) {
    boost::system::error_code nothing_trusted; // then no certificate verifies, and that is said
    tls_.set_default_verify_paths(nothing_trusted);
    system_trusted_ = true;
  }
  return tls_;
}

std::shared_ptr<client_connection> client_state::take(const destination& to) {
  for (auto each = kept_.end(); each != kept_.begin();) { // the latest first: the others may then grow old
    --each;
    if (each->to != to) continue;
    auto connection = std::move(each->connection);
    each = kept_.erase(each);
    if (connection->is_usable()) return connection;
  }
  return nullptr;
}

void client_state::keep(const destination& to, std::shared_ptr<client_connection> connection) {
  const auto same_host =
      std::count_if(kept_.begin(), kept_.end(), [&](const kept_connection& each) { return each.to == to; });
  if (static_cast<std::size_t>(same_host) >= client::max_kept_per_host) return;
  if (kept_.size() >= client::max_kept) kept_.pop_front();
  kept_.push_back({to, std::move(connection), std::chrono::steady_clock::now() + client::keep_for});
  if (kept_.size() == 1) drop_old_ones();
}

void client_state::drop_old_ones() {
  const auto now = std::chrono::steady_clock::now();
  while (!kept_.empty() && kept_.front().until <= now)
    kept_.pop_front();
  if (kept_.empty()) return;
  sweep_.expires_at(kept_.front().until);
  sweep_.async_wait([self = weak_from_this()](boost::system::error_code cancelled) {
    if (const auto state = self.lock(); state && !cancelled) state->drop_old_ones();
  });
}

void client_state::close() {
  const auto requests = under_way; // finishing removes from the original
  for (const auto& each : requests)
    each->finish(error{error_code::cancelled, {}, "the HTTP client was closed before the answer came"});
  kept_.clear();
  sweep_.cancel();
}

// -- client -------------------------------------------------------------------

result<std::unique_ptr<client>> client::create(io_thread& io, client_options options) {
  auto state = std::make_shared<client_state>(io.core(), std::move(options.lookup));
  if (const auto ready = state->prepare_tls(options.ca_file); !ready) return ready.error();
  return std::unique_ptr<client>(new client(io, std::move(state)));
}

client::client(io_thread& io, std::shared_ptr<client_state> state)
    : io_(io)
    , state_(std::move(state)) {}

client::~client() {
  io_.run_and_wait([this] { state_->close(); });
}

void client::send(client_request r, callback done) {
  const auto exchange = std::make_shared<client_exchange>(state_, std::move(r), std::move(done));
  if (!io_.post([exchange] { exchange->start(); })) exchange->refuse();
}

} // namespace townkeeper::http
