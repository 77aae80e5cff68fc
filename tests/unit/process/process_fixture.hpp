#pragma once

#include <catch2/catch_test_macros.hpp>

#include <condition_variable>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "process/agent_processes.hpp"
#include "process/process_table.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"

/// Real processes in a directory of their own, and how a test waits for them.
namespace townkeeper::test {

/// Far above what anything here takes, so that only a defect reaches it.
inline constexpr std::chrono::seconds deadline{30};

/// A grace that is never reached.
inline constexpr std::chrono::hours never{1};

/// Polls; false at the deadline.
template <class Condition>
bool eventually(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

inline std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline bool lives(int pid) {
  const auto process = read_process(pid);
  return process && process->lives();
}

/// What the runner said of one launch.
class heard {
public:
  void start(const process_runner& runner, process_launch launch) {
    const auto state = state_;
    runner.start(
        std::move(launch),
        [state](result<int> pid) {
          const std::lock_guard lock(state->mutex);
          ++state->starts;
          state->started = std::move(pid);
          state->changed.notify_all();
        },
        [state](process_end end) {
          const std::lock_guard lock(state->mutex);
          ++state->ends;
          state->ended = std::move(end);
          state->changed.notify_all();
        });
  }

  result<int> started() const {
    std::unique_lock lock(state_->mutex);
    if (!state_->changed.wait_for(lock, deadline, [&] { return state_->started.has_value(); }))
      throw std::runtime_error("the start was not told in time");
    return *state_->started;
  }
  process_end ended() const {
    std::unique_lock lock(state_->mutex);
    if (!state_->changed.wait_for(lock, deadline, [&] { return state_->ended.has_value(); }))
      throw std::runtime_error("the end was not told in time");
    return *state_->ended;
  }
  int starts() const {
    const std::lock_guard lock(state_->mutex);
    return state_->starts;
  }
  int ends() const {
    const std::lock_guard lock(state_->mutex);
    return state_->ends;
  }

private:
  struct told {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<result<int>> started;
    std::optional<process_end> ended;
    int starts = 0, ends = 0;
  };
  std::shared_ptr<told> state_ = std::make_shared<told>();
};

/// A daemon's processes and one worktree.
class process_fixture {
public:
  explicit process_fixture(std::uint64_t log_max_bytes = 1 << 20, std::uint32_t log_files = 3) {
    std::filesystem::create_directory(worktree());
    processes = agent_processes::create({records(), log_max_bytes, log_files}).value();
    runner = processes->runner();
  }

  std::filesystem::path worktree() const { return directory.path() / "worktree"; }
  std::filesystem::path records() const { return directory.path() / "state" / "processes"; }
  std::filesystem::path log() const { return directory.path() / "state" / "agent" / "output.log"; }
  std::string output() const { return read_text(log()); }

  process_launch launch(std::vector<std::string> argv) const {
    process_launch out;
    out.agent_id = "agent-1";
    out.rig_id = "rig-1";
    out.argv = std::move(argv);
    out.environment = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"GASTOWN_AGENT_ID", "agent-1"}};
    out.directory = worktree();
    out.log = log();
    return out;
  }
  process_launch shell(std::string script) const { return launch({"/bin/sh", "-c", std::move(script)}); }

  /// Runs to its end.
  process_end run(process_launch wanted) const {
    heard h;
    h.start(runner, std::move(wanted));
    REQUIRE(h.started());
    return h.ended();
  }

  /// The number a process wrote into a file of the worktree (in one write, with a newline).
  int pid_in(const std::string& name) const {
    const auto file = worktree() / name;
    if (!eventually([&] { return read_text(file).ends_with('\n'); })) throw std::runtime_error("no " + name);
    return std::stoi(read_text(file));
  }

  temp_dir directory{"process"};
  std::unique_ptr<agent_processes> processes;
  process_runner runner;
};

} // namespace townkeeper::test
