#include <catch2/matchers/catch_matchers_string.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/process/process_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

mode_t mode_of(const std::filesystem::path& file) {
  struct stat st {};
  REQUIRE(::lstat(file.c_str(), &st) == 0);
  return st.st_mode & 07777U;
}

void write_text(const std::filesystem::path& file, const std::string& text, mode_t mode) {
  std::ofstream(file, std::ios::binary) << text;
  REQUIRE(::chmod(file.c_str(), mode) == 0);
}

/// What a start that cannot succeed is told; that nothing else is told and nothing is left.
error failure_of(const process_fixture& f, process_launch launch) {
  heard h;
  h.start(f.runner, std::move(launch));
  const auto started = h.started();
  REQUIRE_FALSE(started);
  // Commands are taken in order: once the next process ran, nothing more can come of this one.
  f.run(f.launch({"/bin/true"}));
  CHECK(h.starts() == 1);
  CHECK(h.ends() == 0);
  CHECK(std::filesystem::is_empty(f.records()));
  return started.error();
}

} // namespace

TEST_CASE("the exit code of a process is told") {
  const process_fixture f;
  const auto end = f.run(f.shell("exit 7"));
  CHECK(end.exit_code == 7);
  CHECK_FALSE(end.signal);
}

TEST_CASE("the signal that ended a process is told") {
  const process_fixture f;
  const auto end = f.run(f.shell("kill -USR1 $$"));
  CHECK(end.signal == SIGUSR1);
  CHECK_FALSE(end.exit_code);
}

TEST_CASE("start and end are each told once, and the process is reaped then") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("exit 0"));
  const int pid = h.started().value();
  h.ended();
  CHECK_FALSE(read_process(pid));
  f.runner.stop(pid, std::chrono::milliseconds{0});
  f.run(f.shell("exit 0"));
  CHECK(h.starts() == 1);
  CHECK(h.ends() == 1);
}

TEST_CASE("the environment of a process is the given one and nothing else") {
  const process_fixture f;
  auto launch = f.launch({"env"});
  launch.environment = {{"PATH", "/usr/bin:/bin"}, {"EMPTY", ""}, {"TEXT", "a b=c"}};
  CHECK(f.run(launch).exit_code == 0);
  CHECK(f.output() == "EMPTY=\nPATH=/usr/bin:/bin\nTEXT=a b=c\n");
}

TEST_CASE("the program is looked up in the PATH of its own environment") {
  const process_fixture f;
  const auto bin = f.directory.path() / "bin";
  std::filesystem::create_directory(bin);
  write_text(bin / "only-here", "#!/bin/sh\necho found \"$1\"\n", 0755);
  auto launch = f.launch({"only-here", "it"});
  launch.environment["PATH"] = "/nowhere:" + bin.string() + ":/bin";
  CHECK(f.run(launch).exit_code == 0);
  CHECK(f.output() == "found it\n");
}

TEST_CASE("a process has /dev/null, its log, and no other descriptor of the daemon") {
  const process_fixture f;
  const int open_to_all = ::open("/dev/zero", O_RDONLY); // NOLINT: without O_CLOEXEC on purpose
  REQUIRE(open_to_all >= 0);
  const auto end = f.run(f.shell("ls /proc/$$/fd; cat; readlink /proc/$$/fd/0; true"));
  ::close(open_to_all);
  CHECK(end.exit_code == 0);
  CHECK(f.output() == "0\n1\n2\n/dev/null\n");
}

TEST_CASE("standard output and standard error of a process go to its log, in order") {
  const process_fixture f;
  f.run(f.shell("echo one; echo two >&2; echo three"));
  CHECK(f.output() == "one\ntwo\nthree\n");
  CHECK(mode_of(f.log()) == 0600);
  CHECK(mode_of(f.log().parent_path()) == 0700);
}

