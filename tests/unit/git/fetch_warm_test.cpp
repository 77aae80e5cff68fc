// A disk that was kept: an intact repository costs one round trip, a broken one is mended.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "git/repository_layout.hpp"
#include "rig_disk.hpp"
#include "tests/support/remote.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

std::string text(const std::vector<std::string>& lines) {
  std::string all;
  for (const auto& line : lines)
    all += line + '\n';
  return all;
}

/// A remote with a default branch and two agents' branches, and a rig restored from it, then moved on by a commit, so
/// that the disk holds two packs.
struct warm_rig {
  remote server;
  rig_disk disk;
  git::repository_job job;

  warm_rig() {
    server.make_repository("app");
    for (const std::string branch : {"gt/one", "gt/two"})
      server.commit("app", {.branch = branch, .files = {{branch, noise(3000)}}, .start = "main"});
    job = disk.job(server.url("app"), {"gt/one", "gt/two"});
    REQUIRE(restore(job));
    server.commit("app", {.branch = "main", .files = {{"later/file", noise(3000, 2)}}});
    REQUIRE(restore(job));
  }

  fs::path repository() const { return disk.repository(); }
  fs::path at(const std::string& path) const { return disk.repository() / path; }

  std::vector<fs::path> packs() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(at("objects/pack")))
      if (entry.path().extension() == ".pack") found.push_back(entry.path());
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return fs::file_size(a) > fs::file_size(b); });
    return found;
  }

  /// A worktree made by git itself, with a change that is not committed.
  fs::path dirty_worktree(const std::string& branch) const {
    auto path = disk.rig() / "worktrees" / "a1";
    run_git(repository(), {"worktree", "add", "-q", "-B", branch, path, "refs/remotes/origin/" + branch});
    write(path / "unsaved", "my work");
    return path;
  }

  /// Restores, and looks whether all is as on the remote.
  git::repository_restored restore_all() const {
    const auto done = restore(job);
    REQUIRE(done);
    const auto here = refs_of(done->repository), there = refs_of(server.repository_path("app"));
    for (const std::string branch : {"main", "gt/one", "gt/two"}) {
      CHECK(done->tips.at(branch) == there.at("refs/heads/" + branch));
      CHECK(here.at("refs/remotes/origin/" + branch) == there.at("refs/heads/" + branch));
    }
    CHECK(here.at("refs/heads/main") == there.at("refs/heads/main"));
    CHECK(run_git(done->repository, {"symbolic-ref", "HEAD"}) == "refs/heads/main");
    CHECK(is_sound(done->repository));
    return *done;
  }

  /// The same for a disk with damage: something was healed, and the next restore finds nothing to do.
  git::repository_restored heal() const {
    auto done = restore_all();
    CHECK_FALSE(done.healed.empty());
    const auto before = traces(disk.rig());
    const auto again = restore(job);
    REQUIRE(again);
    CHECK(text(again->healed) == "");
    CHECK(again->fetched_objects == 0);
    CHECK(changes_since(before, disk.rig()) == "");
    return done;
  }
};

} // namespace

TEST_CASE("an intact disk costs one round trip: no object comes, and nothing is written") {
  const warm_rig rig;
  rig.dirty_worktree("gt/one");
  const auto before = traces(rig.disk.rig());
  const auto requests = rig.server.requests().size();
  const auto done = restore(rig.job);
  REQUIRE(done);
  CHECK(rig.server.requests().size() == requests + 1);
  CHECK(done->fetched_bytes == 0);
  CHECK(done->fetched_objects == 0);
  CHECK(text(done->healed) == "");
  CHECK(done->tips.size() == 3);
  CHECK(changes_since(before, rig.disk.rig()) == "");
}

TEST_CASE("one branch moved on: only what is new comes") {
  const warm_rig rig;
  const auto tip = rig.server.commit("app", {.branch = "gt/one", .files = {{"new", "1"}}});
  const auto done = rig.restore_all();
  CHECK(done.tips.at("gt/one") == tip);
  CHECK(done.fetched_objects == 3); // a commit, a tree and a file
  CHECK(done.healed.empty());
}

