#include "cli/daemon_client.hpp"

#include <utility>

#include "http/blocking_client.hpp"

namespace townkeeper::cli {

result<control_address> find_daemon(const std::filesystem::path& workspace) {
  return read_control_file(workspace_layout{workspace}.control_file());
}

result<http::client_response> ask_daemon(const control_address& daemon, std::string method, const std::string& path,
                                         const secret& token, std::string body, std::chrono::milliseconds limit) {
  http::client_request request;
  request.method = std::move(method);
  request.url = daemon.url + path;
  if (!token.empty()) request.headers.add("Authorization", "Bearer " + token.reveal());
  if (!body.empty()) request.headers.add("Content-Type", "application/json");
  request.body = std::move(body);
  request.connect_timeout = std::min(request.connect_timeout, limit);
  request.total_timeout = limit;
  auto answer = http::send_and_wait(std::move(request));
  if (answer) return answer;
  auto why = answer.error();
  return error{why.code, daemon.url,
               "the daemon (pid " + std::to_string(daemon.pid) + ") does not answer: " + why.message};
}

} // namespace townkeeper::cli
