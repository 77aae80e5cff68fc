#include "cli/daemon.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "cli/actor_configs.hpp"
#include "cli/agent_routes.hpp"
#include "cli/control_routes.hpp"
#include "cli/terminator.hpp"
#include "cli/version.hpp"
#include "core/log.hpp"
#include "git/jobs.hpp"
#include "town/health_document.hpp"

namespace townkeeper::cli {
namespace {

constexpr std::chrono::seconds leftovers_grace{5};
constexpr std::chrono::seconds actors_limit{8}; ///< for git jobs to see that they are no longer wanted
constexpr std::chrono::seconds town_limit{2};   ///< for the last words to the town
constexpr std::chrono::milliseconds answers_limit{
    250}; ///< for answers that are on their way; nothing is asked any more
constexpr std::chrono::seconds teardown_limit{15};
constexpr std::chrono::milliseconds drain_poll{5'000};

} // namespace

daemon::daemon(daemon_facts facts, owned_workspace workspace, termination_signals& signals)
    : facts_(std::move(facts))
    , workspace_(std::move(workspace))
    , signals_(signals)
    , published_(std::make_shared<published_health>())
    , metrics_(std::make_shared<metrics::daemon_metrics>(version))
    , container_token_(std::make_shared<current_token>())
    , gateway_(std::make_shared<actor_gateway>()) {
  container_token_->set(facts_.settings.town.container_token);
  // What /health says until the health actor has its first word.
  town::health_document booting;
  booting.instance_id = facts_.instance_id;
  booting.started_at = facts_.started_at;
  auto first = std::make_shared<health_snapshot>();
  first->document = std::make_shared<const std::string>(town::encode(booting));
  published_->publish(std::move(first));
}

daemon::~daemon() {
  const terminator last_resort(teardown_limit, exit_code_);
  if (control_) control_->stop(answers_limit);
  sockets_.reset();
  town_.reset();
  control_.reset();
  io_.stop();
  processes_.reset();
  // Last: CAF keeps its logger in every thread that ever spawned an actor, and ~actor_system waits until all have let
  // it go.
  actors_.reset();
  std::error_code ignored;
  if (control_file_written_) std::filesystem::remove(workspace_.layout().control_file(), ignored);
}

// -- up ---------------------------------------------------------------------------------------------------------------

result<void> daemon::start() {
  if (auto up = listen(); !up) return up;
  if (auto ready = prepare_disk(); !ready) return ready;
  spawn();
  return {};
}

result<void> daemon::listen() {
  io_.start();
  const auto limits = server_limits(facts_.settings.http);
  control_ = std::make_unique<http::server>(
      io_,
      control_routes({facts_.settings.town.id, facts_.control_token, published_, metrics_, container_token_, gateway_}),
      limits);
  if (auto bound = control_->listen_tcp(listen_text(facts_.settings.listen)); !bound) {
    auto why = bound.error();
    if (why.code == error_code::conflict || why.code == error_code::invalid_argument)
      why = {error_code::invalid_config, "listen", to_string(why)};
    return why;
  }
  const auto port = control_->bound_port();
  facts_.control_url = control_url(facts_.settings, port);
  const control_address local{static_cast<int>(::getpid()), local_url(facts_.settings.listen, port)};
  if (auto written = write_control_file(workspace_.layout().control_file(), local); !written) return written;
  control_file_written_ = true;
  log::info("listening", {{"url", local.url}, {"control_url", facts_.control_url}, {"instance", facts_.instance_id}});

  auto town = http_town::create(io_, facts_.settings.town, container_token_);
  if (!town) return town.error();
  town_ = std::move(*town);
  auto sockets = agent_sockets::create(io_, workspace_.layout().sockets(), agent_routes(gateway_), limits);
  if (!sockets) return sockets.error();
  sockets_ = std::move(*sockets);
  facts_.socket_directory = sockets_->directory();
  return {};
}

result<void> daemon::prepare_disk() {
  const auto& layout = workspace_.layout();
  auto ended = end_leftovers(layout.processes(),
                             std::min<std::chrono::milliseconds>(facts_.settings.agents.stop_grace, leftovers_grace));
  if (!ended) return ended.error();
  for (const auto& each : *ended)
    log::warn("ended an agent that a dead predecessor left running",
              {{"agent", each.agent_id}, {"pid", std::to_string(each.pid)}});
  agent_processes_options options{layout.processes(), facts_.settings.agents.log_max_bytes,
                                  facts_.settings.agents.log_files};
  auto processes = agent_processes::create(std::move(options));
  if (!processes) return processes.error();
  processes_ = std::move(*processes);
  if (auto linked = link_commands(layout.commands(), facts_.executable); !linked) return linked;
  auto git = git::initialise_library({facts_.settings.git.ca_file.string()});
  if (!git && git.error().code == error_code::tls_failed)
    return error{error_code::invalid_config, "git.ca_file", to_string(git.error())};
  return git;
}

void daemon::spawn() {
  actor_surroundings around;
  around.published = published_;
  around.metrics = metrics_;
  around.runner = std::make_shared<const process_runner>(processes_->runner());
  around.town = town_.get();
  around.agent_known = [sockets = sockets_.get()](const std::string& rig_id, const std::string& agent_id,
                                                  bool present) { sockets->set_known(rig_id, agent_id, present); };
  actors_ = std::make_unique<actor_threads>(facts_, around, *gateway_);
}

// -- down -------------------------------------------------------------------------------------------------------------

int daemon::wait() {
  const bool supervisor_ended = wait_for_supervisor();
  if (!supervisor_ended) log::failure("the supervisor did not end in time");
  exit_code_ = supervisor_ended ? actors_->exit_code() : int{bug};
  if (!actors_->end(actors_limit)) leave_by_force("an actor did not end: a git job hangs");
  town_->wait_until_idle(town_limit);
  log::info("ended", {{"exit_code", std::to_string(exit_code_)}});
  return exit_code_;
}

/// False where it has not ended when all its limits are over.
bool daemon::wait_for_supervisor() {
  using clock = std::chrono::steady_clock;
  std::optional<clock::time_point> until;
  for (;;) {
    std::array<pollfd, 2> waiting{{{signals_.descriptor(), POLLIN, 0}, {actors_->ended_descriptor(), POLLIN, 0}}};
    auto timeout_ms = static_cast<int>(drain_poll.count());
    // POST /drain begins the same end without a signal.
    if (!until && published_->read()->phase == town::town_phase::draining)
      until = clock::now() + shutdown_limit(facts_.settings);
    if (until) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*until - clock::now());
      if (left.count() <= 0) return false;
      timeout_ms = static_cast<int>(std::min<std::int64_t>(left.count() + 1, 60'000));
    }
    ::poll(waiting.data(), waiting.size(), timeout_ms);
    if (waiting[1].revents != 0) return true;
    while (const auto signal = signals_.next()) {
      if (!until) until = clock::now() + shutdown_limit(facts_.settings);
      actors_->shut_down(*signal);
    }
  }
}

void daemon::leave_by_force(const char* why) {
  log::failure("leaving by force", {{"because", why}, {"exit_code", std::to_string(exit_code_)}});
  // What a destructor would do and cannot: agents die with the process (PR_SET_PDEATHSIG).
  ::unlink(workspace_.layout().control_file().c_str());
  std::_Exit(exit_code_);
}

} // namespace townkeeper::cli
