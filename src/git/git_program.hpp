#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace townkeeper::git {

/// Runs the user's own `git -C <directory> <arguments>` to its end and returns what it wrote to standard output. It may
/// ask on the terminal (credentials, host keys). For what a person does by hand, never for the daemon. Errors:
/// `not_found` when there is no git program, `unavailable` with the last line it wrote to standard error.
result<std::string> run_git_program(const std::filesystem::path& directory, const std::vector<std::string>& arguments);

} // namespace townkeeper::git
