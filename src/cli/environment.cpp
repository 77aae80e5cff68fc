#include "cli/environment.hpp"

#include <unistd.h>

#include <string_view>
#include <utility>

extern char** environ; // NOLINT(readability-redundant-declaration)

namespace townkeeper::cli {

environment read_environment() {
  environment all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (const auto equals = text.find('='); equals != std::string_view::npos)
      all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

result<config::config> load_configuration(const configuration_flags& flags, environment env, bool in_agent) {
  if (in_agent) // what agent_environment.cpp adds
    for (const auto* name :
         {"TOWNKEEPER_SOCKET", "TOWNKEEPER_PRIME_FILE", "TOWNKEEPER_PROMPT_FILE", "TOWNKEEPER_SYSTEM_PROMPT_FILE"})
      env.erase(name);
  return config::load({flags.file, std::move(env), flags.flags});
}

std::map<std::string, std::string> passed_on(const environment& env, const std::vector<std::string>& names) {
  std::map<std::string, std::string> out;
  for (const auto& name : names)
    if (const auto found = env.find(name); found != env.end()) out.insert(*found);
  return out;
}

} // namespace townkeeper::cli
