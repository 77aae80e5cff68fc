#include "cli/actor_configs.hpp"

#include <algorithm>
#include <random>
#include <thread>

#include "cli/version.hpp"
#include "cli/workspace.hpp"
#include "core/wall_clock.hpp"

namespace townkeeper::cli {
namespace {

constexpr std::chrono::seconds agents_margin{5};    // after SIGKILL, for the last output and the words about it
constexpr std::chrono::seconds transfer_margin{30}; // a fetch ends itself at its own limit

std::uint64_t random_seed() {
  std::random_device source;
  return (std::uint64_t{source()} << 32) | source();
}

git::recovery_limits recovery_limits(const config::protect_settings& protect) {
  git::recovery_limits out;
  out.file_bytes = static_cast<std::int64_t>(protect.file_limit_bytes);
  out.point_bytes = static_cast<std::int64_t>(protect.point_limit_bytes);
  out.untracked_files = protect.untracked_limit;
  out.include = protect.include;
  return out;
}

/// What is the same for every rig's saver.
saver_config saver_settings(const config::config& settings, const rig_config& rig) {
  saver_config out;
  out.town_id = settings.town.id;
  out.seq = std::make_shared<std::atomic<std::int64_t>>(0);
  out.limits = recovery_limits(settings.protect);
  out.transfer = rig.transfer;
  out.urls = rig.urls;
  out.ca_file = rig.ca_file;
  out.push_interval = settings.protect.push_interval;
  out.wall_clock = wall_clock;
  return out;
}

keeper_config keeper_settings(const config::protect_settings& protect) {
  keeper_config out;
  out.quiet = protect.quiet;
  out.latest = protect.latest;
  out.poll_interval = protect.poll_interval;
  out.first_retry = protect.backoff_first;
  out.max_retry = protect.backoff_max;
  return out;
}

retry_policy retries(const config::restore_settings& restore) {
  return {restore.attempts, restore.backoff_first, restore.backoff_max, restore.retry_failed, restore.no_byte_limit};
}

} // namespace

town_link_config town_link_settings(const daemon_facts& facts) {
  const auto& town = facts.settings.town;
  town_link_config out;
  out.instance_id = facts.instance_id;
  out.version = version;
  out.started_at = facts.started_at;
  out.warm_disk = facts.warm_disk;
  out.control_url = facts.control_url;
  out.control_token = facts.control_token;
  out.container_token = town.container_token;
  out.retry_first = town.retry_first;
  out.retry_max = town.retry_max;
  out.heartbeat_interval = town.heartbeat_interval;
  out.seed = random_seed();
  return out;
}

health_config health_settings(const daemon_facts& facts) {
  health_config out;
  out.instance_id = facts.instance_id;
  out.version = version;
  out.wall_clock = wall_clock;
  return out;
}

git_executor_config git_executor_settings(const config::config& settings) {
  git_executor_config out;
  out.network_workers = settings.restore.network_jobs;
  out.disk_workers =
      settings.restore.disk_jobs > 0 ? settings.restore.disk_jobs : std::max(1U, std::thread::hardware_concurrency());
  out.network_deadline = settings.git.attempt_timeout + transfer_margin;
  out.push_workers = settings.restore.network_jobs;
  out.push_deadline = out.network_deadline;
  out.snapshot_workers = std::max(2U, std::thread::hardware_concurrency());
  return out;
}

supervisor_config supervisor_settings(const daemon_facts& facts) {
  const auto& settings = facts.settings;
  const workspace_layout layout{settings.workspace};
  supervisor_config out;
  out.rigs_directory = layout.rigs();
  out.supervision = {settings.supervision.intensity, settings.supervision.window, settings.supervision.backoff_first,
                     settings.supervision.backoff_max, settings.supervision.retry_failed};
  out.protect = settings.protect.enabled;
  out.save_deadline = settings.protect.save_deadline;
  out.drain_limit = settings.agents.drain_limit;
  out.seed = random_seed();

  out.rig.town_id = settings.town.id;
  out.rig.transfer = {settings.git.connect_timeout, settings.git.stall_timeout, settings.git.attempt_timeout};
  out.rig.urls = {settings.git.allow_file, settings.git.allow_http};
  out.rig.ca_file = settings.git.ca_file.string();
  out.rig.retry = retries(settings.restore);
  if (!settings.git.token.empty()) out.rig.fallback = git::credentials{settings.git.username, settings.git.token};
  out.worktree.retry = out.rig.retry;
  out.saver = saver_settings(settings, out.rig);
  out.keeper = keeper_settings(settings.protect);

  out.agent.town_id = settings.town.id;
  out.agent.state_directory = layout.agents();
  out.agent.socket = facts.socket_directory;
  out.agent.command_directory = layout.commands();
  out.agent.executable = facts.executable;
  out.agent.command = settings.agents.command;
  out.agent.passed_environment = facts.passed_environment;
  out.agent.stop_grace = settings.agents.stop_grace;
  out.agent.wall_clock = wall_clock;
  return out;
}

http::server_limits server_limits(const config::http_settings& http) {
  http::server_limits out;
  out.max_connections = http.max_connections;
  out.max_header_bytes = http.header_limit_bytes;
  out.max_body_bytes = http.body_limit_bytes;
  out.max_body_bytes_together = std::max<std::size_t>(out.max_body_bytes_together, 2 * http.body_limit_bytes);
  out.header_timeout = http.header_timeout;
  out.idle_timeout = http.idle_timeout;
  return out;
}

std::chrono::milliseconds shutdown_limit(const config::config& settings) {
  const auto saves = settings.protect.enabled ? 2 * settings.protect.save_deadline : std::chrono::milliseconds{0};
  return settings.agents.drain_limit + saves + settings.agents.stop_grace + 3 * agents_margin;
}

} // namespace townkeeper::cli
