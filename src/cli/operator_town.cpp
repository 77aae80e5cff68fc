#include "cli/operator_town.hpp"

#include <utility>

#include "cli/town_transport.hpp"
#include "http/blocking_client.hpp"

namespace townkeeper::cli {
namespace {

constexpr auto token_variable = "GASTOWN_ADMIN_TOKEN";

} // namespace

operator_town::operator_town(config::town_settings settings, secret token)
    : settings_(std::move(settings))
    , token_(std::move(token)) {}

result<operator_town> operator_town::from(const configuration_flags& flags, const environment& env) {
  auto loaded = load_configuration(flags, env, true);
  if (!loaded) return loaded.error();
  if (const auto runnable = config::check_runnable(*loaded); !runnable) return runnable.error();
  const auto admin = env.find(token_variable);
  auto token = admin != env.end() && !admin->second.empty() ? secret(admin->second) : loaded->town.container_token;
  if (token.empty())
    return error{error_code::unauthorized, token_variable,
                 "is not set: export a token of scope admin (`townkeeper token mint --town " + loaded->town.id +
                     " --scope admin`)"};
  return operator_town(std::move(loaded->town), std::move(token));
}

result<town::answer_data> operator_town::call(const town::call& what) const {
  http::client_request request;
  request.method = what.method;
  request.url = town_base(settings_) + what.path;
  request.headers.add("Authorization", "Bearer " + token_.reveal());
  if (!what.body.empty()) request.headers.add("Content-Type", "application/json");
  request.body = what.body;
  request.connect_timeout = settings_.connect_timeout;
  request.total_timeout = settings_.request_timeout;
  const auto answer = http::send_and_wait(std::move(request), {.ca_file = settings_.ca_file});
  if (!answer) return answer.error();
  auto read = town::classify(what.route, static_cast<int>(answer->status), answer->body,
                             answer->headers.find("Retry-After").value_or(""));
  return std::move(read.data);
}

} // namespace townkeeper::cli
