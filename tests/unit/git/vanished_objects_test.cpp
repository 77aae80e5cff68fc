// What the agent's own git may remove between two saves, and what a point keeps all the same.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "git/private_objects.hpp"
#include "saved_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

class collected_rig : public saved_rig {
public:
  git::snapshot moment(const std::string& agent = "a1") const {
    git::snapshot_job job;
    job.rig_id = "r1";
    job.agent_id = agent;
    job.repository = repository();
    job.worktree = worktree(agent);
    job.branch = "gt/" + agent;
    job.identity = "An Agent <agent@example.invalid>";
    job.agent_branches = {"gt/" + agent};
    auto taken = git::take_snapshot(job);
    if (!taken) throw std::runtime_error{to_string(taken.error())};
    return std::move(*taken);
  }

  git::pushed_point pushed(git::snapshot taken) const {
    auto job = push_job(std::vector<std::string>{});
    job.items.push_back({std::move(taken), ref(), "auto", false});
    auto answers = git::push_points(job);
    if (!answers) throw std::runtime_error{to_string(answers.error())};
    return answers->front();
  }

  town::recovery_point saved(git::snapshot taken) const {
    const auto answer = pushed(std::move(taken));
    if (!answer.point) throw std::runtime_error{to_string(answer.point.error())};
    if (!*answer.point) throw std::runtime_error{"no point was made"};
    return **answer.point;
  }

  std::string commit(const std::string& content) const {
    put("a.txt", content);
    git({"commit", "-q", "-a", "-m", content});
    return git({"rev-parse", "HEAD"});
  }

  /// What an agent may do to get rid of what it thinks is nothing.
  void collect_garbage() const {
    git({"reflog", "expire", "--expire=now", "--all"});
    git({"gc", "--quiet", "--prune=now"});
  }

  bool has(const std::string& id) const { return try_git(repository(), {"cat-file", "-e", id}).status == 0; }

  /// A clone of nothing but the point, which has passed fsck.
  fs::path clone() const {
    auto into = dir_.path() / ("clone" + std::to_string(++clones_));
    clone_of_ref(into, served(), ref());
    CHECK(try_git(into, {"fsck", "--full", "--strict"}).status == 0);
    return into;
  }

private:
  temp_dir dir_;
  mutable int clones_ = 0;
};

bool holds(const fs::path& clone, const std::string& id) {
  return try_git(clone, {"cat-file", "-e", id}).status == 0;
}

} // namespace

TEST_CASE("what garbage collection removes between the snapshot and the push is sent all the same") {
  const collected_rig rig;
  rig.put("big.bin", noise(300'000));
  rig.git({"add", "big.bin"});
  rig.commit("first\n");
  const auto lost = rig.commit("second\n");
  const bool packed = GENERATE(false, true);
  CAPTURE(packed);
  if (packed) rig.git({"gc", "--quiet"});
  const auto taken = rig.moment();
  rig.git({"reset", "-q", "--hard", "origin/gt/a1"});
  fs::remove(rig.repository() / "worktrees/a1/ORIG_HEAD");
  rig.collect_garbage();
  REQUIRE_FALSE(rig.has(lost));
  rig.saved(taken);
  const auto clone = rig.clone();
  CHECK(run_git(clone, {"rev-parse", "refs/points/one^1^1"}) == lost);
  CHECK(run_git(clone, {"show", lost + ":big.bin"}) == run_git(clone, {"show", "refs/points/one:worktree/big.bin"}));
}

TEST_CASE("what was saved once is in nobody's way when the agent's repository has it no more") {
  const collected_rig rig;
  rig.git({"checkout", "-q", "-b", "experiment"});
  const auto branch = rig.commit("an experiment\n");
  rig.git({"tag", "-a", "-m", "mine", "v1"});
  rig.git({"checkout", "-q", "gt/a1"});
  rig.put("a.txt", "stashed\n");
  rig.git({"stash"});
  const auto stashed = rig.git({"rev-parse", "refs/stash"});
  const auto amended = rig.commit("to be amended\n");
  rig.put("a.txt", "amended\n");
  rig.git({"commit", "-q", "-a", "--amend", "-m", "amended"});
  rig.git({"update-ref", "ORIG_HEAD", amended});
  const auto first = rig.saved(rig.moment());
  const auto whole = rig.clone();
  for (const auto& id : {branch, stashed, amended})
    CHECK(holds(whole, id));

  rig.git({"branch", "-q", "-D", "experiment"});
  rig.git({"tag", "-d", "v1"});
  rig.git({"stash", "drop", "-q"});
  SECTION("ORIG_HEAD still names what is gone") {}
  SECTION("nothing does") {
    fs::remove(rig.repository() / "worktrees/a1/ORIG_HEAD");
    rig.git({"reset", "-q", "--hard", "origin/gt/a1"});
    fs::remove(rig.repository() / "worktrees/a1/ORIG_HEAD");
  }
  rig.collect_garbage();
  REQUIRE_FALSE(rig.has(amended));
  REQUIRE_FALSE(rig.has(branch));
  rig.put("b.txt", "and on\n");
  const auto second = rig.saved(rig.moment());
  CHECK(second.seq > first.seq);
  const auto after = rig.clone();
  CHECK(run_git(after, {"rev-parse", "refs/points/one^1^1"}) == rig.git({"rev-parse", "HEAD"}));
  CHECK_FALSE(holds(after, branch));
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {second.commit}));
  rig.put("b.txt", "and on, again\n");
  rig.collect_garbage();
  rig.saved(rig.moment());
  rig.clone();
}

