#pragma once

#include "cli/command_line.hpp"

namespace townkeeper::cli {

/// The daemon, from configuration to its last word; the exit code.
int run(const run_command& what);

} // namespace townkeeper::cli
