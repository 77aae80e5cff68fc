#include <chrono>
#include <iostream>

#include "cli/commands.hpp"
#include "cli/daemon_client.hpp"
#include "cli/environment.hpp"
#include "cli/exit_code.hpp"
#include "cli/status_table.hpp"

namespace townkeeper::cli {
namespace {

constexpr std::chrono::seconds answer_limit{5};

result<std::string> read_health(const std::filesystem::path& workspace) {
  const auto daemon = find_daemon(workspace);
  if (!daemon) return daemon.error();
  const auto answer = ask_daemon(*daemon, "GET", "/health", {}, {}, answer_limit);
  if (!answer) return answer.error();
  constexpr unsigned ok = 200;
  if (answer->status != ok)
    return error{error_code::unavailable, daemon->url, "answered /health with " + std::to_string(answer->status)};
  return answer->body;
}

} // namespace

int show_status(const status_command& what) {
  const auto loaded = load_configuration(what.configuration, read_environment(), true);
  if (!loaded) return fail(loaded.error(), exit_code_of_configuration(loaded.error()));
  const auto document = read_health(loaded->workspace);
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
