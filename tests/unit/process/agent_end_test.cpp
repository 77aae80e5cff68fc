#include <signal.h>
#include <unistd.h>

#include "tests/unit/process/process_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using namespace std::chrono_literals;

namespace {

/// Started and past its first line, "ready".
struct ready_process {
  heard h;
  int pid = 0;

  ready_process(const process_fixture& f, process_launch launch) {
    h.start(f.runner, std::move(launch));
    pid = h.started().value();
    if (!eventually([&] { return f.output().find("ready\n") != std::string::npos; }))
      throw std::runtime_error("never ready");
  }
};

/// Ends what a failed test would leave.
struct killed_at_end {
  int pid;
  ~killed_at_end() { ::kill(pid, SIGKILL); }
};

/// A shell tells of a child that a signal ended; not here.
const std::string for_ever = "exec 2>/dev/null; while :; do sleep 0.02; done";

} // namespace

TEST_CASE("stop asks with SIGTERM first, and a process may end in its own way") {
  const process_fixture f;
  const ready_process p(f, f.shell("trap 'echo bye; exit 3' TERM; echo ready; " + for_ever));
  f.runner.stop(p.pid, never);
  CHECK(p.h.ended().exit_code == 3);
  CHECK(f.output() == "ready\nbye\n");
}

TEST_CASE("a process that ignores SIGTERM is killed after the grace, not before") {
  const process_fixture f;
  const ready_process p(f, f.shell("trap '' TERM; echo ready; " + for_ever));
  const auto asked = std::chrono::steady_clock::now();
  f.runner.stop(p.pid, 150ms);
  CHECK(p.h.ended().signal == SIGKILL);
  CHECK(std::chrono::steady_clock::now() - asked >= 150ms);
}

TEST_CASE("a second stop can only shorten the grace") {
  const process_fixture f;
  const ready_process p(f, f.shell("trap '' TERM; echo ready; " + for_ever));
  f.runner.stop(p.pid, never);
  f.runner.stop(p.pid, 10ms);
  f.runner.stop(p.pid, never);
  CHECK(p.h.ended().signal == SIGKILL);
}

TEST_CASE("a stopped process is continued, so that it can end on SIGTERM") {
  const process_fixture f;
  const ready_process p(f, f.shell("echo ready; kill -STOP $$"));
  REQUIRE(eventually([&] { return read_process(p.pid)->state == 'T'; }));
  f.runner.stop(p.pid, never);
  CHECK(p.h.ended().signal == SIGTERM);
}

TEST_CASE("stop ends the grandchildren too, in the process's group and in groups of their own") {
  const process_fixture f;
  const ready_process p(f, f.launch({"/bin/bash", "-c",
                                     "sleep 300 & echo $! >same; set -m; sleep 300 & echo $! >own; "
                                     "echo ready; wait"}));
  const int same = f.pid_in("same"), own = f.pid_in("own");
  const killed_at_end guard_same{same}, guard_own{own};
  REQUIRE(read_process(same)->group == p.pid);
  REQUIRE(read_process(own)->group == own);
  f.runner.stop(p.pid, never);
  CHECK(p.h.ended().signal == SIGTERM);
  CHECK_FALSE(lives(same));
  CHECK_FALSE(lives(own));
}

TEST_CASE("what a process that ended by itself left of its group is ended before its end is told") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("sleep 300 & echo $! >left; exit 0"));
  CHECK(h.ended().exit_code == 0);
  const int left = f.pid_in("left");
  const killed_at_end guard{left};
  CHECK_FALSE(lives(left));
}

TEST_CASE("what was left and ignores SIGTERM holds the end back until it is killed") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("(trap 'echo >asked' TERM; echo >trapped; " + for_ever +
                            ") & echo $! >left; until test -s trapped; do sleep 0.01; done; exit 4"));
  const int pid = h.started().value(), left = f.pid_in("left");
  const killed_at_end guard{left};
  REQUIRE(eventually([&] { return std::filesystem::exists(f.worktree() / "asked"); }));
  CHECK(h.ends() == 0);
  CHECK(read_process(pid)); // kept as a zombie: its number is not given away while we signal its group
  f.runner.stop(pid, 0ms);
  CHECK(h.ended().exit_code == 4);
  CHECK_FALSE(lives(left));
  CHECK_FALSE(read_process(pid));
}

