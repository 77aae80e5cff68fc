// Many at once, called off, and disks that are full or read-only.
#include <catch2/catch_test_macros.hpp>
#include <sys/mount.h>
#include <unistd.h>

#include <thread>

#include "git/handle.hpp"
#include "git/object_id.hpp"
#include "git/repository_layout.hpp"
#include "git/worktree_creation.hpp"
#include "git/worktree_place.hpp"
#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

tree_paths many_files(int count, std::size_t bytes = 100) {
  tree_paths paths;
  for (int i = 0; i < count; ++i)
    paths["dir-" + std::to_string(i % 10) + "/file-" + std::to_string(i)] =
        tree_path::file(noise(bytes, static_cast<unsigned>(i)));
  return paths;
}

/// Neither files nor registration, nor anything half-made.
void check_nothing_left(const worktree_rig& rig, const std::string& agent = "a1") {
  CHECK_FALSE(fs::exists(rig.worktree(agent)));
  CHECK_FALSE(fs::exists(rig.registration(agent)));
  const auto staging = rig.rig() / "worktrees/.new";
  CHECK((!fs::exists(staging) || fs::is_empty(staging)));
}

/// A small file system of its own, unmounted at the end.
class small_disk {
public:
  explicit small_disk(const std::string& size) {
    if (::geteuid() != 0 || ::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, ("size=" + size).c_str()) != 0)
      SKIP("a file system can only be mounted by root");
  }
  ~small_disk() { ::umount2(dir_.path().c_str(), MNT_DETACH); }
  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;

  void resize(const std::string& size) const { remount(0, "size=" + size); }
  void make_read_only(bool read_only) const { remount(read_only ? MS_RDONLY : 0, ""); }

  /// The rig is here from now on; jobs must say so.
  void take(const worktree_rig& rig) const {
    fs::copy(rig.rig().parent_path(), dir_.path() / "rigs",
             fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  }
  git::worktree_job job(const worktree_rig& rig) const {
    auto job = rig.job();
    job.repository = dir_.path() / "rigs/r1/repo.git";
    job.worktree = dir_.path() / "rigs/r1/worktrees/a1";
    return job;
  }

private:
  void remount(unsigned long flags, const std::string& options) const {
    REQUIRE(::mount("tmpfs", dir_.path().c_str(), "tmpfs", MS_REMOUNT | flags, options.c_str()) == 0);
  }
  temp_dir dir_{"disk"};
};

} // namespace

TEST_CASE("sixteen worktrees of one repository at once are all there, registered and locked with a reason") {
  constexpr int agents = 16;
  worktree_rig rig;
  const auto tip = rig.commit("work", many_files(60));
  std::vector<std::string> branches;
  for (int i = 0; i < agents; ++i) {
    branches.push_back("agent-" + std::to_string(i));
    run_git(rig.remote(), {"update-ref", "refs/heads/" + branches.back(), tip});
  }
  rig.fetch(branches);
  std::vector<std::string> failures(agents);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < agents; ++i)
      threads.emplace_back([&, i] {
        const auto done = test::restore(rig.job(branches[static_cast<std::size_t>(i)], "a" + std::to_string(i)));
        if (!done) failures[static_cast<std::size_t>(i)] = to_string(done.error());
      });
  }
  for (const auto& failure : failures)
    CHECK(failure == "");
  const auto list = run_git(rig.repository(), {"worktree", "list", "--porcelain"}) + "\n";
  for (int i = 0; i < agents; ++i) {
    const auto agent = "a" + std::to_string(i);
    CHECK(list.find("worktrees/" + agent + "\nHEAD " + tip + "\nbranch refs/heads/agent-" + std::to_string(i) +
                    "\nlocked townkeeper restores this worktree for agent " + agent + "\n") != std::string::npos);
    CHECK(status_of(rig.worktree(agent)) == "");
  }
  CHECK(run_git(rig.repository(), {"worktree", "prune", "-v"}) == "");
  CHECK(run_git(rig.repository(), {"fsck", "--no-dangling"}) == "");
}

TEST_CASE("two jobs for one branch at once: one gets it") {
  worktree_rig rig;
  rig.commit("work", many_files(50));
  rig.fetch({"work"});
  std::atomic<int> restored{0}, refused{0};
  {
    std::vector<std::jthread> threads;
    for (const std::string agent : {"a1", "a2", "a3", "a4"})
      threads.emplace_back([&, agent] {
        const auto done = test::restore(rig.job("work", agent));
        if (done)
          ++restored;
        else if (done.error().code == error_code::conflict)
          ++refused;
      });
  }
  CHECK(restored == 1);
  CHECK(refused == 3);
}

