#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "config/config.hpp"
#include "core/secret.hpp"

namespace townkeeper::cli {

/// What is settled about this daemon before its first actor is spawned.
struct daemon_facts {
  config::config settings;
  std::string instance_id; ///< random, of this process
  std::string started_at;
  std::string control_url; ///< said to the town
  secret control_token;
  bool warm_disk = false;
  std::filesystem::path socket_directory;
  std::filesystem::path executable; ///< townkeeper itself
  std::map<std::string, std::string> passed_environment;
};

/// Where the control server is reached: `control.url` where it is set, else the listen address with the bound port,
/// loopback in place of a wildcard.
std::string control_url(const config::config& settings, std::uint16_t bound_port);

/// The same for this machine alone, whatever `control.url` says.
std::string local_url(const config::listen_address& listen, std::uint16_t bound_port);

/// `HOST:PORT` as the server takes it.
std::string listen_text(const config::listen_address& listen);

} // namespace townkeeper::cli
