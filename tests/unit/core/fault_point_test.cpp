#include <catch2/catch_test_macros.hpp>

#include "core/fault_point.hpp"
#include "result_printer.hpp"

#ifdef TOWNKEEPER_FAULT_POINTS

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.hpp"

using namespace townkeeper;

namespace {

/// Nothing is armed when a test ends.
struct disarmed_after {
  ~disarmed_after() { static_cast<void>(arm_fault_points("", "")); }
};

} // namespace

TEST_CASE("a fault point fails with its errno at the occurrence that is named, and only there") {
  const disarmed_after end;
  REQUIRE(arm_fault_points("pack-indexed=error:ENOSPC@2,index-written=error:EIO", ""));
  CHECK(fault_point("pack-indexed") == 0);
  CHECK(fault_point("index-written") == EIO);
  CHECK(fault_point("index-written") == 0);
  CHECK(fault_point("pack-indexed") == ENOSPC);
  CHECK(fault_point("pack-indexed") == 0);
  CHECK(fault_point("another") == 0);
}

TEST_CASE("a fault point with a plus fails from its occurrence on") {
  const disarmed_after end;
  REQUIRE(arm_fault_points("file-written=error:EROFS@2+", ""));
  CHECK(fault_point("file-written") == 0);
  CHECK(fault_point("file-written") == EROFS);
  CHECK(fault_point("file-written") == EROFS);
}

TEST_CASE("a fault point that delays comes back after its time, without an error") {
  const disarmed_after end;
  REQUIRE(arm_fault_points("ready-told=delay:20ms@1", ""));
  const auto begun = std::chrono::steady_clock::now();
  CHECK(fault_point("ready-told") == 0);
  CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::milliseconds{20});
}

TEST_CASE("a fault point that kills ends the process by SIGKILL") {
  const disarmed_after end;
  REQUIRE(arm_fault_points("ref-moved=kill@2", ""));
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int first = fault_point("ref-moved");
    ::_exit(first == 0 ? fault_point("ref-moved") : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
}

TEST_CASE("the log of fault points has a whole line for each that any thread passes") {
  const disarmed_after end;
  const test::temp_dir dir{"faults"};
  const auto log = dir.path() / "log";
  REQUIRE(arm_fault_points("counted=error:EIO@200", log.string()));
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n)
        if (fault_point("counted") != 0) ++failed;
    });
  for (auto& t : threads)
    t.join();
  CHECK(failed == 1);
  std::ifstream in{log};
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines)
    REQUIRE(line == "counted");
  CHECK(lines == 400);
}

TEST_CASE("what no fault can be is refused, and says which part") {
  const disarmed_after end;
  for (const std::string text :
       {"pack-indexed", "=kill", "Pack=kill", "pack-indexed=die", "pack-indexed=error:", "pack-indexed=error:ENOWHERE",
        "pack-indexed=delay:5", "pack-indexed=delay:0ms", "pack-indexed=delay:600001ms", "pack-indexed=kill@0",
        "pack-indexed=kill@", "pack-indexed=kill@two", "pack-indexed=kill@2++", "a=kill,,b=kill"}) {
    CAPTURE(text);
    const auto armed = arm_fault_points(text, "");
    REQUIRE_FALSE(armed);
    CHECK(armed.error().code == error_code::invalid_config);
    CHECK(armed.error().object == "TOWNKEEPER_FAULT_POINTS");
  }
  const auto armed = arm_fault_points("", "/nowhere/at/all");
  REQUIRE_FALSE(armed);
  CHECK(armed.error().object == "TOWNKEEPER_FAULT_LOG");
  CHECK(fault_point("pack-indexed") == 0);
}

#else

TEST_CASE("a fault point is nothing where they are not compiled in") {
  static_assert(townkeeper::fault_point("pack-indexed") == 0);
}

#endif
