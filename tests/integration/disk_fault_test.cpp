#include <fstream>
#include <functional>
#include <map>

#include "scenario.hpp"
#include "tests/support/small_disk.hpp"
#include "tests/support/worktree_picture.hpp"
#include "tests/support/worktree_states.hpp"

/// What the disk of a container does to it.
using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t mib = 1 << 20;

fs::path only_pack(const fs::path& repository) {
  for (const auto& entry : fs::directory_iterator{repository / "objects" / "pack"})
    if (entry.path().extension() == ".pack") return entry.path();
  FAIL("no pack in " << repository);
  return {};
}

void flip_byte_of(const fs::path& file) {
  fs::permissions(file, fs::perms::owner_all);
  std::fstream f{file, std::ios::in | std::ios::out | std::ios::binary};
  const auto at = static_cast<std::streamoff>(fs::file_size(file) / 2);
  f.seekg(at);
  const char c = static_cast<char>(f.get() ^ 1);
  f.seekp(at);
  f.put(c);
}

void touch(const fs::path& file) {
  std::ofstream{file} << "";
}

} // namespace

TEST_CASE("a warm disk damaged in eleven ways, a rig for each: all of them heal, and no dirty file is lost") {
  const std::map<std::string, std::function<void(const fs::path&, const std::string&)>> damages{
      {"half-written",
       [](const fs::path& rig, const std::string&) {
         fs::remove(rig / "repo.git/HEAD");
         fs::remove(rig / "repo.git/config");
       }},
      {"flipped-pack", [](const fs::path& rig, const std::string&) { flip_byte_of(only_pack(rig / "repo.git")); }},
      {"missing-pack", [](const fs::path& rig, const std::string&) { fs::remove(only_pack(rig / "repo.git")); }},
      {"index-lock",
       [](const fs::path& rig, const std::string& agent) { touch(rig / "repo.git/worktrees" / agent / "index.lock"); }},
      {"shallow-lock", [](const fs::path& rig, const std::string&) { touch(rig / "repo.git/shallow.lock"); }},
      {"config-lock", [](const fs::path& rig, const std::string&) { touch(rig / "repo.git/config.lock"); }},
      {"ref-lock",
       [](const fs::path& rig, const std::string& agent) {
         fs::create_directories(rig / "repo.git/refs/heads/work");
         touch(rig / "repo.git/refs/heads/work" / (agent + ".lock"));
       }},
      {"no-registration",
       [](const fs::path& rig, const std::string& agent) { fs::remove_all(rig / "repo.git/worktrees" / agent); }},
      {"no-directory",
       [](const fs::path& rig, const std::string& agent) { fs::remove_all(rig / "worktrees" / agent); }},
      {"git-file-astray",
       [](const fs::path& rig, const std::string& agent) {
         std::ofstream{rig / "worktrees" / agent / ".git", std::ios::trunc} << "gitdir: /nowhere/at/all\n";
       }},
      {"index-garbage",
       [](const fs::path& rig, const std::string& agent) {
         std::ofstream{rig / "repo.git/worktrees" / agent / "index", std::ios::trunc} << "not an index";
       }},
  };
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  for (const auto& [rig, damage] : damages) {
    server.make_repository(rig);
    admin.put_rig(rig, server.url(rig));
    for (const auto* kind : {"clean-", "dirty-"}) {
      const auto branch = "work/" + (kind + rig);
      server.commit(rig, {branch, {{"a", "1\n"}, {"b", test::dice{1}.bytes(5000)}}, {}, "begin", "main"});
      admin.put_agent(rig, kind + rig, branch, R"(,"headCommit":")" + server.tip(rig, branch) + "\"");
    }
  }
  test::container box{container_for(town, configuration({}, {}, {}, R"("enabled":false)"))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  box.kill();
  for (const auto& [rig, damage] : damages) {
    std::ofstream{box.worktree(rig, "dirty-" + rig) / "a"} << "an edit\n";
    std::ofstream{box.worktree(rig, "dirty-" + rig) / "new"} << "untracked\n";
    damage(box.workspace() / "rigs" / rig, "clean-" + rig);
  }
  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  for (const auto& [rig, damage] : damages) {
    CAPTURE(rig);
    check_restored(box.worktree(rig, "clean-" + rig), "work/clean-" + rig, server.tip(rig, "work/clean-" + rig));
    check_sound(box.worktree(rig, "clean-" + rig));
    const auto dirty = box.worktree(rig, "dirty-" + rig);
    CHECK(test::bytes_of(dirty / "a") == "an edit\n");
    CHECK(test::bytes_of(dirty / "new") == "untracked\n");
    CHECK(test::run_git(dirty, {"status", "--porcelain"}) == " M a\n?? new");
    for (const auto& entry : fs::recursive_directory_iterator{box.workspace() / "rigs" / rig / "repo.git"})
      CHECK(entry.path().extension() != ".lock");
  }
}

