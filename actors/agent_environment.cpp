#include "actors/agent_environment.hpp"

#include <array>
#include <string_view>

namespace townkeeper {
namespace {

/// A word for the shell that git runs a credential helper in.
std::string shell_quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

bool may_be_requested(std::string_view name) {
  constexpr std::array<std::string_view, 3> ours{"GASTOWN_", "TOWNKEEPER_", "GIT_"};
  constexpr std::array<std::string_view, 2> loader{"LD_", "DYLD_"};
  for (const auto prefix : ours)
    if (name.starts_with(prefix)) return false;
  for (const auto prefix : loader)
    if (name.starts_with(prefix)) return false;
  return !name.empty() && name.find('=') == std::string_view::npos && name != "PATH";
}

} // namespace

std::pair<std::string, std::string> git_author(const town::agent_spec& agent) {
  const auto& identity = agent.identity;
  const auto open = identity.find('<');
  const auto close = identity.rfind('>');
  if (open == std::string::npos || close == std::string::npos || close < open)
    return {identity.empty() ? agent.agent_id : identity, agent.agent_id + "@townkeeper.invalid"};
  auto person = identity.substr(0, open);
  while (!person.empty() && person.back() == ' ')
    person.pop_back();
  return {person.empty() ? agent.agent_id : person, identity.substr(open + 1, close - open - 1)};
}

std::map<std::string, std::string>
agent_environment(const agent_surroundings& around, const town::start_request& request, const town::agent_spec& agent) {
  auto env = around.passed;
  for (const auto& [key, value] : request.env_vars)
    if (may_be_requested(key)) env[key] = value;

  const auto inherited_path = env.find("PATH");
  const std::string rest = inherited_path == env.end() ? "/usr/local/bin:/usr/bin:/bin" : inherited_path->second;
  env["PATH"] = around.command_directory.string() + ":" + rest;
  env["GASTOWN_TOWN_ID"] = around.town_id;
  env["GASTOWN_RIG_ID"] = request.rig_id;
  env["GASTOWN_AGENT_ID"] = request.agent_id;
  env["GASTOWN_AGENT_ROLE"] = request.role;
  env["GASTOWN_BRANCH"] = agent.branch;
  if (request.dispatch_id) env["GASTOWN_DISPATCH_ID"] = *request.dispatch_id;
  env["TOWNKEEPER_SOCKET"] = around.socket.string();
  env["TOWNKEEPER_PRIME_FILE"] = around.prime_file.string();
  env["TOWNKEEPER_PROMPT_FILE"] = around.prompt_file.string();
  env["TOWNKEEPER_SYSTEM_PROMPT_FILE"] = around.system_prompt_file.string();

  const auto [person, mail] = git_author(agent);
  env["GIT_AUTHOR_NAME"] = env["GIT_COMMITTER_NAME"] = person;
  env["GIT_AUTHOR_EMAIL"] = env["GIT_COMMITTER_EMAIL"] = mail;
  env["GIT_TERMINAL_PROMPT"] = "0";

  // An empty credential.helper clears those of other configuration files; ours is then the only one
  // (gitcredentials(7)).
  const std::array<std::pair<std::string, std::string>, 6> overrides{{
      {"gc.auto", "0"},
      {"maintenance.auto", "false"},
      {"core.splitIndex", "false"},
      {"index.sparse", "false"},
      {"credential.helper", ""},
      {"credential.helper", "!" + shell_quoted(around.executable.string()) + " credential"},
  }};
  env["GIT_CONFIG_COUNT"] = std::to_string(overrides.size());
  for (std::size_t i = 0; i < overrides.size(); ++i) {
    env["GIT_CONFIG_KEY_" + std::to_string(i)] = overrides[i].first;
    env["GIT_CONFIG_VALUE_" + std::to_string(i)] = overrides[i].second;
  }
  return env;
}

} // namespace townkeeper