TEST_CASE("a flipped byte in a pack is found and healed") {
  const warm_rig rig;
  const auto worktree = rig.dirty_worktree("gt/two");
  const auto pack = rig.packs().at(GENERATE(0U, 1U)); // the older one is the larger
  flip_byte(pack, GENERATE(0L, 40L, -5L));            // in its head, its first object, its hash
  const auto done = rig.heal();
  CHECK_THAT(text(done.healed), ContainsSubstring("damaged"));
  CHECK(fs::exists(rig.at("townkeeper/set-aside") / pack.filename())); // an unpushed commit may be in there
  CHECK(read(worktree / "unsaved") == "my work");
}

TEST_CASE("a truncated pack is found and healed") {
  const warm_rig rig;
  const auto pack = rig.packs().at(GENERATE(0U, 1U));
  fs::permissions(pack, fs::perms::owner_write, fs::perm_options::add);
  fs::resize_file(pack, GENERATE(0U, 100U));
  rig.heal();
}

TEST_CASE("a missing pack is found and healed") {
  const warm_rig rig;
  const auto pack = rig.packs().at(GENERATE(0U, 1U));
  fs::remove(pack);
  if (GENERATE(true, false)) fs::remove(fs::path(pack).replace_extension(".idx"));
  rig.heal();
}

TEST_CASE("all objects are gone: all come again") {
  const warm_rig rig;
  fs::remove_all(rig.at("objects"));
  rig.heal();
}

TEST_CASE("a missing or damaged pack index is made again from its pack, without the remote") {
  const warm_rig rig;
  const auto index = fs::path(rig.packs().at(GENERATE(0U, 1U))).replace_extension(".idx");
  if (GENERATE(true, false))
    flip_byte(index, 1100);
  else
    fs::remove(index);
  const auto done = rig.heal();
  CHECK(done.fetched_objects == 0);
  CHECK_THAT(text(done.healed), ContainsSubstring("index of pack-"));
}

TEST_CASE("an empty loose object that a power cut left is removed and fetched again") {
  const warm_rig rig;
  const auto worktree = rig.dirty_worktree("gt/one");
  run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "pushed"});
  run_git(worktree, {"push", "-q"});
  const auto pushed = id_of(worktree, "HEAD");
  const auto object = rig.at("objects/" + pushed.substr(0, 2) + "/" + pushed.substr(2));
  REQUIRE(fs::exists(object));
  fs::permissions(object, fs::perms::owner_write, fs::perm_options::add);
  fs::resize_file(object, 0);
  const auto done = rig.heal();
  CHECK(done.tips.at("gt/one") == pushed);
  CHECK(read(worktree / "unsaved") == "my work");
}

TEST_CASE("an agent's own broken branch does not keep the rig from being fetched") {
  const warm_rig rig;
  write(rig.at("refs/heads/gt/broken"), std::string(40, 'd') + "\n");
  const auto tip = rig.server.commit("app", {.branch = "gt/one", .files = {{"new", "1"}}});
  const auto done = restore(rig.job);
  REQUIRE(done);
  CHECK(done->tips.at("gt/one") == tip);
  CHECK(id_of(rig.repository(), "refs/remotes/origin/gt/one") == tip);
}

TEST_CASE("commits that only the disk has survive the healing of a pack") {
  const warm_rig rig;
  const auto worktree = rig.dirty_worktree("gt/one");
  run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "not pushed"});
  const auto mine = id_of(worktree, "HEAD");
  flip_byte(rig.packs().front(), -30);
  rig.heal();
  CHECK(id_of(rig.repository(), "refs/heads/gt/one") == mine);
  CHECK(run_git(worktree, {"status", "--porcelain"}) == "?? unsaved");
}

