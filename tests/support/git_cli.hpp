#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "command.hpp"

namespace townkeeper::test {

/// What keeps git's command line away from the configuration of the user who runs the tests, and makes its commits the
/// same in each run: no system or user configuration, no prompt, no `GIT_*` variable of the user's, one author, one
/// date, `main` as the first branch.
std::map<std::string, std::string> git_environment();

/// Runs `git <arguments>` in `directory` and returns its standard output without trailing newlines. Throws
/// `std::runtime_error` with all it said when it fails.
std::string run_git(const std::filesystem::path& directory, const std::vector<std::string>& arguments,
                    std::string_view input = {});

/// The same where failing is an outcome, and with more environment (`GIT_ASKPASS`, …).
command_outcome try_git(const std::filesystem::path& directory, const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& more_environment = {});

/// Path → content.
using file_contents = std::map<std::string, std::string>;

/// One commit to be written straight into a repository (bare or not) by `git fast-import`; no worktree is involved.
struct new_commit {
  std::string branch;       ///< without `refs/heads/`; made when it does not exist
  file_contents files = {}; ///< added or replaced; all other files stay
  std::vector<std::string> removed = {};
  std::string message = "a change";
  std::string start = {}; ///< a revision to start the branch from when it does not exist; empty: an orphan
};

/// Writes it and returns its id.
std::string commit_into(const std::filesystem::path& repository, const new_commit& commit);

/// Ref → what it points at, for all refs of a repository.
std::map<std::string, std::string> refs_of(const std::filesystem::path& repository);

/// The id a ref or revision names; empty when there is none.
std::string id_of(const std::filesystem::path& repository, const std::string& revision);

} // namespace townkeeper::test
