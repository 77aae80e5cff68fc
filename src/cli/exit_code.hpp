#pragma once

#include "core/error.hpp"

namespace townkeeper::cli {

/// What the process ends with; the numbers are those of sysexits.h where it has one for the case.
enum exit_code : int {
  done = 0,
  usage = 64,         ///< a command, flag or argument that is none
  unavailable = 69,   ///< the daemon, town or remote does not answer
  bug = 70,           ///< ours
  disk = 74,          ///< the workspace cannot be used, also because another daemon has it
  unsaved = 75,       ///< stopped with unsaved work, or fenced by a newer container
  credentials = 77,   ///< refused
  configuration = 78, ///< a key, variable, flag value or file
};

/// The exit code of a command that ended with `e`.
int exit_code_of(const error& e) noexcept;

/// The same for an error of `config::load`: a flag that is none is a usage error.
int exit_code_of_configuration(const error& e) noexcept;

} // namespace townkeeper::cli