TEST_CASE(
    "worktrees in mid-rebase, in mid-merge, detached, with conflict markers: as they were after a kill on a warm disk, "
    "and bit for bit after a drain") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  server.commit("api", {"main", {{"a", "1\n"}}});
  admin.put_rig("api", server.url("api"));
  const std::vector<std::string> agents{"rebase", "merge", "detached", "markers"};
  for (const auto& agent : agents) {
    server.commit("api", {"work/" + agent, {{"a", agent + "\n"}}, {}, "begin", "main"});
    admin.put_agent("api", agent, "work/" + agent, R"(,"headCommit":")" + server.tip("api", "work/" + agent) + "\"");
  }
  server.commit("api", {"main", {{"a", "2\n"}}});
  test::container box{container_for(town, configuration({}, {}, {}, R"("quiet":"1m","latest":"10m")"))};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  const auto at = [&](const std::string& agent) { return box.worktree("api", agent); };
  CHECK(test::try_git(at("rebase"), {"rebase", "origin/main"}).status != 0);
  CHECK(test::try_git(at("merge"), {"merge", "origin/main"}).status != 0);
  test::run_git(at("detached"), {"checkout", "-q", "--detach"});
  std::ofstream{at("detached") / "new"} << "work\n";
  CHECK(test::try_git(at("markers"), {"cherry-pick", "-n", "origin/main"}).status != 0);
  REQUIRE(test::bytes_of(at("markers") / "a").find("<<<<<<<") != std::string::npos);
  std::map<std::string, test::worktree_picture> before;
  for (const auto& agent : agents)
    before[agent] = test::describe(at(agent));
  SECTION("kill, warm") {
    box.kill();
  }
  SECTION("drain, warm") {
    box.terminate();
    CHECK(box.wait_for_exit() == 0);
  }
  SECTION("drain, empty") {
    box.terminate();
    CHECK(box.wait_for_exit() == 0);
    box.wipe_disk();
  }
  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  for (const auto& agent : agents) {
    CAPTURE(agent);
    CHECK(test::differences(before[agent], test::describe(at(agent))) == "");
  }
}

