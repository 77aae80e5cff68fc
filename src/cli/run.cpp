#include "cli/run.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/commands.hpp"
#include "cli/daemon.hpp"
#include "cli/environment.hpp"
#include "cli/exit_code.hpp"
#include "cli/own_process.hpp"
#include "cli/termination_signals.hpp"
#include "core/fault_point.hpp"
#include "core/heap.hpp"
#include "core/ids.hpp"
#include "core/log.hpp"
#include "core/wall_clock.hpp"

namespace townkeeper::cli {
namespace {

constexpr std::size_t secret_bytes = 32;
constexpr std::size_t instance_bytes = 16;

void configure_log(const config::log_settings& settings) {
  const auto level = settings.level == config::log_level::debug  ? log::level::debug
                     : settings.level == config::log_level::info ? log::level::info
                     : settings.level == config::log_level::warn ? log::level::warn
                                                                 : log::level::error;
  log::configure(settings.format == config::log_format::text ? log::format::text : log::format::json, level);
}

/// Connections, packs and sockets together are more than the usual 1,024.
void raise_descriptor_limit() {
  constexpr rlim_t wanted = 16'384;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

#ifdef TOWNKEEPER_FAULT_POINTS
result<void> arm_fault_points(const environment& env) {
  const auto value = [&](const char* name) {
    const auto found = env.find(name);
    return found == env.end() ? std::string() : found->second;
  };
  return townkeeper::arm_fault_points(value(fault_points_variable), value(fault_log_variable));
}
#endif

int refuse(const error& why) {
  log::failure("cannot start", {{"error", to_string(why)}});
  return exit_code_of(why);
}

} // namespace

int run(const run_command& what) {
  bound_the_heap();
  keep_memory_private();
  forbid_writing_by_others();
  const auto env = read_environment();
  auto loaded = load_configuration(what.configuration, env);
  if (!loaded) return fail(loaded.error(), exit_code_of_configuration(loaded.error()));
  if (const auto runnable = config::check_runnable(*loaded); !runnable) return fail(runnable.error());
#ifdef TOWNKEEPER_FAULT_POINTS
  if (const auto armed = arm_fault_points(env); !armed) return fail(armed.error());
#endif
  configure_log(loaded->log);
  raise_descriptor_limit();
  termination_signals signals;
  auto workspace = owned_workspace::take(loaded->workspace);
  if (!workspace) return refuse(workspace.error());

  daemon_facts facts;
  facts.instance_id = random_hex(instance_bytes);
  facts.started_at = wall_clock();
  facts.control_token = loaded->control.token.empty() ? secret(random_hex(secret_bytes)) : loaded->control.token;
  facts.warm_disk = workspace->warm();
  std::error_code failed;
  facts.executable = std::filesystem::read_symlink("/proc/self/exe", failed);
  if (failed) return refuse({error_code::disk, "/proc/self/exe", "cannot be read: " + failed.message()});
  facts.passed_environment = passed_on(env, loaded->agents.environment);
  facts.settings = std::move(*loaded);

  daemon keeper(std::move(facts), std::move(*workspace), signals);
  if (const auto up = keeper.start(); !up) return refuse(up.error());
  return keeper.wait();
}

} // namespace townkeeper::cli