TEST_CASE("an older point with a hole is passed over: the next is sent whole") {
  const collected_rig rig;
  const auto lost = rig.commit("unpushed\n");
  const auto first = rig.saved(rig.moment());
  rig.git({"reset", "-q", "--hard", "origin/gt/a1"});
  fs::remove(rig.repository() / "worktrees/a1/ORIG_HEAD");
  rig.collect_garbage();
  // As after a crash of the machine: nothing in the store is synced.
  const auto store = git::private_objects_path(rig.repository(), "a1");
  REQUIRE(fs::remove(store / lost.substr(0, 2) / lost.substr(2)));
  rig.put("a.txt", "dirty\n");
#ifdef __SANITIZE_ADDRESS__
  // libgit2 1.8.4 does not free what a walk has listed when it meets a commit that is gone.
  const __lsan::ScopedDisabler leak_of_libgit2;
#endif
  const auto second = rig.saved(rig.moment());
  CHECK(second.commit == rig.on_remote(rig.ref()));
  rig.clone();
  // The one with the hole is forgotten, so that it costs one connection more only once.
  CHECK_FALSE(fs::exists(store / first.commit.substr(0, 2) / first.commit.substr(2)));
}

TEST_CASE("a snapshot whose objects are gone is a conflict with the agent, and the next one is whole") {
  const collected_rig rig;
  rig.put("untracked", noise(100'000));
  const auto lost = rig.commit("unpushed\n");
  const auto taken = rig.moment();
  const auto store = git::private_objects_path(rig.repository(), "a1");
  SECTION("a commit that the repository has no more") {
    rig.git({"reset", "-q", "--hard", "origin/gt/a1"});
    fs::remove(rig.repository() / "worktrees/a1/ORIG_HEAD");
    rig.collect_garbage();
    REQUIRE(fs::remove(store / lost.substr(0, 2) / lost.substr(2)));
  }
  SECTION("a file of its own") {
    const auto blob = rig.git({"hash-object", "untracked"});
    REQUIRE(fs::remove(store / blob.substr(0, 2) / blob.substr(2)));
  }
  SECTION("all of them") {
    fs::remove_all(store);
  }
#ifdef __SANITIZE_ADDRESS__
  // libgit2 1.8.4 does not free what a walk has listed when it meets a commit that is gone.
  const __lsan::ScopedDisabler leak_of_libgit2;
#endif
  const auto answer = rig.pushed(taken);
  CHECK((!answer.point &&
         (answer.point.error().code == error_code::conflict || answer.point.error().code == error_code::corrupt)));
  rig.saved(rig.moment());
  rig.clone();
}

TEST_CASE("one agent's loss is not another's") {
  const saved_rig rig({"a1", "a2"});
  rig.put("new", noise(50'000), "a1");
  rig.put("new", noise(50'000, 2), "a2");
  const auto job = rig.push_job();
  const auto blob = rig.git({"hash-object", "new"}, "a1");
  const auto store = git::private_objects_path(rig.repository(), "a1");
  REQUIRE(fs::remove(store / blob.substr(0, 2) / blob.substr(2)));
  const auto pushed = git::push_points(job);
  REQUIRE(pushed);
  REQUIRE_FALSE(pushed->front().point);
  CHECK(pushed->front().point.error().code == error_code::conflict);
  REQUIRE(pushed->back().point);
  CHECK(rig.on_remote(rig.ref("a2")) == (*pushed->back().point)->commit);
}

TEST_CASE("one agent's damage is not another's") {
  const saved_rig rig({"a1", "a2"});
  rig.put("new", noise(50'000), "a1");
  rig.git({"add", "new"}, "a1");
  rig.git({"commit", "-q", "-m", "not pushed"}, "a1");
  rig.put("new", noise(50'000, 2), "a2");
  const auto job = rig.push_job();
  const auto blob = rig.git({"rev-parse", "HEAD:new"}, "a1");
  // The store's file is the same one, by another name.
  fs::resize_file(rig.repository() / "objects" / blob.substr(0, 2) / blob.substr(2), 1000);
  const auto pushed = git::push_points(job);
  REQUIRE(pushed);
  CHECK_FALSE(pushed->front().point);
  REQUIRE(pushed->back().point);
  CHECK(rig.on_remote(rig.ref("a2")) == (*pushed->back().point)->commit);
}

TEST_CASE("an unchanged history costs nothing, and a new commit only itself") {
  const collected_rig rig;
  for (int i = 0; i < 5; ++i)
    rig.commit("commit " + std::to_string(i) + "\n");
  rig.saved(rig.moment());
  const auto count = [&] {
    std::size_t files = 0;
    for (const auto& each : fs::recursive_directory_iterator(git::private_objects_path(rig.repository(), "a1")))
      files += each.is_regular_file() ? 1 : 0;
    return files;
  };
  const auto before = count();
  rig.moment();
  CHECK(count() == before);
  rig.commit("one more\n");
  rig.moment();
  // The commit with its tree and file; W, the index commit, and the trees and documents of a point.
  CHECK(count() - before < 12);
}
