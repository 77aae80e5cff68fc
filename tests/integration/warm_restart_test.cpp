#include "scenario.hpp"

#include <sys/stat.h>

#include <fstream>
#include <map>
#include <set>

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

struct stamp {
  ino_t inode = 0;
  timespec modified{}, changed{};
  friend bool operator==(const stamp& a, const stamp& b) {
    return a.inode == b.inode && a.modified.tv_sec == b.modified.tv_sec && a.modified.tv_nsec == b.modified.tv_nsec &&
           a.changed.tv_sec == b.changed.tv_sec && a.changed.tv_nsec == b.changed.tv_nsec;
  }
};

/// Every file below `root` (directories aside: their times change with a lock file that comes and goes).
std::map<std::string, stamp> files_of(const std::filesystem::path& root) {
  std::map<std::string, stamp> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{root}) {
    struct stat s {};
    if (lstat(entry.path().c_str(), &s) != 0 || S_ISDIR(s.st_mode)) continue;
    out[entry.path().lexically_relative(root).string()] = {s.st_ino, s.st_mtim, s.st_ctim};
  }
  return out;
}

/// The paths that are new, gone or written.
std::set<std::string> touched(const std::map<std::string, stamp>& before, const std::map<std::string, stamp>& after) {
  std::set<std::string> out;
  for (const auto& [path, s] : before)
    if (const auto it = after.find(path); it == after.end() || !(it->second == s)) out.insert(path);
  for (const auto& [path, s] : after)
    if (!before.contains(path)) out.insert(path);
  return out;
}

std::size_t packs_asked(const test::remote& server) {
  std::size_t count = 0;
  for (const auto& request : server.requests())
    if (request.find("git-upload-pack") != std::string::npos && request.starts_with("POST")) ++count;
  return count;
}

/// One rig with five agents, restored once and stopped.
struct warm_town {
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  std::unique_ptr<test::container> box;
  const std::vector<std::string> agents{"ada", "bob", "cyd", "dan", "eve"};

  warm_town() {
    server.make_repository("api");
    test::file_contents files;
    for (int i = 0; i < 40; ++i)
      files["dir/file" + std::to_string(i)] = std::to_string(i) + "\n";
    server.commit("api", {"main", files});
    admin.put_rig("api", server.url("api"));
    for (const auto& agent : agents) {
      server.commit("api", {"work/" + agent, {{agent, agent}}, {}, "begin", "main"});
      admin.put_agent("api", agent, "work/" + agent, R"(,"headCommit":")" + server.tip("api", "work/" + agent) + "\"");
    }
    box = std::make_unique<test::container>(container_for(town, configuration()));
    run_once();
  }

  /// Starts, waits until ready, and kills.
  void run_once() {
    box->start();
    INFO(box->log());
    REQUIRE(box->wait_for_phase("ready"));
    box->kill();
  }

  std::filesystem::path rigs() const { return box->workspace() / "rigs"; }
  std::filesystem::path worktree(const std::string& agent) const { return box->worktree("api", agent); }
};

} // namespace

TEST_CASE("an intact warm disk costs one round trip per rig: no object is fetched, no file is written") {
  warm_town t;
  const auto before = files_of(t.rigs());
  const auto requests = t.server.requests().size();
  t.run_once();
  CHECK(touched(before, files_of(t.rigs())) == std::set<std::string>{});
  const auto all = t.server.requests();
  CHECK(all.size() == requests + 1);
  CHECK(all.back().starts_with("GET "));
}

TEST_CASE("on a warm disk exactly what is broken or behind is mended") {
  warm_town t;
  // ada's worktree is gone, bob's index is garbage, cyd's branch moved on; dan's worktree is dirty, eve's is as it was.
  std::filesystem::remove_all(t.worktree("ada"));
  std::ofstream{t.rigs() / "api/repo.git/worktrees/bob/index", std::ios::trunc} << "not an index";
  t.server.commit("api", {"work/cyd", {{"news", "moved on\n"}}, {}, "more"});
  std::ofstream{t.worktree("dan") / "dan", std::ios::app} << "an edit\n";
  std::ofstream{t.worktree("dan") / "untracked"} << "new\n";
  test::run_git(t.worktree("dan"), {"add", "untracked"});
  std::ofstream{t.worktree("dan") / "another"} << "newer\n";
  const auto dan_status = test::run_git(t.worktree("dan"), {"status", "--porcelain"});
  const auto before = files_of(t.rigs());
  const auto packs = packs_asked(t.server);
  t.run_once();
  CHECK(packs_asked(t.server) == packs + 1);
  for (const auto* agent : {"ada", "bob", "cyd", "eve"})
    check_restored(t.worktree(agent), std::string{"work/"} + agent, t.server.tip("api", std::string{"work/"} + agent));
  CHECK(test::run_git(t.worktree("dan"), {"status", "--porcelain"}) == dan_status);
  check_sound(t.worktree("eve"));

  for (const auto& path : touched(before, files_of(t.rigs()))) {
    CAPTURE(path);
    CHECK_FALSE(path.starts_with("api/worktrees/bob/"));
    CHECK_FALSE(path.starts_with("api/worktrees/dan/"));
    CHECK_FALSE(path.starts_with("api/worktrees/eve/"));
    if (path.starts_with("api/worktrees/cyd/")) CHECK(path == "api/worktrees/cyd/news");
  }
}

