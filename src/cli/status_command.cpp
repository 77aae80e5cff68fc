#include <chrono>
#include <iostream>

#include "cli/commands.hpp"
#include "cli/environment.hpp"
#include "cli/exit_code.hpp"
#include "cli/status_table.hpp"
#include "cli/workspace.hpp"
#include "http/blocking_client.hpp"

namespace townkeeper::cli {
namespace {

constexpr std::chrono::seconds answer_limit{5};

result<std::string> ask_daemon(const std::filesystem::path& workspace) {
  const auto address = read_control_file(workspace_layout{workspace}.control_file());
  if (!address) return address.error();
  http::client_request request;
  request.url = address->url + "/health";
  request.connect_timeout = request.total_timeout = answer_limit;
  const auto answer = http::send_and_wait(std::move(request));
  if (!answer)
    return error{error_code::unavailable, address->url,
                 "the daemon (pid " + std::to_string(address->pid) + ") does not answer: " + answer.error().message};
  constexpr unsigned ok = 200;
  if (answer->status != ok)
    return error{error_code::unavailable, address->url, "answered /health with " + std::to_string(answer->status)};
  return answer->body;
}

} // namespace

int show_status(const status_command& what) {
  const auto loaded = load_configuration(what.configuration, read_environment(), true);
  if (!loaded) return fail(loaded.error(), exit_code_of_configuration(loaded.error()));
  const auto document = ask_daemon(loaded->workspace);
  if (!document) return fail(document.error());
  if (what.json) {
    std::cout << *document << '\n' << std::flush;
    return done;
  }
  const auto table = status_table(*document);
  if (!table) return fail(table.error(), unavailable);
  std::cout << *table << std::flush;
  return done;
}

} // namespace townkeeper::cli
