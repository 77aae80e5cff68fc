#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "config/config.hpp"

namespace townkeeper::cli {

using environment = std::map<std::string, std::string, std::less<>>;

/// The whole environment of this process.
environment read_environment();

/// Flags, environment and file together. With `in_agent`, the variables that an agent's environment has are none of
/// ours: its commands may be called there.
result<config::config> load_configuration(const configuration_flags& flags, environment env, bool in_agent = false);

/// Of `env`, what agents may have (`agents.environment`).
std::map<std::string, std::string> passed_on(const environment& env, const std::vector<std::string>& names);

} // namespace townkeeper::cli