TEST_CASE(
    "a full disk in mid-clone and in mid-worktree: the rig says so, leaves nothing half-made, the other rig is ready, "
    "and with room it goes on by itself") {
  if (const auto reason = test::small_disk::why_not()) SKIP(*reason);
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("small");
  server.make_repository("large");
  SECTION("the pack does not fit") {
    server.commit("large", {"main", {{"noise", test::dice{1}.bytes(20 * mib)}}});
  }
  SECTION("the files do not fit") {
    server.commit("large", {"main", {{"zeros", std::string(30 * mib, 'z')}}});
  }
  for (const auto* rig : {"small", "large"}) {
    admin.put_rig(rig, server.url(rig));
    admin.put_agent(rig, std::string{"agent-"} + rig, "main");
  }
  auto options = container_for(town, configuration());
  options.disk_bytes = 128 * mib;
  test::container box{options};
  box.disk()->fill(8 * mib);
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("degraded"));
  const auto health = box.health();
  CHECK(text(agent_in(health, "agent-small"), "outcome") == "restored");
  CHECK(text(agent_in(health, "agent-large"), "outcome") == "failed");
  CHECK(text(agent_in(health, "agent-large"), "code") == "disk");
  CHECK_FALSE(fs::exists(box.worktree("large", "agent-large")));
  // Between two attempts there is room for others.
  CHECK(test::wait_until([&] { return box.disk()->free_bytes() > 6 * mib; }));
  box.disk()->free_again();
  REQUIRE(box.wait_for_phase("ready"));
  for (const auto* rig : {"small", "large"})
    check_restored(box.worktree(rig, std::string{"agent-"} + rig), "main", server.tip(rig, "main"));
}

TEST_CASE("a full disk in mid-snapshot: the age grows with the reason, and with room the work is saved") {
  if (const auto reason = test::small_disk::why_not()) SKIP(*reason);
  one_agent_town here;
  auto options = container_for(here.town, configuration({}, {}, {}, fast_saves));
  options.disk_bytes = 64 * mib;
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("ready"));
  box.disk()->fill(5 * mib);
  const auto work = test::dice{1}.bytes(4 * mib);
  std::ofstream{box.worktree("api", "ada") / "work", std::ios::binary} << work;
  REQUIRE(fs::file_size(box.worktree("api", "ada") / "work") == 4 * mib);
  REQUIRE(test::wait_until([&] { return !last_error(box).empty(); }));
  const auto age = [&] { return box.health()["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble(); };
  const auto begun = age();
  CHECK(test::wait_until([&] { return age() > begun + 0.5; }));
  CHECK(box.get("/livez").status == 200);
  CHECK(test::bytes_of(box.worktree("api", "ada") / "work") == work);
  box.disk()->free_again();
  const auto point = "refs/townkeeper/" + town_id + "/ada/1:untracked/work";
  CHECK(test::wait_until([&] {
    return test::try_git(here.server.repository_path("api"), {"cat-file", "-e", point}).status == 0;
  }));
  CHECK(test::wait_until([&] { return age() == 0 && last_error(box).empty(); }));
}

TEST_CASE(
    "a file system that is read-only at boot or becomes so: live, the reason is said, and it goes on when it may write "
    "again") {
  if (const auto reason = test::small_disk::why_not()) SKIP(*reason);
  one_agent_town here;
  test::container box{container_for(
      here.town,
      configuration(
          {}, {}, {},
          R"("push_interval":"100ms","quiet":"5s","latest":"10s","backoff_first":"50ms","backoff_max":"500ms")"))};
  // The rigs' own disk: the daemon's lock is open for writing on the other one.
  const test::small_disk rigs{box.workspace() / "rigs", 64 * mib};
  SECTION("at boot") {
    rigs.set_read_only(true);
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("degraded"));
    const auto health = box.health();
    CHECK(text(agent_in(health, "ada"), "code") == "disk");
    CHECK(box.get("/livez").status == 200);
    rigs.set_read_only(false);
    REQUIRE(box.wait_for_phase("ready"));
    check_restored(box.worktree("api", "ada"), "main", here.server.tip("api", "main"));
  }
  SECTION("with work that is not saved") {
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
    std::ofstream{box.worktree("api", "ada") / "work"} << "work\n";
    rigs.set_read_only(true);
    REQUIRE(test::wait_until([&] { return !last_error(box).empty(); }));
    rigs.set_read_only(false);
    const auto point = "refs/townkeeper/" + town_id + "/ada/1:untracked/work";
    CHECK(test::wait_until([&] {
      return test::try_git(here.server.repository_path("api"), {"cat-file", "-e", point}).status == 0;
    }));
  }
  box.kill();
}
