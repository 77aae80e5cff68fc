#pragma once

#include "cli/command_line.hpp"

/// What each command does: prints, and answers with the process's exit code. `run` is in run.hpp.
namespace townkeeper::cli {

int show_configuration(const config_command& what);
int show_status(const status_command& what);
int mint(const mint_command& what);
int show_version();

int put(const put_checkpoint& what);
int get(const get_checkpoint& what);
int prime();
int acknowledge(const acknowledge_mail& what);
int finish(const done_command& what);
int say(const say_status& what);

/// `get` prints the login of the agent's own rig, and nothing for any other remote; `erase` has it refreshed before it
/// is told again; `store` does nothing.
int answer_git(const credential_command& what);

int save_now(const snapshot_command& what);
int drain(const drain_command& what);
int list(const list_points& what);
int show(const show_point& what);
int apply(const apply_point& what);
int write_out(const export_point& what);
int drop(const drop_kept& what);
int drop(const drop_recovery& what);
int drop(const drop_finished& what);

/// Prints why a command failed; the exit code for it.
int fail(const error& why);
int fail(const error& why, int code);

} // namespace townkeeper::cli