TEST_CASE("a restore called off in mid-write registers no worktree and leaves nothing") {
  worktree_rig rig;
  const auto tip = rig.commit("work", many_files(300));
  rig.fetch({"work"});
  auto job = rig.job();
  job.cancel = std::make_shared<std::atomic<bool>>(false);
  const auto listed = [&] { return run_git(rig.repository(), {"worktree", "list"}); };
  const auto before = listed();
  const auto done = git::restore_worktree(job, [&](const git::worktree_progress& p) {
    if (p.step != git::worktree_step::files) return;
    // Called when writing begins: git must know nothing of the worktree then, nor after.
    CHECK(listed() == before);
    *job.cancel = true;
  });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::cancelled);
  check_nothing_left(rig);
  CHECK(listed() == before);
  CHECK(id_of(rig.repository(), "refs/heads/work").empty());
  REQUIRE(rig.restore());
  CHECK(listed() != before);
  CHECK(flaws_of(rig, tip) == "");
}

TEST_CASE("a restore called off stops at the next file, not after the last") {
  worktree_rig rig;
  const auto blob = run_git(rig.repository(), {"hash-object", "-w", "--stdin"}, "x");
  const std::string nowhere = "0123456789012345678901234567890123456789"; // who reads it has gone on
  auto job = rig.job();
  job.remote_tip =
      commit_of_tree(rig.repository(), raw_tree(rig.repository(), {{"100644", "a", blob}, {"100644", "b", nowhere}}));
  job.cancel = std::make_shared<std::atomic<bool>>(false);
  const auto done = git::restore_worktree(job, [&](const git::worktree_progress& p) {
    if (p.step == git::worktree_step::files) *job.cancel = true;
  });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::cancelled);
}

TEST_CASE("a job called off before it begins touches nothing") {
  worktree_rig rig;
  rig.commit("work", many_files(3));
  rig.fetch({"work"});
  auto job = rig.job();
  job.cancel = std::make_shared<std::atomic<bool>>(true);
  CHECK(test::restore(job).error().code == error_code::cancelled);
  check_nothing_left(rig);
}

TEST_CASE("a move called off is completed by the next restore") {
  worktree_rig rig;
  rig.commit("work", many_files(20));
  rig.restored();
  const auto after = rig.commit("work", many_files(20, 101));
  rig.fetch({"work"});
  auto job = rig.job();
  job.cancel = std::make_shared<std::atomic<bool>>(false);
  const auto done = git::restore_worktree(job, [&](const git::worktree_progress& p) {
    if (p.step == git::worktree_step::files) *job.cancel = true;
  });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::cancelled);
  CHECK(mentions(rig.restored().healed, "interrupted"));
  CHECK(flaws_of(rig, after) == "");
}

TEST_CASE("what dead predecessors half made is swept, what living ones make is not") {
  worktree_rig rig;
  rig.commit("work", many_files(3));
  rig.restored();
  const auto staging = rig.rig() / "worktrees/.new";
  const auto dead = staging / "a9-999999999-1-0123abcd";
  const auto living = staging / git::temporary_name("a9").c_str();
  write(dead / "files/deep/er/file", "x");
  write(living / "files/file", "x");
  write(staging / "not-ours", "x");
  rig.restored();
  CHECK_FALSE(fs::exists(dead));
  CHECK(fs::exists(living));
  CHECK(fs::exists(staging / "not-ours"));
}

TEST_CASE("a full disk: the error says so, nothing half-made stays, and with room it goes on") {
  const small_disk disk("1m");
  worktree_rig rig;
  rig.commit("work", many_files(300, 4000));
  rig.fetch({"work"});
  disk.resize("8m");
  disk.take(rig);
  const auto used = fs::space(disk.job(rig).repository);
  disk.resize(std::to_string(used.capacity - used.available + 400'000));
  const auto done = test::restore(disk.job(rig));
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::disk);
  CHECK(done.error().message.find("No space left") != std::string::npos);
  CHECK_FALSE(fs::exists(disk.job(rig).worktree));
  CHECK(run_git(disk.job(rig).repository, {"worktree", "list"}).find("a1") == std::string::npos);
  CHECK(fs::is_empty(disk.job(rig).worktree.parent_path() / ".new"));

  disk.resize("8m");
  REQUIRE(test::restore(disk.job(rig)));
  CHECK(status_of(disk.job(rig).worktree) == "");
}

TEST_CASE("a disk that fills up in mid-move: the next restore with room completes it") {
  const small_disk disk("16m");
  worktree_rig rig;
  rig.commit("work", many_files(100, 1000));
  rig.fetch({"work"});
  disk.take(rig);
  REQUIRE(test::restore(disk.job(rig)));
  const auto after = rig.commit("work", many_files(100, 9000));
  rig.fetch({"work"});
  fs::remove_all(disk.job(rig).repository / "objects");
  fs::copy(rig.repository() / "objects", disk.job(rig).repository / "objects", fs::copy_options::recursive);
  const auto used = fs::space(disk.job(rig).repository);
  disk.resize(std::to_string(used.capacity - used.available + 400'000));
  const auto done = test::restore(disk.job(rig));
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::disk);

  disk.resize("16m");
  const auto again = test::restore(disk.job(rig));
  REQUIRE(again);
  CHECK_FALSE(again->left_dirty);
  CHECK(again->commit == after);
  CHECK(status_of(disk.job(rig).worktree) == "");
}

TEST_CASE("a read-only disk: an error that says so, and an intact worktree on it is still found intact") {
  const small_disk disk("8m");
  worktree_rig rig;
  rig.commit("work", many_files(10));
  rig.fetch({"work"});
  disk.take(rig);
  SECTION("nothing there yet") {
    disk.make_read_only(true);
    const auto done = test::restore(disk.job(rig));
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::disk);
    CHECK(done.error().message.find("Read-only") != std::string::npos);
  }
  SECTION("an intact worktree") {
    REQUIRE(test::restore(disk.job(rig)));
    disk.make_read_only(true);
    const auto done = test::restore(disk.job(rig));
    REQUIRE(done);
    CHECK(done->files_written == 0);
  }
  disk.make_read_only(false);
}

TEST_CASE("an object the repository lacks: the error names it, and no worktree is made") {
  worktree_rig rig;
  const std::string nowhere = "0123456789012345678901234567890123456789";
  auto job = rig.job();
  SECTION("a blob") {
    job.remote_tip = commit_of_tree(rig.repository(), raw_tree(rig.repository(), {{"100644", "a", nowhere}}));
  }
  SECTION("a tree") {
    job.remote_tip = commit_of_tree(rig.repository(), raw_tree(rig.repository(), {{"40000", "dir", nowhere}}));
  }
  SECTION("the commit") {
    job.remote_tip = nowhere;
  }
  const auto done = test::restore(job);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::corrupt);
  CHECK(done.error().object == nowhere);
  check_nothing_left(rig);
}

