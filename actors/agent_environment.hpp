#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "town/model.hpp"

namespace townkeeper {

/// What an agent's environment is made of.
struct agent_surroundings {
  std::string town_id;
  std::filesystem::path socket;
  std::filesystem::path command_directory;
  std::filesystem::path executable;
  std::filesystem::path prime_file, prompt_file, system_prompt_file;
  std::string worktree;
  std::map<std::string, std::string> passed; ///< of the daemon's own environment
};

/// Git author of an identity: "Name <email>" taken apart, or a bare name with `<agentId>@townkeeper.invalid`
/// (CONTRACT.md, Agent).
std::pair<std::string, std::string> git_author(const town::agent_spec& agent);

/// The complete environment of an agent: what is passed on, what the start request adds, and on top of both what is
/// ours: ids, paths, author, and git configuration that keeps its git from harming the other worktrees and sends its
/// credential questions to us. No token.
std::map<std::string, std::string> agent_environment(const agent_surroundings& around,
                                                     const town::start_request& request, const town::agent_spec& agent);

} // namespace townkeeper
