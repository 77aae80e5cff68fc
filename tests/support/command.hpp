#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace townkeeper::test {

struct command {
  std::vector<std::string> argv;                       ///< the first is looked up in PATH
  std::filesystem::path directory = {};                ///< to run in; empty: this process's own
  std::map<std::string, std::string> environment = {}; ///< beside this process's own, or instead of it
  std::string unset_prefix = {}; ///< variables of this process that begin so are not handed on; empty: all are
  std::string_view input = {};
  std::chrono::milliseconds timeout{60'000}; ///< after it the command is killed and that is an error
};

struct command_outcome {
  int status = 0; ///< exit status, or 128 + the signal that ended it
  std::string out, err;
};

/// Runs a command to its end. Throws `std::runtime_error` when it cannot be started or takes longer than its timeout;
/// any exit status is an outcome. May be called by several threads at once.
command_outcome try_run(const command& what);

/// The same for a command that must succeed: its standard output without trailing newlines. Throws
/// `std::runtime_error` with the command line, the status and both outputs when the status is not 0.
std::string run(const command& what);

} // namespace townkeeper::test
