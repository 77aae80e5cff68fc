// Points on their way out: what the remote has afterwards, judged by git's own command line.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "saved_rig.hpp"
#include "tests/support/fault_proxy.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

/// The one answer of a job with one item.
git::pushed_point push_one(const git::push_job& job) {
  auto pushed = git::push_points(job);
  INFO((pushed ? std::string{} : to_string(pushed.error())));
  REQUIRE(pushed);
  REQUIRE(pushed->size() == 1);
  return pushed->front();
}

} // namespace

TEST_CASE("an acknowledged point lies on the remote, is whole by itself, and is a stash for plain git") {
  saved_rig rig;
  rig.put("a.txt", "one, changed\n");
  rig.put("b.txt", "two, staged\n");
  rig.git({"add", "b.txt"});
  rig.put("new.txt", "untracked\n");
  const auto point = rig.save();
  CHECK(rig.on_remote(rig.ref()) == point.commit);
  CHECK(point.seq == 1);
  CHECK(point.epoch == 3);
  CHECK(point.remote_commit == rig.server.tip("app", "gt/a1"));
  CHECK_FALSE(point.clean);

  const temp_dir dir;
  const auto clone = clone_of_ref(dir.path() / "clone", rig.served(), rig.ref());
  CHECK(is_sound(clone));
  run_git(clone, {"checkout", "-q", "--detach", "refs/points/one^1^1"});
  run_git(clone, {"stash", "apply", "--index", "refs/points/one^1"});
  CHECK(run_git(clone, {"status", "--porcelain"}) == rig.git({"status", "--porcelain"}));
  CHECK(read(clone / "a.txt") == "one, changed\n");

  const auto read_back = git::read_point(rig.served(), point.commit, rig.ref());
  REQUIRE(read_back);
  CHECK(read_back->point == point);
}

TEST_CASE("a point is announced before it is sent, and only one that is sent") {
  saved_rig rig;
  rig.put("a.txt", "one, changed\n");
  auto job = rig.push_job();
  std::vector<std::string> announced;
  bool there = false;
  job.about_to_send = [&](const std::string& agent_id, const town::recovery_point& point) {
    announced.push_back(agent_id + " " + point.commit);
    there = rig.on_remote(rig.ref()) == point.commit;
  };
  const auto answer = push_one(job);
  REQUIRE(answer.point);
  REQUIRE(*answer.point);
  CHECK(announced == std::vector<std::string>{"a1 " + (*answer.point)->commit});
  CHECK_FALSE(there);
}

TEST_CASE(
    "a point brings with it what only this machine has: branches, tags, stash entries, the commits of an operation") {
  saved_rig rig;
  rig.git({"checkout", "-q", "--detach"});
  rig.put("a.txt", "an experiment\n");
  rig.git({"commit", "-q", "-a", "-m", "experiment"});
  rig.git({"branch", "experiment"});
  const auto experiment = rig.git({"rev-parse", "experiment"});
  rig.put("a.txt", "tagged\n");
  rig.git({"commit", "-q", "-a", "-m", "to be tagged"});
  rig.git({"tag", "-a", "-m", "an annotated tag", "v1"});
  const auto tagged = rig.git({"rev-parse", "HEAD"});
  rig.git({"checkout", "-q", "gt/a1"});
  rig.put("a.txt", "stashed\n");
  rig.git({"stash"});
  const auto stashed = rig.git({"rev-parse", "refs/stash"});
  rig.put("a.txt", "merged\n");
  auto job = rig.push_job();
  job.items[0].taken.operation_ids["MERGE_HEAD"] = experiment;
  const auto answer = push_one(job);
  REQUIRE(answer.point);
  REQUIRE(*answer.point);

  const temp_dir dir;
  const auto clone = clone_of_ref(dir.path() / "clone", rig.served(), rig.ref());
  CHECK(is_sound(clone));
  for (const auto& commit : {experiment, tagged, stashed})
    CHECK(try_git(clone, {"cat-file", "-e", commit}).status == 0);
  const auto parents = run_git(clone, {"log", "-1", "--format=%P", "refs/points/one"});
  CHECK(parents.starts_with(job.items[0].taken.stash_commit));
  CHECK(parents.find(experiment) == parents.rfind(experiment)); // once, although two things name it
  // The tag object itself is no commit and cannot be a parent: its bytes travel.
  const auto tag = rig.git({"rev-parse", "v1"});
  CHECK(run_git(clone, {"cat-file", "blob", "refs/points/one:tags/" + tag}) == rig.git({"cat-file", "tag", "v1"}));
}

