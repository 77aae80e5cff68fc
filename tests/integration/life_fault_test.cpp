#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <map>

#include <catch2/generators/catch_generators.hpp>

#include "scenario.hpp"
#include "tests/support/fault_proxy.hpp"

/// How a container ends, and what its agents leave in their worktrees.
using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

/// An agent that counts in a file and does not end when it is told to.
const auto stubborn =
    R"(["/bin/sh","-c","trap '' TERM; n=$(cat n 2>/dev/null || echo 0); while :; do n=$((n + 1)); echo $n >.n.new; mv .n.new n; sleep 0.05; done"])";

std::int64_t number_in(const fs::path& worktree) {
  std::int64_t n = 0;
  std::ifstream{worktree / "n"} >> n;
  return n;
}

std::string blob(const test::remote& server, const std::string& what) {
  const auto found = test::try_git(server.repository_path("api"), {"cat-file", "blob", what});
  return found.status == 0 ? found.out : "";
}

/// One rig with agents on branches of their own.
struct one_rig {
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  test::fault_proxy wire{server.port()};

  explicit one_rig(const std::vector<std::string>& agents) {
    server.make_repository("api");
    admin.put_rig("api", wire.url("api"));
    for (const auto& agent : agents) {
      server.commit("api", {"work/" + agent, {{"begin", agent}}, {}, "begin", "main"});
      admin.put_agent("api", agent, "work/" + agent, R"(,"headCommit":")" + server.tip("api", "work/" + agent) + "\"");
    }
  }
};

} // namespace

TEST_CASE(
    "SIGTERM with 3 or 10 seconds to live and agents that do not end: what they had done by then is saved before the "
    "SIGKILL",
    "[timed]") {
  const std::vector<std::string> agents{"ada", "bob", "cyd"};
  // Both at once: the next container of each waits 15 s for the one before it.
  struct one_life {
    std::chrono::seconds grace;
    one_rig r;
    // Nothing is saved before the signal comes.
    test::container box{container_for(r.town, configuration(stubborn, {}, {}, R"("quiet":"1m","latest":"10m")"))};
    std::map<std::string, std::int64_t> done{};
    std::future<test::container_ending> ending{};
  };
  one_life lives[]{{std::chrono::seconds{3}, one_rig{agents}}, {std::chrono::seconds{10}, one_rig{agents}}};
  for (auto& life : lives) {
    CAPTURE(life.grace);
    life.box.start();
    INFO(life.box.log());
    REQUIRE(life.box.wait_for_phase("ready"));
    for (const auto& agent : agents)
      REQUIRE(test::wait_until([&] { return number_in(life.box.worktree("api", agent)) >= 5; }));
    for (const auto& agent : agents)
      life.done[agent] = number_in(life.box.worktree("api", agent));
  }
  for (auto& life : lives)
    life.ending = std::async(std::launch::async, [&life] { return life.box.end(life.grace); });
  for (auto& life : lives) {
    CAPTURE(life.grace);
    CHECK(life.ending.get().killed);
    life.box.wipe_disk();
    life.box.options().config = configuration();
    life.box.start();
  }
  for (auto& life : lives) {
    CAPTURE(life.grace);
    INFO(life.box.log());
    REQUIRE(life.box.wait_for_phase("ready"));
    for (const auto& agent : agents) {
      CAPTURE(agent);
      CHECK(number_in(life.box.worktree("api", agent)) >= life.done[agent]);
    }
  }
}

TEST_CASE("SIGTERM twice, SIGINT, SIGHUP, SIGTERM in the middle of a push: one drain, and everything is saved") {
  one_rig r{{"ada"}};
  auto options =
      container_for(r.town, configuration(stubborn, {}, {}, R"("quiet":"200ms","latest":"1s","push_interval":"1s")"));
  options.environment["TOWNKEEPER_AGENTS_STOP_GRACE"] = "500ms"; // which these agents always take
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] { return number_in(box.worktree("api", "ada")) >= 5; }));
  std::int64_t done = 0;
  const auto first = GENERATE(SIGTERM, SIGINT, SIGHUP);
  const bool in_push = GENERATE(false, true);
  CAPTURE(first, in_push);
  if (in_push) {
    r.wire.reset_counts();
    r.wire.set({test::fault::kind::hang});
    REQUIRE(test::wait_until([&] { return r.wire.connections() > 0; }));
  }
  done = number_in(box.worktree("api", "ada"));
  box.process()->signal(first);
  REQUIRE(box.wait_for_phase("draining"));
  if (in_push) r.wire.set({});
  // The agent never ends by itself: only the second word can end the waiting for it.
  box.process()->signal(SIGTERM);
  CHECK(box.wait_for_exit(std::chrono::seconds{60}) == 0);
  const auto saved = blob(r.server, ref_of("ada") + ":untracked/n");
  REQUIRE_FALSE(saved.empty());
  CHECK(std::stoll(saved) >= done);
  CHECK(std::stoll(saved) == number_in(box.worktree("api", "ada")));
  const auto state = r.admin.state();
  CHECK(state["container"]["drainedAgents"].Size() == 1);
}