TEST_CASE("what was left is killed after a grace of its own, without anybody's stop") {
  const process_fixture f;
  heard h;
  const auto begin = std::chrono::steady_clock::now();
  h.start(f.runner, f.shell("trap '' TERM; sleep 300 & echo $! >left; exit 0"));
  const killed_at_end guard{f.pid_in("left")};
  h.ended();
  CHECK(std::chrono::steady_clock::now() - begin >= agent_processes::left_behind_grace);
  CHECK_FALSE(lives(guard.pid));
}

TEST_CASE("the last words of a group are in the log when its end is told") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("(trap 'echo last words; exit 0' TERM; echo ready >ready; " + for_ever +
                            ") & until test -s ready; do sleep 0.01; done; echo leader ends; exit 0"));
  h.ended();
  CHECK(f.output() == "leader ends\nlast words\n");
}

TEST_CASE("output that waits in the pipe when the end is seen is in the log as a whole") {
  const process_fixture f(std::uint64_t{4} << 20);
  heard h;
  // 1031 is F_SETPIPE_SZ: more than is read at once.
  h.start(f.runner, f.launch({"perl", "-e",
                              "fcntl(STDOUT, 1031, 1 << 20); select(undef, undef, undef, 0.01) until -e 'go'; "
                              "syswrite(STDOUT, 'x' x (1 << 20))"}));
  const int pid = h.started().value();
  // Nothing is read while a callback runs; this one lasts until all is written and its writer has ended.
  auto other = f.launch({"true"});
  other.log += ".other";
  f.runner.start(
      other, [](const result<int>&) {},
      [&f, pid](const process_end&) {
        std::ofstream(f.worktree() / "go") << "go";
        eventually([pid] { return !lives(pid); });
      });
  CHECK(h.ended().exit_code == 0);
  CHECK(std::filesystem::file_size(f.log()) == std::uintmax_t{1} << 20);
}

TEST_CASE("a process that left the session and writes for ever does not hold the end back") {
  const process_fixture f;
  heard h;
  h.start(f.runner,
          f.shell("setsid sh -c 'echo $$ >gone; exec yes' & until test -s gone; do sleep 0.01; done; exit 0"));
  const killed_at_end guard{f.pid_in("gone")};
  CHECK(h.ended().exit_code == 0);
}

TEST_CASE("an orphan that left its group comes to us and is reaped when it ends") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("setsid sh -c 'echo $$ >gone; exec sleep 300' >/dev/null 2>&1 & "
                            "until test -s gone; do sleep 0.01; done; exit 0"));
  h.ended();
  const int orphan = f.pid_in("gone");
  const killed_at_end guard{orphan};
  const auto process = read_process(orphan);
  REQUIRE(process);
  CHECK(process->parent == ::getpid());
  REQUIRE(::kill(orphan, SIGKILL) == 0);
  CHECK(eventually([&] { return !read_process(orphan); }));
}

TEST_CASE("an orphan is reaped also while an ended process is kept for its group") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("(trap '' TERM; echo >trapped; exec sleep 300) & echo $! >left; "
                            "setsid sh -c 'echo $$ >gone; exec sleep 300' & "
                            "until test -s trapped; do sleep 0.01; done; echo >ready; " +
                            for_ever));
  const int pid = h.started().value();
  const int orphan = f.pid_in("gone"), left = f.pid_in("left");
  const killed_at_end guard{orphan}, guard_left{left};
  REQUIRE(eventually([&] { return std::filesystem::exists(f.worktree() / "ready"); }));
  f.runner.stop(pid, never);
  REQUIRE(eventually([&] { return !lives(pid); }));
  REQUIRE(::kill(orphan, SIGKILL) == 0);
  CHECK(eventually([&] { return !read_process(orphan); }));
  CHECK(h.ends() == 0);
  f.runner.stop(pid, 0ms);
  h.ended();
}

TEST_CASE("the end of the daemon's processes kills every group and tells each end once") {
  process_fixture f;
  const ready_process stubborn(f, f.shell("trap '' TERM; sleep 300 & echo $! >child; echo ready; " + for_ever));
  heard second;
  second.start(f.runner, f.shell("exec sleep 300"));
  REQUIRE(second.started());
  f.processes.reset();
  CHECK(stubborn.h.ends() == 1);
  CHECK(stubborn.h.ended().signal == SIGKILL);
  CHECK(second.ends() == 1);
  CHECK(second.ended().signal == SIGKILL);
  const int child = f.pid_in("child");
  const killed_at_end guard{child};
  CHECK_FALSE(lives(child));
  CHECK(std::filesystem::is_empty(f.records()));
}
