#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "core/error.hpp"
#include "git/descriptor.hpp"
#include "process/process_runner.hpp"

/// From a `process_launch` to a program that runs: everything between fork and exec.
namespace townkeeper {

/// What execve needs, complete before the fork: between fork and exec a child of a threaded process may not allocate.
struct child_program {
  std::vector<std::string> arguments, environment;
  std::vector<std::string> candidates; ///< paths to try, from PATH of `environment`, or the one that was named
};

/// `invalid_argument` where the launch cannot be meant: no program, a NUL byte, `=` in a variable's name, a relative
/// path.
result<child_program> prepare_program(const process_launch& launch);

/// The worktree, opened without following a link of that name. `not_found`, `invalid_argument`, `disk`.
result<git::descriptor> open_worktree(const std::filesystem::path& directory);

/// What a child writes into its control socket when it did not become its program.
struct child_failure {
  enum class step : int { directory, descriptors, program };
  step at;
  int number;  ///< errno
  int refused; ///< of `program`: the candidate that exists but was refused, else -1
};
static_assert(std::is_trivially_copyable_v<child_failure>);

/// A child that waits for `release_child` before it does anything.
struct forked_child {
  int pid = 0;
  git::descriptor
      control; ///< ours: becomes readable with a `child_failure`, or ends when the program runs; never blocks
};

/// Forks a child with a session of its own, in `directory`, with /dev/null, `output` and `output` as descriptors 0 to 2
/// and no other. It dies with the calling thread, which therefore must live as long as the process. `unavailable` where
/// the system has no more processes, memory or descriptors.
result<forked_child> fork_child(const child_program& program, int directory, int output);

/// Lets it go on to its program.
void release_child(const forked_child& child) noexcept;

/// What the failure means to who configured the command.
error explain(const child_failure& failure, const child_program& program, const process_launch& launch);

} // namespace townkeeper
