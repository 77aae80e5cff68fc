#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cli/command_line.hpp"

/// How the sources of the command line put it together. For them alone: it brings CLI11 with it.
namespace townkeeper::cli {

/// One command of the command line: its options write into what `make` turns into the command.
struct choice {
  CLI::App* app;
  std::function<command()> make;
};
using choices = std::vector<choice>;

/// Holds what options write to; lives until the command is made.
template <class T>
std::shared_ptr<T> held(T initial = {}) {
  return std::make_shared<T>(std::move(initial));
}

/// `--workspace` and `--config`: which daemon is meant.
std::shared_ptr<configuration_flags> add_workspace(CLI::App& app);

void add_snapshot(CLI::App& parent, choices& all);
void add_drain(CLI::App& parent, choices& all);
void add_recovery(CLI::App& parent, choices& all);

} // namespace townkeeper::cli
