#include <catch2/generators/catch_generators.hpp>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/group_record.hpp"
#include "tests/unit/process/process_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using namespace std::chrono_literals;

namespace {

/// A process of the test's own that leads a session: what a record can name.
class session_leader {
public:
  session_leader(const std::string& script, std::vector<std::string> environment = {}) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setsid();
      ::dup2(ready[1], STDOUT_FILENO);
      std::vector<char*> env;
      for (auto& entry : environment)
        env.push_back(entry.data());
      env.push_back(nullptr);
      ::execle("/bin/sh", "sh", "-c", script.c_str(), nullptr, env.data());
      ::_exit(127);
    }
    ::close(ready[1]);
    char first = 0;
    REQUIRE(::read(ready[0], &first, 1) == 1); // the script says when it is ready
    ::close(ready[0]);
  }
  session_leader(const session_leader&) = delete;
  session_leader& operator=(const session_leader&) = delete;
  ~session_leader() {
    ::kill(-pid_, SIGKILL);
    reap();
  }

  int pid() const { return pid_; }
  void reap() {
    if (!reaped_) ::waitpid(pid_, nullptr, 0);
    reaped_ = true;
  }
  group_record record() const {
    return {"agent-1", "rig-1", pid_, read_process(pid_).value().start_time, boot_id(), pid_namespace()};
  }

private:
  int pid_ = 0;
  bool reaped_ = false;
};

struct records {
  temp_dir directory{"records"};
  std::filesystem::path path() const { return directory.path() / "processes"; }
  void add(const group_record& record) const { REQUIRE(write_record(path(), record)); }
  std::vector<ended_leftover> end(std::chrono::milliseconds grace = never) const {
    auto ended = end_leftovers(path(), grace).value();
    CHECK(std::filesystem::is_empty(path()));
    return ended;
  }
};

} // namespace

TEST_CASE("a group is on record while it runs, and no longer") {
  const process_fixture f;
  heard h;
  h.start(f.runner, f.shell("exec sleep 300"));
  const int pid = h.started().value();
  const auto file = record_path(f.records(), pid);
  const auto record = read_record(file);
  REQUIRE(record);
  CHECK(*record == group_record{"agent-1", "rig-1", pid, read_process(pid)->start_time, boot_id(), pid_namespace()});
  CHECK_FALSE(record->boot_id.empty());
  CHECK_FALSE(record->pid_namespace.empty());
  struct stat st {};
  REQUIRE(::stat(file.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777U) == 0600);
  f.runner.stop(pid, never);
  h.ended();
  CHECK(std::filesystem::is_empty(f.records()));
}

TEST_CASE("without a predecessor there is nothing to end") {
  const temp_dir empty("records");
  const auto ended = end_leftovers(empty.path() / "absent", 0ms);
  REQUIRE(ended);
  CHECK(ended->empty());
}

TEST_CASE("a recorded group that still runs is ended as a whole") {
  const records r;
  session_leader leader("sleep 300 & echo; wait");
  r.add(leader.record());
  const auto child = living_in_session(read_processes(), leader.pid());
  REQUIRE(child.size() == 1);
  const auto ended = r.end();
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].agent_id == "agent-1");
  CHECK(ended[0].rig_id == "rig-1");
  CHECK(ended[0].pid == leader.pid());
  CHECK_FALSE(ended[0].killed);
  CHECK_FALSE(lives(leader.pid()));
  CHECK_FALSE(lives(child[0].pid));
}

TEST_CASE("a recorded group that ignores SIGTERM is killed after the grace") {
  const records r;
  session_leader leader("trap '' TERM; echo; while :; do sleep 0.02; done");
  r.add(leader.record());
  const auto begin = std::chrono::steady_clock::now();
  const auto ended = r.end(100ms);
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].killed);
  CHECK(std::chrono::steady_clock::now() - begin >= 100ms);
  CHECK_FALSE(lives(leader.pid()));
}

TEST_CASE("what was known while the leader lived is ended also if only the leader obeys SIGTERM") {
  const records r;
  session_leader leader("(trap '' TERM; echo; exec sleep 300) & exec sleep 300"); // without the agent's environment
  r.add(leader.record());
  REQUIRE(eventually([&] { return living_in_session(read_processes(), leader.pid()).size() == 1; }));
  const auto child = living_in_session(read_processes(), leader.pid());
  std::thread init([&] { leader.reap(); });
  const auto ended = r.end(200ms);
  init.join();
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].killed);
  CHECK_FALSE(lives(child[0].pid));
}

