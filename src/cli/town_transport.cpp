#include "cli/town_transport.hpp"
#include "core/fault_point.hpp"

#include <charconv>
#include <system_error>
#include <utility>

namespace townkeeper::cli {
namespace {

/// Whole seconds (RFC 9110, 10.2.3), at most an hour; a date would be on the town's clock.
std::optional<std::chrono::milliseconds> retry_after(const http::header_fields& headers) {
  constexpr std::chrono::seconds most{3600};
  const auto text = headers.find("Retry-After");
  if (!text) return std::nullopt;
  std::uint32_t seconds = 0;
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  if (failed != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return std::min(std::chrono::seconds{seconds}, most);
}

/// The errno with which telling the town fails.
int fails_before(std::string_view path) {
  if (path == "/container-boot") return fault_point("boot-told");
  if (path == "/container-ready") return fault_point("ready-told");
  if (path == "/container-heartbeat") return fault_point("heartbeat-told");
  if (path == "/container-eviction") return fault_point("eviction-told");
  if (path == "/container-drained") return fault_point("drained-told");
  if (path.ends_with("/recovery-point")) return fault_point("point-told");
  if (path.ends_with("/kept")) return fault_point("kept-point-told");
  if (path.ends_with("/completed")) return fault_point("completed-told");
  return 0;
}

/// The errno with which the town's answer is lost: it has done what it was told.
int fails_after(std::string_view path) {
  if (path == "/container-boot") return fault_point("boot-answered");
  if (path == "/container-ready") return fault_point("ready-answered");
  if (path == "/container-heartbeat") return fault_point("heartbeat-answered");
  if (path == "/container-eviction") return fault_point("eviction-answered");
  if (path == "/container-drained") return fault_point("drained-answered");
  if (path.ends_with("/recovery-point")) return fault_point("point-answered");
  if (path.ends_with("/kept")) return fault_point("kept-point-answered");
  if (path.ends_with("/completed")) return fault_point("completed-answered");
  return 0;
}

error broken(int error_number) {
  return {error_code::unavailable, "town", std::generic_category().message(error_number)};
}

} // namespace

std::string town_base(const config::town_settings& town) {
  auto api = town.api_url;
  while (api.ends_with('/'))
    api.pop_back();
  return api + "/api/towns/" + http::percent_encode(town.id);
}

// -- current_token ----------------------------------------------------------------------------------------------------

void current_token::set(const secret& token) {
  if (token.empty()) return;
  const std::lock_guard lock(mutex_);
  token_ = token;
}

bool current_token::equals(std::string_view token) const {
  const std::lock_guard lock(mutex_);
  return !token_.empty() && token_.equals(token);
}

// -- http_town --------------------------------------------------------------------------------------------------------

result<std::unique_ptr<http_town>> http_town::create(http::io_thread& io, const config::town_settings& town,
                                                     std::shared_ptr<current_token> token) {
  http::client_options options;
  options.ca_file = town.ca_file;
  auto client = http::client::create(io, std::move(options));
  if (!client) return client.error();
  return std::unique_ptr<http_town>(new http_town(std::move(*client), town, std::move(token)));
}

http_town::http_town(std::unique_ptr<http::client> client, const config::town_settings& town,
                     std::shared_ptr<current_token> token)
    : base_(town_base(town))
    , connect_timeout_(town.connect_timeout)
    , request_timeout_(town.request_timeout)
    , token_(std::move(token))
    , client_(std::move(client)) {}

http_town::~http_town() = default;

void http_town::send(town_request request, std::function<void(town_answered)> answered) {
  token_->set(request.token);
  http::client_request out;
  out.method = std::move(request.what.method);
  out.url = base_ + request.what.path;
  out.body = std::move(request.what.body);
  out.headers.add("Authorization", "Bearer " + request.token.reveal());
  if (request.epoch > 0) out.headers.add("X-Gastown-Epoch", std::to_string(request.epoch));
  if (!out.body.empty()) out.headers.add("Content-Type", "application/json");
  if (!request.what.idempotency_key.empty())
    out.headers.add("Idempotency-Key", std::move(request.what.idempotency_key));
  out.connect_timeout = connect_timeout_;
  out.total_timeout = request_timeout_;
  {
    const std::lock_guard lock(mutex_);
    ++under_way_;
  }
  if (const int failed = fails_before(request.what.path); failed != 0) {
    answered(heard(broken(failed)));
    ended();
    return;
  }
  client_->send(std::move(out), [this, path = std::move(request.what.path),
                                 answered = std::move(answered)](result<http::client_response> answer) {
    const int failed = answer ? fails_after(path) : 0;
    answered(heard(failed == 0 ? std::move(answer) : broken(failed)));
    ended();
  });
}

void http_town::ended() {
  const std::lock_guard lock(mutex_);
  if (--under_way_ == 0) idle_.notify_all();
}

bool http_town::wait_until_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [this] { return under_way_ == 0; });
}

town_answered heard(result<http::client_response> answer) {
  town_answered out;
  if (!answer) {
    out.failure = answer.error();
    return out;
  }
  out.status = static_cast<int>(answer->status);
  out.retry_after = retry_after(answer->headers);
  out.body = std::move(answer->body);
  return out;
}

} // namespace townkeeper::cli
