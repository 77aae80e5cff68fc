#pragma once

#include <memory>

#include "cli/actor_threads.hpp"
#include "cli/agent_sockets.hpp"
#include "cli/daemon_facts.hpp"
#include "cli/exit_code.hpp"
#include "cli/termination_signals.hpp"
#include "cli/workspace.hpp"
#include "http/server.hpp"
#include "process/agent_processes.hpp"

namespace townkeeper::cli {

/// The daemon, put together in the order of DESIGN.md, "Waking", and taken apart in the opposite one: actors, then
/// HTTP, then processes. Members stand in that order.
class daemon {
public:
  daemon(daemon_facts facts, owned_workspace workspace, termination_signals& signals);
  ~daemon();
  daemon(const daemon&) = delete;
  daemon& operator=(const daemon&) = delete;

  /// Until everything is up: from the first moment on probes are answered.
  result<void> start();

  /// Until a signal has ended it, or a crash; the exit code. Leaves the process by force where something hangs.
  int wait();

private:
  result<void> listen();
  result<void> prepare_disk();
  void spawn();
  bool wait_for_supervisor();
  [[noreturn]] void leave_by_force(const char* why);

  daemon_facts facts_;
  owned_workspace workspace_;
  termination_signals& signals_;
  std::shared_ptr<published_health> published_;
  std::shared_ptr<metrics::daemon_metrics> metrics_;
  std::shared_ptr<current_token> container_token_;
  std::shared_ptr<actor_gateway> gateway_;
  std::unique_ptr<agent_processes> processes_;
  http::io_thread io_;
  std::unique_ptr<http::server> control_;
  std::unique_ptr<agent_sockets> sockets_;
  std::unique_ptr<http_town> town_;
  std::unique_ptr<actor_threads> actors_;
  bool control_file_written_ = false;
  int exit_code_ = bug; ///< until it is known better
};

} // namespace townkeeper::cli