TEST_CASE("a process that only has the pid of a record is not touched") {
  const records r;
  session_leader leader("echo; exec sleep 300");
  auto record = leader.record();
  SECTION("it was started at another time") {
    --record.start_time;
  }
  SECTION("the record is of another boot") {
    record.boot_id = "another";
  }
  SECTION("the record is of another pid namespace") {
    record.pid_namespace = "pid:[1]";
  }
  r.add(record);
  CHECK(r.end().empty());
  CHECK(lives(leader.pid()));
}

TEST_CASE("of a group whose leader is dead, only what is surely the agent's is ended") {
  const records r;
  const bool is_marked = GENERATE(true, false);
  const bool is_older = GENERATE(true, false);
  session_leader leader("sleep 300 & echo",
                        {is_marked ? "GASTOWN_AGENT_ID=agent-1" : "GASTOWN_AGENT_ID=agent-11", "PATH=/bin"});
  auto record = leader.record();
  const auto child = living_in_session(read_processes(), leader.pid());
  REQUIRE(child.size() == 1);
  leader.reap();
  REQUIRE_FALSE(read_process(leader.pid()));
  if (is_older) record.start_time = child[0].start_time + 1;
  r.add(record);
  CHECK(r.end().size() == (is_marked && !is_older ? 1 : 0));
  CHECK(lives(child[0].pid) == !(is_marked && !is_older));
  ::kill(child[0].pid, SIGKILL);
}

TEST_CASE("a damaged record is removed and ends nothing") {
  const records r;
  std::filesystem::create_directories(r.path());
  std::ofstream(r.path() / "1.json") << R"({"agentId":"a","rigId":"r","pid":1,"startTime":0,"bootId":"b"})";
  std::ofstream(r.path() / "2.json") << R"({"agentId":"a","rigId":"r","pid":-1,"startTime":0,"bootId":"b"})";
  std::ofstream(r.path() / "3.json") << R"({"agentId":)";
  CHECK(r.end().empty());
}

TEST_CASE("processes die with a daemon that is killed, and its successor ends what they had started") {
  const temp_dir directory("daemon");
  const auto state = directory.path() / "records";
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0); // what it leaves comes to the test, not to somebody's init
  int said[2];
  REQUIRE(::pipe(said) == 0);
  const int daemon = ::fork();
  if (daemon == 0) {
    const auto processes = agent_processes::create({state, 4096, 1}).value();
    process_launch launch;
    launch.agent_id = "agent-1";
    launch.rig_id = "rig-1";
    launch.argv = {"/bin/sh", "-c", "sleep 300 & echo $! >child; exec sleep 300"};
    launch.environment = {{"PATH", "/bin"}, {"GASTOWN_AGENT_ID", "agent-1"}};
    launch.directory = directory.path();
    launch.log = directory.path() / "log";
    heard h;
    h.start(processes->runner(), launch);
    const int pid = h.started().value();
    [[maybe_unused]] const auto written = ::write(said[1], &pid, sizeof pid);
    while (true)
      ::pause();
  }
  ::close(said[1]);
  int leader = 0;
  REQUIRE(::read(said[0], &leader, sizeof leader) == sizeof leader);
  ::close(said[0]);
  REQUIRE(eventually([&] { return read_text(directory.path() / "child").ends_with('\n'); }));
  const int child = std::stoi(read_text(directory.path() / "child"));

  REQUIRE(lives(leader));
  ::kill(daemon, SIGKILL);
  ::waitpid(daemon, nullptr, 0);
  CHECK(eventually([&] { return !lives(leader); }));
  ::waitpid(leader, nullptr, 0); // as init would
  CHECK(lives(child));
  const auto ended = end_leftovers(state, never).value();
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].pid == leader);
  CHECK_FALSE(lives(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_CASE("the kernel's line of a process is read whatever the process calls itself") {
  const auto line = [](const std::string& name) {
    return "42 (" + name + ") S 1 40 39 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987654 100 10 18446744073709551615\n";
  };
  for (const std::string name : {"sh", "a b", ") R 9 9 9 (", ""}) {
    const auto process = parse_process_stat(line(name));
    REQUIRE(process);
    CHECK(process->pid == 42);
    CHECK(process->state == 'S');
    CHECK(process->parent == 1);
    CHECK(process->group == 40);
    CHECK(process->session == 39);
    CHECK(process->threads == 3);
    CHECK(process->start_time == 987654);
  }
  CHECK_FALSE(parse_process_stat(""));
  CHECK_FALSE(parse_process_stat("42 (sh) S 1 40 39"));
  CHECK_FALSE(parse_process_stat("42 (sh) S x 40 39 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987654 100\n"));
}
