#include "cli/agent_client.hpp"

#include <cstdlib>
#include <utility>

#include "http/blocking_client.hpp"
#include "town/answer.hpp"

namespace townkeeper::cli {
namespace {

/// Longer than the daemon tries to reach the town for an agent.
constexpr std::chrono::seconds call_limit{60};

} // namespace

result<std::filesystem::path> agent_socket() {
  const auto* path = std::getenv(socket_variable);
  if (path != nullptr && *path != '\0') return std::filesystem::path(path);
  return error{error_code::unavailable, socket_variable,
               "is not set: this command is for the agents that townkeeper started, each of which has it"};
}

result<std::string> call_daemon(const std::filesystem::path& socket, std::string method, const std::string& target,
                                std::string body) {
  http::client_request request;
  request.method = std::move(method);
  request.url = "http://townkeeper" + target;
  if (!body.empty()) request.headers.add("Content-Type", "application/json");
  request.body = std::move(body);
  request.unix_socket = socket;
  request.total_timeout = call_limit;
  const auto answer = http::send_and_wait(std::move(request));
  if (!answer) return answer.error();
  const auto heard = town::classify(target.substr(1, target.find('?') - 1), static_cast<int>(answer->status),
                                    answer->body, answer->headers.find("Retry-After").value_or(""));
  if (!heard.data) return heard.data.error();
  return std::string(heard.data->text());
}

} // namespace townkeeper::cli