TEST_CASE(
    "a worktree that vanishes while its agent runs, below a repository of somebody else: nothing is written there, and "
    "what was saved stays") {
  one_rig r{{"ada"}};
  test::container box{container_for(
      r.town,
      configuration({}, {}, {}, R"("push_interval":"100ms","quiet":"50ms","latest":"200ms","poll_interval":"200ms")"))};
  // The path of the worktree belongs to this one, once its own `.git` is gone.
  const auto parent = box.workspace();
  fs::create_directories(parent);
  test::run_git(parent, {"init", "-q"});
  test::run_git(parent, {"commit", "-q", "--allow-empty", "-m", "somebody else's"});
  const auto refs = test::refs_of(parent);
  const auto index = test::run_git(parent, {"hash-object", ".git/index"});
  const auto objects = test::run_git(parent, {"count-objects"});
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto worktree = box.worktree("api", "ada");
  std::ofstream{worktree / "work"} << "work\n";
  REQUIRE(test::wait_until([&] { return blob(r.server, ref_of("ada") + ":untracked/work") == "work\n"; }));
  SECTION("its .git goes") {
    fs::remove(worktree / ".git");
  }
  SECTION("all of it goes, and comes back as a plain directory") {
    fs::remove_all(worktree);
    fs::create_directories(worktree);
  }
  std::ofstream{worktree / "later"} << "later\n";
  // Several looks at it, and the last one of the drain.
  REQUIRE(test::wait_until([&] {
    const auto health = box.health();
    const auto& agents = health["recovery"]["protection"]["agents"];
    return !agents.Empty() && !text(&agents[0], "lastError").empty();
  }));
  box.terminate();
  CHECK(box.wait_for_exit() == 75);
  CHECK(test::refs_of(parent) == refs);
  CHECK(test::run_git(parent, {"count-objects"}) == objects);
  CHECK(test::run_git(parent, {"hash-object", ".git/index"}) == index);
  CHECK(blob(r.server, ref_of("ada") + ":untracked/work") == "work\n");
}

TEST_CASE(
    "a file of 2 GiB, a great many files, a socket, a FIFO, a link out of the tree, a nested repository: saved within "
    "the limits, and what is left out is listed") {
  const int files = count_of("TOWNKEEPER_MANY_FILES", 1'000);
  one_rig r{{"ada"}};
  test::container box{
      container_for(r.town, configuration({}, {}, {},
                                          R"("quiet":"1m","latest":"10m","save_deadline":"5m","untracked_limit":)" +
                                              std::to_string(files / 2)))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto worktree = box.worktree("api", "ada");
  std::ofstream{worktree / "begin", std::ios::app} << "edited\n";
  std::ofstream{worktree / "0-first"} << "first\n";
  {
    std::ofstream{worktree / "0-sparse"} << "";
    REQUIRE(truncate((worktree / "0-sparse").c_str(), std::int64_t{2} << 30) == 0);
  }
  fs::create_symlink("/etc/hostname", worktree / "0-link");
  REQUIRE(mkfifo((worktree / "0-fifo").c_str(), 0600) == 0);
  const int unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto name = worktree / "0-socket";
  // A relative name: the path is longer than a socket's may be.
  const auto here = fs::current_path();
  fs::current_path(worktree);
  std::string{"0-socket"}.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(bind(unix_socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  fs::current_path(here);
  fs::create_directories(worktree / "0-nested");
  test::run_git(worktree / "0-nested", {"init", "-q"});
  std::ofstream{worktree / "0-nested" / "inside"} << "inside\n";
  fs::create_directories(worktree / "many");
  for (int i = 0; i < files; ++i)
    std::ofstream{worktree / "many" / std::to_string(i)} << i << "\n";
  box.terminate();
  CHECK(box.wait_for_exit(std::chrono::minutes{5}) == 0);
  close(unix_socket);

  const auto ref = ref_of("ada");
  CHECK(blob(r.server, ref + ":worktree/begin").find("edited") != std::string::npos);
  CHECK(blob(r.server, ref + ":untracked/0-first") == "first\n");
  CHECK(blob(r.server, ref + ":untracked/0-link") == "/etc/hostname");
  const auto meta = blob(r.server, ref + ":meta.json");
  for (const auto* left_out : {"0-sparse", "many"})
    CHECK(meta.find(left_out) != std::string::npos);
  box.wipe_disk();
  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  CHECK(text(agent_in(box.health(), "ada"), "outcome") == "recovered");
  CHECK_FALSE(fs::exists(worktree / "0-sparse"));
  CHECK(fs::read_symlink(worktree / "0-link") == "/etc/hostname");
  CHECK(fs::exists(worktree / "0-first"));
  std::int64_t back = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator{worktree / "many"})
    ++back;
  CHECK(back > 0);
  CHECK(back <= files / 2);
}
