#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>
#include <thread>

#include "cli/actor_configs.hpp"
#include "cli/actor_gateway.hpp"
#include "cli/commands.hpp"
#include "cli/daemon_client.hpp"
#include "cli/environment.hpp"
#include "cli/exit_code.hpp"
#include "cli/point_text.hpp"
#include "town/answer.hpp"

/// `townkeeper snapshot` and `townkeeper drain`.
namespace townkeeper::cli {
namespace {

constexpr std::chrono::seconds answer_limit{10};
constexpr std::chrono::milliseconds look_interval{100};

error no_control_token(const std::string& remedy) {
  return {error_code::unauthorized, "control.token",
          "is not known here, and the daemon asks for it: " + remedy +
              " (TOWNKEEPER_CONTROL_TOKEN for the daemon and for this command)"};
}

/// 202, or a SIGTERM where the control token is not known: who may signal the daemon may end it.
result<void> tell_to_drain(const control_address& daemon, const secret& token) {
  if (token.empty()) {
    if (::kill(daemon.pid, SIGTERM) == 0) return {};
    return error{error_code::unavailable, "daemon",
                 "pid " + std::to_string(daemon.pid) + " cannot be signalled: " + std::strerror(errno)};
  }
  const auto answer = ask_daemon(daemon, "POST", "/drain", token, "{}", answer_limit);
  if (!answer) return answer.error();
  const auto read = town::classify("drain", static_cast<int>(answer->status), answer->body, {});
  return read.data ? result<void>{} : result<void>{read.data.error()};
}

bool has_ended(const std::filesystem::path& workspace, const control_address& daemon) {
  const auto now = find_daemon(workspace);
  return !now || now->pid != daemon.pid || (::kill(daemon.pid, 0) != 0 && errno == ESRCH);
}

} // namespace

int save_now(const snapshot_command& what) {
  const auto loaded = load_configuration(what.configuration, read_environment(), true);
  if (!loaded) return fail(loaded.error(), exit_code_of_configuration(loaded.error()));
  const auto daemon = find_daemon(loaded->workspace);
  if (!daemon) return fail(daemon.error());
  if (loaded->control.token.empty()) return fail(no_control_token("configure one"));
  const auto answer = ask_daemon(*daemon, "POST", "/snapshot", loaded->control.token, snapshot_body(what.agent_id),
                                 actor_gateway::snapshot_limit);
  if (!answer) return fail(answer.error());
  const auto told = read_snapshot_answer(static_cast<int>(answer->status), answer->body);
  if (!told) return fail(told.error());
  std::cout << saved_text(told->points) << std::flush;
  for (const auto& why : told->unsaved)
    fail(why, unsaved);
  return told->unsaved.empty() ? done : unsaved;
}

int drain(const drain_command& what) {
  const auto loaded = load_configuration(what.configuration, read_environment(), true);
  if (!loaded) return fail(loaded.error(), exit_code_of_configuration(loaded.error()));
  const auto daemon = find_daemon(loaded->workspace);
  if (!daemon) return fail(daemon.error());
  if (const auto told = tell_to_drain(*daemon, loaded->control.token); !told) return fail(told.error());
  if (!what.wait) return done;
  const auto until = std::chrono::steady_clock::now() + shutdown_limit(*loaded) + answer_limit;
  while (!has_ended(loaded->workspace, *daemon)) {
    if (std::chrono::steady_clock::now() >= until)
      return fail({error_code::timed_out, "daemon", "pid " + std::to_string(daemon->pid) + " has not ended in time"});
    std::this_thread::sleep_for(look_interval);
  }
  std::cout << "the daemon (pid " << daemon->pid << ") has ended\n" << std::flush;
  return done;
}

} // namespace townkeeper::cli