TEST_CASE("an object whose bytes are not what its name says is never written to a file") {
  worktree_rig rig;
  const auto blob = run_git(rig.repository(), {"hash-object", "-w", "--stdin"}, "right");
  const auto wrong = run_git(rig.repository(), {"hash-object", "-w", "--stdin"}, "wrong");
  const auto file = [&](const std::string& id) {
    return rig.repository() / "objects" / id.substr(0, 2) / id.substr(2);
  };
  fs::remove(file(blob));
  fs::rename(file(wrong), file(blob));
  auto job = rig.job();
  job.remote_tip = commit_of_tree(rig.repository(), raw_tree(rig.repository(), {{"100644", "a", blob}}));
  const auto done = test::restore(job);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::corrupt);
  CHECK(done.error().object == blob);
  check_nothing_left(rig);
}

TEST_CASE("a worktree that is not what was written is not verified") {
  worktree_rig rig;
  const auto first = rig.commit("work", {{"a", tree_path::file("1\n")}, {"b", tree_path::file("2\n")}});
  REQUIRE(rig.restore());
  const auto place = git::open_place(rig.job());
  REQUIRE(place);
  const auto at = git::parse_oid(first);
  REQUIRE(at);
  git::repository_handle repository;
  REQUIRE(git_repository_open_bare(git::out(repository), rig.repository().c_str()) == 0);
  const auto verified = [&](std::size_t entries = 2) {
    return git::verify_worktree(*place, repository.get(), "work", *at, entries);
  };
  REQUIRE(verified());

  CHECK(verified(3).error().code == error_code::corrupt);
  const auto head = test::read(rig.registration() / "HEAD");
  test::write(rig.registration() / "HEAD", "ref: refs/heads/main\n");
  CHECK(verified().error().code == error_code::corrupt);
  test::write(rig.registration() / "HEAD", first + "\n");
  CHECK(verified().error().code == error_code::corrupt);
  CHECK(git::verify_worktree(*place, repository.get(), "", *at, 2)); // detached, where it should be
  CHECK(git::verify_worktree(*place, repository.get(), "", {}, 2).error().code == error_code::corrupt);
  test::write(rig.registration() / "HEAD", head);
  for (const auto& [file, other] : {std::pair{rig.worktree() / ".git", "gitdir: /elsewhere\n"},
                                    std::pair{rig.registration() / "gitdir", "/elsewhere/.git\n"}}) {
    INFO(file);
    const auto content = test::read(file);
    test::write(file, other);
    CHECK(verified().error().code == error_code::corrupt);
    test::write(file, content);
  }
  fs::rename(rig.registration() / "commondir", rig.registration() / "away");
  CHECK(verified().error().code == error_code::corrupt);
  fs::rename(rig.registration() / "away", rig.registration() / "commondir");
  REQUIRE(verified());
  const auto main = run_git(rig.repository(), {"rev-parse", "main"});
  run_git(rig.repository(), {"update-ref", "refs/heads/work", main});
  CHECK(verified().error().code == error_code::corrupt);
  run_git(rig.repository(), {"update-ref", "-d", "refs/heads/work"});
  CHECK(verified().error().code == error_code::corrupt);
  run_git(rig.repository(), {"update-ref", "refs/heads/work", first});
  REQUIRE(verified());
  test::write(rig.registration() / "index", "nothing");
  CHECK_FALSE(verified());
}