TEST_CASE("a dirty warm worktree is said to be left as it was") {
  warm_town t;
  std::ofstream{t.worktree("dan") / "dan", std::ios::app} << "an edit\n";
  t.box->start();
  REQUIRE(t.box->wait_for_phase("ready"));
  REQUIRE(test::wait_until([&] {
    const auto prime = t.admin.call("GET", "/rigs/api/agents/dan/prime");
    return std::string{prime["recovery"]["note"].GetString()}.find("left exactly as it was") != std::string::npos;
  }));
}

TEST_CASE("a warm disk that could not be restored is saved at SIGTERM, or its unsaved work is named") {
  warm_town t;
  const auto repository = t.server.repository_path("api");
  // ada's work is saved by the second container, and is what the disk holds; bob's is of after that; the others' is
  // not.
  for (const auto& [name, value] : {std::pair{"PUSH_INTERVAL", "100ms"}, {"QUIET", "50ms"}, {"LATEST", "200ms"}})
    t.box->options().environment[std::string{"TOWNKEEPER_PROTECT_"} + name] = value;
  t.box->start();
  REQUIRE(t.box->wait_for_phase("ready"));
  std::ofstream{t.worktree("ada") / "untracked"} << "saved\n";
  REQUIRE(test::wait_until([&] { return !test::id_of(repository, ref_of("ada", 2)).empty(); }));
  t.box->kill();
  std::ofstream{t.worktree("bob") / "bob", std::ios::app} << "an edit\n";
  std::ofstream{t.worktree("bob") / "untracked"} << "new\n";

  t.server.stop();
  t.box->options().environment["TOWNKEEPER_RESTORE_RETRY_FAILED"] = "1h"; // so that SIGTERM finds it as it is
  t.box->start();
  INFO(t.box->log());
  REQUIRE(t.box->wait_for_phase("degraded"));
  const auto saved_of = [&](const std::string& agent) -> std::optional<bool> {
    const auto state = t.admin.state();
    for (const auto& each : state["container"]["drainedAgents"].GetArray())
      if (each["agentId"].GetString() == agent) return each["saved"].GetBool();
    return std::nullopt;
  };
  SECTION("the remote is still down: the exit code is 75, and each is named") {
    t.box->terminate();
    CHECK(t.box->wait_for_exit() == 75);
    CHECK(saved_of("bob") == false);
    CHECK(saved_of("ada") == false); // whether the remote has it could not be seen
    INFO(t.box->log());
    CHECK_FALSE(saved_of("cyd")); // it is clean, and its commit was on the remote
    const auto log = t.box->log();
    CHECK(log.find("stopped with unsaved work") != std::string::npos);
    CHECK(log.find("was not restored at this wake") != std::string::npos);
  }
  SECTION("the remote is back: under the epoch's own ref, and the next wake has it") {
    t.server.start();
    t.box->terminate();
    CHECK(t.box->wait_for_exit() == 0);
    CHECK(saved_of("bob") == true);
    CHECK(saved_of("ada") == true);
    t.box->wipe_disk();
    t.box->start();
    REQUIRE(t.box->wait_for_phase("ready"));
    CHECK(test::run_git(t.worktree("bob"), {"status", "--porcelain"}) == " M bob\n?? untracked");
    CHECK(test::run_git(t.worktree("ada"), {"status", "--porcelain"}) == "?? untracked");
  }
  SECTION("the remote is back with a newer point: what the disk holds is kept beside it") {
    const auto newer = test::id_of(repository, ref_of("ada", 2));
    test::run_git(repository, {"update-ref", ref_of("bob", 2), newer});
    t.server.start();
    t.box->terminate();
    CHECK(t.box->wait_for_exit() == 0);
    CHECK(test::id_of(repository, ref_of("bob", 3)).empty());
    CHECK_FALSE(test::run_git(repository, {"for-each-ref", "refs/townkeeper/" + town_id + "/bob/kept"}).empty());
    CHECK(test::id_of(repository, ref_of("bob", 2)) == newer);
  }
}
