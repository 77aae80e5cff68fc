#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "git/recovery_tools.hpp"
#include "town/token.hpp"

/// The command line as values. Nothing here prints, exits or looks at the environment.
namespace townkeeper::cli {

/// What `config::load` gets from the command line.
struct configuration_flags {
  std::optional<std::filesystem::path> file;              ///< `--config`
  std::vector<std::pair<std::string, std::string>> flags; ///< "--listen", value; also those that no setting has
};

struct run_command {
  configuration_flags configuration;
};
struct config_command {
  configuration_flags configuration;
  bool check = false;
};
struct status_command {
  configuration_flags configuration; ///< says which workspace
  bool json = false;
};
struct mint_command {
  std::string town_id;
  town::token_scope scope = town::token_scope::container;
  std::chrono::milliseconds ttl{0};
};
struct version_command {};

// What an agent says, over its socket.
struct put_checkpoint {
  std::optional<std::string> data; ///< absent: standard input
  bool as_text = false;            ///< a string, whatever it looks like
};
struct get_checkpoint {
  std::optional<std::size_t> history; ///< that many, newest first; absent: the data of the newest alone
};
struct prime_command {};
struct acknowledge_mail {
  std::vector<std::string> ids;
};
struct done_command {
  std::optional<std::string> branch; ///< absent: the agent's own
  std::optional<std::string> pr_url, summary;
};
struct say_status {
  std::string message;
};
/// `get`, `store` or `erase`, as git calls a credential helper (gitcredentials(7)); any other word is ignored.
struct credential_command {
  std::string operation;
};

// What is done with saved work.
struct snapshot_command {
  configuration_flags configuration; ///< says which workspace, and the control token
  std::optional<std::string> agent_id;
};
struct drain_command {
  configuration_flags configuration;
  bool wait = false;
};
struct list_points {
  git::clone_location clone;
  std::string agent_id; ///< empty: all
  bool fetch = false;
};
struct show_point {
  git::clone_location clone;
  std::string point; ///< a ref, a commit or an agent id
};
struct apply_point {
  git::clone_location clone;
  std::string point;
};
struct export_point {
  git::clone_location clone;
  std::string point;
  std::filesystem::path directory;
};
/// The town no longer lists this kept point.
struct drop_kept {
  configuration_flags configuration;
  std::string rig_id, agent_id, commit;
};
/// The town no longer asks for the agent's recovery point, and it goes from the clone's remote: the loss is accepted.
struct drop_recovery {
  configuration_flags configuration;
  git::clone_location clone;
  std::string rig_id, agent_id;
};
/// The points of agents that have said done.
struct drop_finished {
  configuration_flags configuration;
  git::clone_location clone;
  std::chrono::milliseconds older_than{0};
  bool only_list = false;
};

using command = std::variant<run_command, config_command, status_command, mint_command, version_command, put_checkpoint,
                             get_checkpoint, prime_command, acknowledge_mail, done_command, say_status,
                             credential_command, snapshot_command, drain_command, list_points, show_point, apply_point,
                             export_point, drop_kept, drop_recovery, drop_finished>;

/// There is nothing to do but to print this and exit.
struct early_exit {
  int code = 0;
  std::string out, err;
};

/// Reads `argv`, the program's own name first: called as gt_checkpoint, gt_prime, gt_done or gt_status it is that
/// command.
std::variant<command, early_exit> parse_command_line(const std::vector<std::string>& argv);

} // namespace townkeeper::cli
