#pragma once

#include <memory>

#include "actors/git_executor.hpp"
#include "actors/health.hpp"
#include "actors/supervisor.hpp"
#include "actors/town_link.hpp"
#include "cli/daemon_facts.hpp"
#include "http/server.hpp"

/// The configuration as each actor takes it. What is not a setting (handles, callbacks) is filled in by the daemon.
namespace townkeeper::cli {

town_link_config town_link_settings(const daemon_facts& facts);
health_config health_settings(const daemon_facts& facts);
git_executor_config git_executor_settings(const config::config& settings);
supervisor_config supervisor_settings(const daemon_facts& facts);
http::server_limits server_limits(const config::http_settings& http);

/// How long all of an end may take from the first signal: a save, the agents, the save of the difference, then the
/// words to the town.
std::chrono::milliseconds shutdown_limit(const config::config& settings);

} // namespace townkeeper::cli