TEST_CASE("a moment taken by take_snapshot travels as well, and the next sends little after the store was pruned") {
  saved_rig rig;
  rig.put("a.txt", "one, changed\n");
  rig.put("b.txt", "two, staged\n");
  rig.git({"add", "b.txt"});
  rig.put("untracked", noise(1024 * 1024));
  git::snapshot_job taking;
  taking.rig_id = "r1";
  taking.agent_id = "a1";
  taking.repository = rig.repository();
  taking.worktree = rig.worktree();
  taking.branch = "gt/a1";
  taking.identity = "An Agent <agent@example.invalid>";
  taking.agent_branches = {"gt/a1"};
  auto job = rig.push_job();
  const auto push_now = [&] {
    auto taken = git::take_snapshot(taking);
    INFO((taken ? std::string{} : to_string(taken.error())));
    REQUIRE(taken);
    job.items[0].taken = std::move(*taken);
    return push_one(job);
  };
  const auto first = push_now();
  REQUIRE(first.point);
  REQUIRE(*first.point);
  const temp_dir dir;
  const auto clone = clone_of_ref(dir.path() / "clone", rig.served(), rig.ref());
  CHECK(is_sound(clone));
  run_git(clone, {"checkout", "-q", "--detach", "refs/points/one^1^1"});
  run_git(clone, {"stash", "apply", "--index", "refs/points/one^1"});
  CHECK(run_git(clone, {"status", "--porcelain"}) == rig.git({"status", "--porcelain"}));

  const auto& saved = **first.point;
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {saved.commit}));
  rig.put("a.txt", "one, changed again\n");
  const auto second = push_now();
  REQUIRE(second.point);
  REQUIRE(*second.point);
  CHECK(second.sent_bytes < 20'000);
  CHECK((*second.point)->seq > saved.seq);
  CHECK(is_sound(rig.served()));
}

TEST_CASE("hundreds of branches the remote lacks all travel, below commits of ours") {
  saved_rig rig;
  std::string commands;
  for (int i = 0; i < 600; ++i)
    commands += "commit refs/heads/local/" + std::to_string(i) +
                "\ncommitter A <a@example.invalid> 1700000000 +0000\ndata 1\n" + static_cast<char>('a' + i % 26) +
                "\nM 644 inline f\ndata <<E\n" + std::to_string(i) + "\nE\n\n";
  run_git(rig.repository(), {"fast-import", "--quiet"}, commands);
  const auto answer = push_one(rig.push_job());
  REQUIRE(answer.point);
  REQUIRE(*answer.point);
  const temp_dir dir;
  const auto clone = clone_of_ref(dir.path() / "clone", rig.served(), rig.ref());
  for (const int i : {0, 1, 299, 598, 599})
    CHECK(try_git(clone, {"cat-file", "-e", rig.git({"rev-parse", "local/" + std::to_string(i)})}).status == 0);
  const auto parents = run_git(clone, {"log", "-1", "--format=%P", "refs/points/one"});
  CHECK(parents.size() < 300 * 41);
}

TEST_CASE("a worktree that was never dirty makes no point; one that becomes clean does") {
  saved_rig rig;
  CHECK(*push_one(rig.push_job()).point == std::nullopt);
  CHECK(*rig.seq == 0);
  rig.put("a.txt", "changed\n");
  CHECK_FALSE(rig.save().clean);
  rig.git({"checkout", "-q", "a.txt"});
  const auto clean = rig.save();
  CHECK(clean.clean);
  CHECK(clean.seq == 2);
  CHECK(rig.on_remote(rig.ref()) == clean.commit);
  saved_rig other;
  auto job = other.push_job();
  job.items[0].even_if_clean = true;
  const auto forced = push_one(job);
  REQUIRE(forced.point);
  REQUIRE(*forced.point);
  CHECK((*forced.point)->clean);
}