TEST_CASE("a half-written repository is completed") {
  const warm_rig rig;
  const auto worktree = rig.dirty_worktree("gt/one");
  SECTION("an empty directory") {
    fs::remove_all(rig.repository());
    fs::create_directories(rig.repository());
  }
  SECTION("no HEAD") {
    fs::remove(rig.at("HEAD"));
  }
  SECTION("an empty HEAD") {
    write(rig.at("HEAD"), "");
  }
  SECTION("no configuration") {
    fs::remove(rig.at("config"));
  }
  SECTION("an empty configuration") {
    write(rig.at("config"), "");
  }
  SECTION("a configuration cut short") {
    write(rig.at("config"), read(rig.at("config")).substr(0, 90) + "\n[\"x\n");
  }
  SECTION("no refs") {
    fs::remove_all(rig.at("refs"));
  }
  SECTION("no packed refs") {
    fs::remove(rig.at("packed-refs"));
  }
  SECTION("packed refs cut short") {
    write(rig.at("packed-refs"), read(rig.at("packed-refs")).substr(0, GENERATE(60U, 110U, 130U)));
  }
  SECTION("packed refs full of zeros") {
    write(rig.at("packed-refs"), std::string(300, '\0'));
  }
  SECTION("a tracking ref full of zeros") {
    write(rig.at("refs/remotes/origin/gt/one"), std::string(41, '\0'));
  }
  SECTION("an empty tracking ref") {
    write(rig.at("refs/remotes/origin/main"), "");
  }
  SECTION("a tracking ref to a commit that is not there") {
    write(rig.at("refs/remotes/origin/gt/two"), std::string(40, 'e') + "\n");
  }
  SECTION("an empty default branch") {
    write(rig.at("refs/heads/main"), "");
  }
  const auto done = rig.restore_all();
  for (const char* key : {"gc.auto", "push.autosetupremote", "remote.origin.fetch"})
    CHECK_FALSE(run_git(rig.repository(), {"config", "--local", key}).empty());
  CHECK(read(worktree / "unsaved") == "my work");
}

TEST_CASE("wherever a configuration is cut off, git reads the mended one, and it says what it must") {
  const warm_rig rig;
  const auto whole = read(rig.at("config"));
  for (std::size_t cut = 1; cut < whole.size(); cut += 3) {
    CAPTURE(whole.substr(0, cut));
    write(rig.at("config"), whole.substr(0, cut));
    rig.restore_all();
    for (const char* key : {"gc.auto", "push.autosetupremote", "remote.origin.fetch"})
      CHECK_FALSE(run_git(rig.repository(), {"config", "--local", key}).empty());
  }
}

TEST_CASE("an unreadable configuration is kept beside the new one") {
  const warm_rig rig;
  const std::string broken = "[user\n\tname = An Agent\n";
  write(rig.at("config"), broken);
  rig.heal();
  CHECK(read(rig.at("townkeeper/set-aside/config")) == broken);
}

TEST_CASE("a repository beyond mending is cloned afresh, set aside, and its worktrees stay") {
  const warm_rig rig;
  const auto worktree = rig.dirty_worktree("gt/one");
  fs::remove_all(rig.at("objects"));
  write(rig.at("objects"), "not a directory");
  const auto done = rig.heal();
  CHECK(done.repository == rig.repository());
  CHECK_THAT(text(done.healed), ContainsSubstring(".kept/repo.git-1"));
  CHECK(read(rig.disk.rig() / ".kept/repo.git-1/objects") == "not a directory");
  CHECK(read(worktree / "unsaved") == "my work");
  CHECK(fs::exists(rig.at("worktrees/a1/HEAD")));
}

TEST_CASE("something that is no directory in the repository's place is set aside") {
  const warm_rig rig;
  fs::remove_all(rig.repository());
  write(rig.repository(), "a file");
  rig.heal();
  CHECK(read(rig.disk.rig() / ".kept/repo.git-1") == "a file");
}

TEST_CASE("locks whose owners are dead are removed") {
  const warm_rig rig;
  const std::string locks[] = {"config.lock",
                               "HEAD.lock",
                               "packed-refs.lock",
                               "shallow.lock",
                               "index.lock",
                               "refs/heads/main.lock",
                               "refs/remotes/origin/gt/one.lock",
                               "objects/info/commit-graph.lock",
                               "objects/pack/multi-pack-index.lock"};
  for (const auto& lock : locks)
    write(rig.at(lock), "");
  rig.server.commit("app", {.branch = "gt/one", .files = {{"new", "1"}}});
  rig.server.commit("app", {.branch = "main", .files = {{"new", "1"}}});
  const auto done = rig.heal();
  for (const auto& lock : locks) {
    CHECK_THAT(text(done.healed), ContainsSubstring(lock));
    CHECK_FALSE(fs::exists(rig.at(lock)));
  }
}