TEST_CASE("a process starts with no signal blocked or ignored, whatever the daemon does") {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
  const auto old = ::signal(SIGUSR2, SIG_IGN);
  {
    const process_fixture f;
    f.run(f.launch({"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}));
    CHECK(f.output() == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  }
  ::signal(SIGUSR2, old);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("a process leads a session and a group of its own, in its worktree") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("pwd; exec sleep 300"));
  const int pid = h.started().value();
  const auto process = read_process(pid);
  REQUIRE(process);
  CHECK(process->group == pid);
  CHECK(process->session == pid);
  CHECK(process->parent == ::getpid());
  CHECK(eventually([&] { return f.output() == std::filesystem::canonical(f.worktree()).string() + "\n"; }));
}

TEST_CASE("the files of a launch are there before it runs, for its user's eyes only") {
  const process_fixture f;
  const auto file = f.directory.path() / "state" / "prompts" / "prime.json";
  auto launch = f.launch({"cat", file.string()});
  launch.files = {{file, "the context"}};
  CHECK(f.run(launch).exit_code == 0);
  CHECK(f.output() == "the context");
  CHECK(mode_of(file) == 0600);
  CHECK(mode_of(file.parent_path()) == 0700);
}

TEST_CASE("a link in the place of a launch file is replaced, not followed") {
  const process_fixture f;
  const auto victim = f.directory.path() / "victim", file = f.directory.path() / "prompt.md";
  write_text(victim, "untouched", 0644);
  std::filesystem::create_symlink(victim, file);
  auto launch = f.launch({"true"});
  launch.files = {{file, "prompt"}};
  f.run(launch);
  CHECK(read_text(victim) == "untouched");
  CHECK(read_text(file) == "prompt");
  CHECK_FALSE(std::filesystem::is_symlink(file));
}

TEST_CASE("a program that is nowhere in PATH is an error that names it and what to correct") {
  const process_fixture f;
  const auto e = failure_of(f, f.launch({"no-such-agent", "x"}));
  CHECK(e.code == error_code::invalid_config);
  CHECK(e.object == "no-such-agent");
  CHECK_THAT(e.message, ContainsSubstring("/usr/local/bin:/usr/bin:/bin") && ContainsSubstring("agents.command"));
}

TEST_CASE("a path that names no program is an error that names it") {
  const process_fixture f;
  const auto e = failure_of(f, f.launch({"/nowhere/agent"}));
  CHECK(e.code == error_code::invalid_config);
  CHECK(e.object == "/nowhere/agent");
}

TEST_CASE("a program that is not executable is an error that says how to make it so") {
  const process_fixture f;
  const auto program = f.directory.path() / "agent";
  write_text(program, "#!/bin/sh\n", 0644);
  auto launch = f.launch({"agent"});
  launch.environment["PATH"] = f.directory.path().string() + ":/bin";
  const auto e = failure_of(f, launch);
  CHECK(e.code == error_code::invalid_config);
  CHECK(e.object == program.string());
  CHECK_THAT(e.message, ContainsSubstring("chmod +x"));
}

TEST_CASE("a script whose interpreter is missing is told apart from a missing program") {
  const process_fixture f;
  write_text(f.directory.path() / "agent", "#!/nowhere/interpreter\n", 0755);
  auto launch = f.launch({"agent"});
  launch.environment["PATH"] = f.directory.path();
  CHECK_THAT(failure_of(f, launch).message, ContainsSubstring("interpreter"));
}

TEST_CASE("a file that is no program is an error that says what is missing") {
  const process_fixture f;
  const auto program = f.directory.path() / "agent";
  write_text(program, "echo no first line\n", 0755);
  CHECK_THAT(failure_of(f, f.launch({program.string()})).message, ContainsSubstring("#!"));
}

TEST_CASE("arguments beyond what the kernel takes are an error that names the way by file") {
  const process_fixture f;
  const auto e = failure_of(f, f.launch({"true", std::string(std::size_t{4} << 20, 'x')}));
  CHECK(e.code == error_code::too_large);
  CHECK_THAT(e.message, ContainsSubstring("{promptFile}"));
}

TEST_CASE("a missing worktree is not found, and one that is a link is not entered") {
  const process_fixture f;
  auto launch = f.launch({"true"});
  launch.directory = f.directory.path() / "gone";
  auto e = failure_of(f, launch);
  CHECK(e.code == error_code::not_found);
  CHECK(e.object == launch.directory.string());
  launch.directory = f.directory.path() / "link";
  std::filesystem::create_symlink("/", launch.directory);
  e = failure_of(f, launch);
  CHECK(e.code == error_code::invalid_argument);
  CHECK(e.object == launch.directory.string());
}

TEST_CASE("a launch that cannot be meant is refused before any file is written") {
  const process_fixture f;
  const auto file = f.directory.path() / "prompts" / "file";
  auto launch = f.launch({});
  launch.files = {{file, "x"}};
  CHECK(failure_of(f, launch).code == error_code::invalid_argument);
  launch.argv = {"true", std::string("a\0b", 3)};
  CHECK(failure_of(f, launch).code == error_code::invalid_argument);
  launch.argv = {"true"};
  launch.environment["A=B"] = "c";
  CHECK(failure_of(f, launch).code == error_code::invalid_argument);
  launch.environment.erase("A=B");
  launch.directory = "relative";
  CHECK(failure_of(f, launch).code == error_code::invalid_argument);
  CHECK_FALSE(std::filesystem::exists(file));
}

TEST_CASE("fifty processes started at once each have their own output and end") {
  const process_fixture f;
  constexpr int count = 50;
  std::vector<heard> all(count);
  for (int i = 0; i < count; ++i) {
    auto launch = f.shell("echo I am $NUMBER; exit $NUMBER");
    launch.environment["NUMBER"] = std::to_string(i);
    launch.log = f.directory.path() / "logs" / std::to_string(i);
    all[static_cast<std::size_t>(i)].start(f.runner, launch);
  }
  for (int i = 0; i < count; ++i) {
    const auto& one = all[static_cast<std::size_t>(i)];
    CHECK(one.started());
    CHECK(one.ended().exit_code == i);
    CHECK(one.ends() == 1);
    CHECK(read_text(f.directory.path() / "logs" / std::to_string(i)) == "I am " + std::to_string(i) + "\n");
  }
}

TEST_CASE("after the end of all processes a start is refused as cancelled") {
  process_fixture f;
  f.processes.reset();
  heard h;
  h.start(f.runner, f.shell("true"));
  REQUIRE_FALSE(h.started());
  CHECK(h.started().error().code == error_code::cancelled);
  f.runner.stop(1, std::chrono::milliseconds{0});
  CHECK(f.runner.last_activity_at(1).empty());
}

TEST_CASE("a second owner of the process's children is refused") {
  const process_fixture f;
  const auto second = agent_processes::create({f.records(), 4096, 1});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == error_code::internal);
}