TEST_CASE("a commit, a detached HEAD or a stash that the remote lacks is not clean") {
  saved_rig rig;
  rig.put("a.txt", "changed\n");
  SECTION("a commit") {
    rig.git({"commit", "-q", "-a", "-m", "unpushed"});
  }
  SECTION("a stash entry") {
    rig.git({"stash"});
  }
  SECTION("a detached HEAD") {
    rig.git({"checkout", "-q", "a.txt"});
    rig.git({"checkout", "-q", "--detach"});
  }
  SECTION("an annotated tag") {
    rig.git({"checkout", "-q", "a.txt"});
    rig.git({"tag", "-a", "-m", "mine", "v1"});
  }
  const auto point = rig.save();
  CHECK_FALSE(point.clean);
}

TEST_CASE("one line changed beside many untracked bytes sends little, also after the first wake") {
  saved_rig rig;
  for (unsigned i = 0; i < 8; ++i)
    rig.put("blobs/" + std::to_string(i), noise(1024 * 1024, i + 1));
  rig.put("a.txt", "first\n");
  CHECK(push_one(rig.push_job()).sent_bytes > 8 * 1024 * 1024);
  rig.put("a.txt", "second\n");
  fault_proxy proxy(rig.server.port());
  auto job = rig.push_job();
  job.url = proxy.url("app");
  const auto answer = push_one(job);
  REQUIRE(answer.point);
  CHECK(answer.sent_bytes < 20'000);
  CHECK(proxy.bytes_from_client() < 40'000);
  CHECK(rig.on_remote(rig.ref()) == (*answer.point)->commit);

  rig.lose_disk();
  REQUIRE(restore(rig.wake_job()));
  run_git(rig.repository(), {"worktree", "add", "--quiet", "-b", "gt/a1", rig.worktree().string(), "origin/gt/a1"});
  for (unsigned i = 0; i < 8; ++i)
    rig.put("blobs/" + std::to_string(i), noise(1024 * 1024, i + 1));
  rig.put("a.txt", "third\n");
  const auto awake = push_one(rig.push_job({"a1"}, 4));
  REQUIRE(awake.point);
  CHECK(awake.sent_bytes < 20'000);
  CHECK(rig.on_remote(rig.ref("a1", 4)) == (*awake.point)->commit);
}

TEST_CASE("a remote that is a directory takes points as well, where the policy allows it") {
  saved_rig rig;
  rig.put("a.txt", "changed\n");
  auto job = rig.push_job();
  job.url = "file://" + rig.served().string();
  const auto refused = git::push_points(job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::invalid_argument);
  job.urls.allow_file = true;
  const auto answer = push_one(job);
  REQUIRE(answer.point);
  CHECK(rig.on_remote(rig.ref()) == (*answer.point)->commit);
  CHECK(is_sound(rig.served()));
}

TEST_CASE("several agents go through one connection, each with its own next seq") {
  saved_rig rig({"a1", "a2", "a3"});
  for (const auto& agent : rig.agents)
    rig.put("a.txt", "of " + agent + "\n", agent);
  const auto before = rig.server.requests().size();
  const auto pushed = git::push_points(rig.push_job());
  REQUIRE(pushed);
  CHECK(rig.server.requests().size() - before == 2);
  std::set<std::int64_t> seqs;
  for (const auto& answer : *pushed) {
    REQUIRE(answer.point);
    REQUIRE(*answer.point);
    CHECK(rig.on_remote(rig.ref(answer.agent_id)) == (*answer.point)->commit);
    seqs.insert((*answer.point)->seq);
  }
  CHECK(seqs == std::set<std::int64_t>{1, 2, 3});
}

TEST_CASE("a moment that a later one has overtaken is not put over it; the others of its push go on") {
  saved_rig rig({"a1", "a2"});
  rig.put("a.txt", "older\n");
  rig.put("a.txt", "of a2\n", "a2");
  auto older = rig.push_job();
  const auto overtaken = std::make_shared<std::atomic<bool>>(false);
  older.items[0].overtaken = overtaken;
  rig.put("a.txt", "later\n");
  const auto later = rig.save();
  *overtaken = true;
  const auto pushed = git::push_points(older);
  REQUIRE(pushed);
  REQUIRE_FALSE(pushed->at(0).point);
  CHECK(pushed->at(0).point.error().code == error_code::conflict);
  CHECK(rig.on_remote(rig.ref()) == later.commit);
  REQUIRE(pushed->at(1).point);
  CHECK_FALSE(rig.on_remote(rig.ref("a2")).empty());
}

TEST_CASE("an empty remote takes points too") {
  saved_rig rig;
  rig.server.make_repository("empty", {.empty = true});
  auto job = rig.push_job();
  job.url = rig.server.url("empty");
  const auto answer = push_one(job);
  REQUIRE(answer.point);
  REQUIRE(*answer.point);
  CHECK_FALSE((*answer.point)->remote_commit);
  CHECK(try_git(rig.server.repository_path("empty"), {"fsck", "--full"}).status == 0);
}

TEST_CASE("a ref is deleted only while it names that commit") {
  saved_rig rig({"a1", "a2"});
  rig.put("a.txt", "changed\n");
  rig.put("a.txt", "changed\n", "a2");
  const auto first = rig.save();
  const auto other = rig.save("a2");
  rig.put("a.txt", "changed again\n");
  const auto second = rig.save();
  const auto gone = git::delete_points(
      rig.delete_job({{first.ref, first.commit}, {other.ref, other.commit}, {rig.ref("a9"), first.commit}}));
  REQUIRE(gone);
  CHECK(*gone == std::set<std::string>{other.ref, rig.ref("a9")});
  CHECK(rig.on_remote(first.ref) == second.commit);
  CHECK(rig.on_remote(other.ref).empty());
}

TEST_CASE("nothing but our own namespace is pushed to or deleted from") {
  saved_rig rig;
  rig.put("a.txt", "changed\n");
  auto job = rig.push_job();
  job.items[0].ref = "refs/heads/main";
  const auto pushed = git::push_points(job);
  REQUIRE_FALSE(pushed);
  CHECK(pushed.error().code == error_code::invalid_argument);
  const auto deleted = git::delete_points(rig.delete_job({{"refs/heads/main", rig.server.tip("app", "main")}}));
  REQUIRE_FALSE(deleted);
  CHECK_FALSE(rig.server.tip("app", "main").empty());
}

TEST_CASE("what a worktree holds that was not restored replaces no point that may be newer") {
  saved_rig rig;
  rig.put("a.txt", "the point\n");
  const auto point = rig.save();
  const git::point_mark at_the_point{point.epoch, point.seq, point.commit};
  auto mark = at_the_point;
  auto recorded = std::optional{point};
  bool is_newest = false;
  SECTION("the disk is at the point") {
    is_newest = true;
  }
  SECTION("the disk is of an older epoch") {
    --mark.epoch;
  }
  SECTION("the disk is of an older epoch, and the town has no point on record") {
    --mark.epoch;
    recorded.reset();
  }
  SECTION("the remote's is another one of the same epoch") {
    mark.commit = rig.server.tip("app", "main");
  }
  SECTION("the town knows of one that the remote does not show") {
    ++recorded->seq;
  }
  REQUIRE(git::write_point_mark(rig.repository(), "a1", mark));
  rig.put("a.txt", "what the disk holds\n");
  auto job = rig.push_job({"a1"}, 4);
  job.items[0].kept_ref = git::kept_point_ref("t1", "a1", 4, 1);
  job.items[0].recorded = recorded;
  const auto pushed = push_one(job);
  REQUIRE(pushed.point);
  REQUIRE(*pushed.point);
  CHECK((*pushed.point)->ref == (is_newest ? rig.ref("a1", 4) : job.items[0].kept_ref));
  CHECK(rig.on_remote(rig.ref("a1", 4)).empty() != is_newest);
  CHECK(rig.on_remote(rig.ref()) == point.commit);
}