TEST_CASE("a lock that a living process holds stays, and fails only what needs it") {
  const warm_rig rig;
  const auto lock = rig.at("refs/remotes/origin/gt/one.lock");
  write(lock, "");
  const int held = open(lock.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(held >= 0);
  CHECK(restore(rig.job)); // nothing moved: nobody needs it
  CHECK(fs::exists(lock));
  rig.server.commit("app", {.branch = "gt/one", .files = {{"new", "1"}}});
  const auto refused = restore(rig.job);
  close(held);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::unavailable);
  CHECK(fs::exists(lock));
  rig.heal();
}

TEST_CASE("what dead processes of ours left behind is removed, and what living ones use is not") {
  const warm_rig rig;
  const std::string dead = "4194303-1-0000abcd";
  fs::create_directories(rig.disk.rig() / (".new-" + dead) / "objects");
  fs::create_directories(rig.at("objects/tmp_objdir-townkeeper-" + dead));
  write(rig.at(".tmp-tk-" + dead), "x");
  write(rig.at("townkeeper/.tmp-tk-" + dead), "x");
  const auto living = rig.disk.rig() / git::temporary_name(".new");
  fs::create_directories(living);
  rig.restore_all();
  CHECK(fs::exists(living));
  CHECK_FALSE(fs::exists(rig.disk.rig() / (".new-" + dead)));
  CHECK_FALSE(fs::exists(rig.at("objects/tmp_objdir-townkeeper-" + dead)));
  CHECK_FALSE(fs::exists(rig.at(".tmp-tk-" + dead)));
  CHECK_FALSE(fs::exists(rig.at("townkeeper/.tmp-tk-" + dead)));
}

TEST_CASE("a rig that another job holds is not touched") {
  const warm_rig rig;
  const int held = open(rig.disk.rig().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(held >= 0);
  REQUIRE(flock(held, LOCK_EX | LOCK_NB) == 0);
  const auto requests = rig.server.requests().size();
  const auto refused = restore(rig.job);
  close(held);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::unavailable);
  CHECK(rig.server.requests().size() == requests);
}

TEST_CASE("damage and a remote that is down: the error is the remote's, and the next attempt heals") {
  warm_rig rig;
  fs::remove(rig.packs().front());
  rig.server.stop();
  const auto refused = restore(rig.job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::unavailable);
  rig.server.start();
  rig.restore_all();
}

TEST_CASE("a repository of features townkeeper does not restore is named and left alone") {
  const warm_rig rig;
  std::string feature;
  SECTION("SHA-256") {
    run_git(rig.repository(), {"config", "core.repositoryformatversion", "1"});
    run_git(rig.repository(), {"config", "extensions.objectFormat", "sha256"});
    feature = "sha256";
  }
  SECTION("reftable") {
    run_git(rig.repository(), {"config", "core.repositoryformatversion", "1"});
    // The git of this machine may be too old to write it itself once the version says 1.
    write(rig.at("config"), read(rig.at("config")) + "[extensions]\n\trefStorage = reftable\n");
    feature = "reftable";
  }
  SECTION("a partial clone") {
    run_git(rig.repository(), {"config", "remote.origin.promisor", "true"});
    run_git(rig.repository(), {"config", "remote.origin.partialclonefilter", "blob:none"});
    feature = "partial clone";
  }
  SECTION("shallow history") {
    write(rig.at("shallow"), rig.server.tip("app", "main") + "\n");
    feature = "shallow";
  }
  SECTION("an extension of the future") {
    write(rig.at("config"), read(rig.at("config")) + "[extensions]\n\tteleport = true\n");
    feature = "teleport";
  }
  const auto before = traces(rig.repository());
  const auto refused = restore(rig.job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::unsupported);
  CHECK_THAT(refused.error().message, ContainsSubstring(feature));
  CHECK(changes_since(before, rig.repository()) == "");
}

TEST_CASE("an agent's sparse checkout of its own does not fail the rig") {
  const warm_rig rig;
  const auto worktree = rig.dirty_worktree("gt/one");
  run_git(worktree, {"sparse-checkout", "set", "later"});
  CHECK(run_git(rig.repository(), {"config", "extensions.worktreeConfig"}) == "true");
  CHECK(restore(rig.job));
}
