#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "actors/town_link.hpp"
#include "config/config.hpp"
#include "core/secret.hpp"
#include "http/client.hpp"

namespace townkeeper::cli {

/// `{api_url}/api/towns/{townId}`: what every path of the contract is appended to.
std::string town_base(const config::town_settings& town);

/// The container token that was sent last: what the town link has now, for `POST /refresh-token` to compare with.
/// Thread-safe.
class current_token {
public:
  void set(const secret& token);
  /// In constant time; nothing equals a token that is not there.
  bool equals(std::string_view token) const;

private:
  mutable std::mutex mutex_;
  secret token_;
};

/// The town over HTTP: `{api_url}/api/towns/{townId}{path}` with token, epoch and idempotency key. Thread-safe.
class http_town {
public:
  /// `invalid_config` where the CA file cannot be read. `io` must outlive the object.
  static result<std::unique_ptr<http_town>> create(http::io_thread& io, const config::town_settings& town,
                                                   std::shared_ptr<current_token> token);

  /// Calls every `answered` that has not been called (`cancelled`).
  ~http_town();
  http_town(const http_town&) = delete;
  http_town& operator=(const http_town&) = delete;

  void send(town_request request, std::function<void(town_answered)> answered);

  /// Waits until no request is under way; false at the limit.
  bool wait_until_idle(std::chrono::milliseconds limit);

private:
  http_town(std::unique_ptr<http::client> client, const config::town_settings& town,
            std::shared_ptr<current_token> token);
  void ended();

  std::string base_;
  std::chrono::milliseconds connect_timeout_, request_timeout_;
  std::shared_ptr<current_token> token_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t under_way_ = 0;
  std::unique_ptr<http::client> client_; ///< last: its end calls back
};

/// What the HTTP client heard, as the town link takes it.
town_answered heard(result<http::client_response> answer);

} // namespace townkeeper::cli
