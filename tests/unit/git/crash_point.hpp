#pragma once

#include <functional>

namespace townkeeper::test {

enum class crash_outcome {
  died,        ///< killed right before the step
  finished,    ///< there are fewer steps; the function ran to its end
  not_allowed, ///< this system lets nobody trace a process
};

/// Runs `body` in a process of its own and kills it (SIGKILL) right before its `step`-th system call that changes a
/// file system (from 1): what a crash between any two durable steps leaves on the disk. The process is gone when this
/// returns. Call it while no other thread of the test runs.
crash_outcome die_before(int step, const std::function<void()>& body);

} // namespace townkeeper::test
