#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace townkeeper::test {

/// Random states of an agent's worktree, the same for a seed: what git's command line and an editor leave behind.

/// Gives a bare repository a history to work on: `main`, and one branch for each name, which go apart from a common
/// first commit so that merging, rebasing, picking and reverting between them conflict in every way git knows. The tree
/// has links, executables, empty, binary and large files, conversions by attributes, a submodule entry and odd names.
void seed_history(const std::filesystem::path& bare_repository, const std::vector<std::string>& branches);

/// What was done to make a state, one line each, for the report of a difference.
using made_state = std::vector<std::string>;

struct state_options {
  bool control_characters = true; ///< names with line ends, tabs and the like
};

/// Changes a worktree that has been checked out cleanly at a branch of `seed_history`, in a repository that has
/// `origin/main`. Refs it makes hold the seed in their names. Stashes and refs belong to all worktrees of a repository:
/// one at a time in each. Throws `std::runtime_error` when git refuses what should work, with what was done so far.
made_state make_state(const std::filesystem::path& worktree, std::uint64_t seed, const state_options& options = {});

/// Random numbers, the same on every machine.
class dice {
public:
  explicit dice(std::uint64_t seed)
      : state_(seed) {}
  std::uint64_t roll(); ///< any 64 bits
  std::size_t below(std::size_t limit);
  bool one_in(std::size_t times) { return below(times) == 0; }
  template <class T>
  const T& one_of(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }
  std::string bytes(std::size_t count); ///< do not compress

private:
  std::uint64_t state_;
};

} // namespace townkeeper::test
