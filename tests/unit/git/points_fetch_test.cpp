// Which point it is at wake: among what the town knows and what the remote advertises.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/secret.hpp"
#include "saved_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

git::repository_restored woken(const git::repository_job& job) {
  auto done = restore(job);
  INFO((done ? std::string{} : to_string(done.error())));
  REQUIRE(done);
  return *done;
}

/// A rig whose agent has a point on the remote that nothing else names.
town::recovery_point saved(const saved_rig& rig, const std::string& text, std::int64_t epoch = 3,
                           const std::string& agent = "a1") {
  rig.put("a.txt", text, agent);
  rig.put("untracked", text, agent);
  return rig.save(agent, epoch);
}

} // namespace

TEST_CASE("a recorded point comes with the branches in one fetch, whole and out of gc's reach") {
  saved_rig rig;
  const auto point = saved(rig, "text\n");
  rig.lose_disk();
  const auto before = rig.server.requests().size();
  const auto done = woken(rig.wake_job({{"a1", point}}));
  CHECK(rig.server.requests().size() - before == 2);
  REQUIRE(done.points.contains("a1"));
  REQUIRE(done.points.at("a1"));
  CHECK(done.points.at("a1")->point == point);
  run_git(rig.repository(), {"gc", "--quiet", "--prune=now"});
  CHECK(is_sound(rig.repository()));
  CHECK(git::read_point(rig.repository(), point.commit, point.ref));
  CHECK(run_git(rig.repository(), {"cat-file", "blob", point.commit + ":untracked/untracked"}) == "text");
  CHECK(run_git(rig.repository(), {"branch", "--all", "--list", "*townkeeper*"}).empty());
}

TEST_CASE("a point whose report was lost is found by its ref, and the greatest epoch is the one") {
  saved_rig rig;
  const auto known = saved(rig, "reported\n", 9);
  const auto lost = saved(rig, "report lost\n", 10);
  run_git(rig.served(), {"update-ref", rig.ref() + "/x", lost.commit}); // below an epoch: no epoch
  run_git(rig.served(), {"update-ref", "refs/townkeeper/t1/a1/kept/11-5", lost.commit});
  run_git(rig.served(), {"update-ref", "refs/townkeeper/t1/a1/012", known.commit});
  rig.lose_disk();
  const bool recorded = GENERATE(false, true);
  auto job = rig.wake_job();
  if (recorded) job.points[0].recorded = known;
  const auto done = woken(job);
  REQUIRE(done.points.at("a1"));
  CHECK(done.points.at("a1")->point == lost);
}

TEST_CASE("the ref moved on after the town's record: the later one of the same epoch is the point") {
  saved_rig rig;
  const auto known = saved(rig, "reported\n");
  const auto later = saved(rig, "not reported\n");
  rig.lose_disk();
  CHECK(woken(rig.wake_job({{"a1", known}})).points.at("a1")->point == later);
}

TEST_CASE("no point, no record: the agent has none") {
  saved_rig rig;
  rig.lose_disk();
  const auto done = woken(rig.wake_job());
  CHECK(done.points.empty());
  CHECK(done.tips.contains("gt/a1"));
}

TEST_CASE("a record whose ref is gone is missing for that agent alone, and nothing older is used") {
  saved_rig rig({"a1", "a2"});
  saved(rig, "older\n", 2);
  const auto point = saved(rig, "newer\n", 3);
  const auto other = saved(rig, "of another\n", 3, "a2");
  run_git(rig.served(), {"update-ref", "-d", point.ref});
  rig.lose_disk();
  const auto job = rig.wake_job({{"a1", point}, {"a2", other}});

  SECTION("for good") {
    const auto done = woken(job);
    REQUIRE_FALSE(done.points.at("a1"));
    CHECK(done.points.at("a1").error().code == error_code::recovery_point_missing);
    CHECK(done.points.at("a1").error().object == "a1");
    CHECK_THAT(done.points.at("a1").error().message, ContainsSubstring(point.ref));
    CHECK(done.points.at("a2")->point == other);
    CHECK(done.tips.contains("gt/a1"));
  }
  SECTION("but a server that gives commits by id has it") {
    run_git(rig.served(), {"config", "uploadpack.allowAnySHA1InWant", "true"});
    const auto done = woken(job);
    REQUIRE(done.points.at("a1"));
    CHECK(done.points.at("a1")->point == point);
  }
  SECTION("but the ref lives elsewhere with an older point") {
    run_git(rig.served(), {"update-ref", point.ref, rig.on_remote(rig.ref("a1", 2))});
    const auto done = woken(job);
    REQUIRE_FALSE(done.points.at("a1"));
    CHECK(done.points.at("a1").error().code == error_code::corrupt); // a point of epoch 2 under the ref of epoch 3
  }
}

TEST_CASE("a warm disk has the point it pushed itself, though the remote lost it") {
  saved_rig rig;
  const auto point = saved(rig, "text\n");
  const auto received = woken(rig.wake_job({{"a1", point}}));
  REQUIRE(received.points.at("a1"));
  CHECK(received.fetched_objects == 0); // from the agent's private store
  CHECK(is_sound(rig.repository()));
  run_git(rig.served(), {"update-ref", "-d", point.ref});
  const auto done = woken(rig.wake_job({{"a1", point}}));
  REQUIRE(done.points.at("a1"));
  CHECK(done.points.at("a1")->point == point);
  CHECK(done.rig_refs_set == 0);
}

TEST_CASE("a ref of ours that a crash left empty is made anew") {
  saved_rig rig;
  const auto point = saved(rig, "text\n");
  woken(rig.wake_job());
  write(rig.repository() / "refs/townkeeper-restored/a1", "");
  const auto done = woken(rig.wake_job());
  REQUIRE(done.points.at("a1"));
  CHECK(id_of(rig.repository(), "refs/townkeeper-restored/a1") == point.commit);
  REQUIRE(git::delete_points(rig.delete_job({{point.ref, point.commit}})));
  CHECK(woken(rig.wake_job()).points.empty());
  CHECK(id_of(rig.repository(), "refs/townkeeper-restored/a1").empty());
}

TEST_CASE("a warm repository fetches a point that another container pushed") {
  saved_rig rig;
  saved(rig, "first\n", 3);
  woken(rig.wake_job());
  const auto newer = saved(rig, "second\n", 4);
  fs::remove_all(rig.repository() / "townkeeper" / "recovery");
  const auto done = woken(rig.wake_job());
  CHECK(done.points.at("a1")->point == newer);
  CHECK(done.fetched_objects > 0);
  CHECK(is_sound(rig.repository()));
}

TEST_CASE("what cannot be read under the greatest epoch is that agent's error, and nobody else's") {
  saved_rig rig({"a1", "a2"});
  const auto older = saved(rig, "text\n", 3);
  const auto other = saved(rig, "text\n", 3, "a2");
  auto expected = error_code::corrupt;
  SECTION("a commit that is no point") {
    run_git(rig.served(), {"update-ref", rig.ref("a1", 4), "refs/heads/main"});
  }
  SECTION("a point of a later format") {
    const temp_dir dir;
    const auto clone = clone_of_ref(dir.path() / "clone", rig.served(), older.ref);
    run_git(clone, {"read-tree", "refs/points/one"});
    auto meta = run_git(clone, {"cat-file", "blob", "refs/points/one:meta.json"});
    meta.replace(meta.find("\"format\":1"), 10, "\"format\":2");
    write(clone / "meta.json", meta);
    run_git(clone, {"update-index", "--add", "meta.json"});
    const auto commit =
        run_git(clone, {"commit-tree", run_git(clone, {"write-tree"}), "-p", "refs/points/one^1", "-m", "later"});
    run_git(clone, {"push", "-q", rig.served().string(), commit + ":" + rig.ref("a1", 4)});
    expected = error_code::unsupported;
  }
  SECTION("a ref whose objects the server lost") {
    const auto point = saved(rig, "lost\n", 4);
    const auto blob = run_git(rig.served(), {"rev-parse", point.commit + ":meta.json"});
    const auto file = rig.served() / "objects" / blob.substr(0, 2) / blob.substr(2);
    REQUIRE(fs::remove(file));
    expected = error_code::unavailable;
  }
  rig.lose_disk();
  const auto done = woken(rig.wake_job({{"a1", older}, {"a2", other}}));
  REQUIRE_FALSE(done.points.at("a1"));
  INFO(to_string(done.points.at("a1").error()));
  const auto code = done.points.at("a1").error().code;
  CHECK((code == expected || (expected == error_code::unavailable && code == error_code::corrupt)));
  CHECK(done.points.at("a2")->point == other);
  CHECK(done.tips.contains("gt/a1"));
}

TEST_CASE("a point that was pushed to another URL comes from there, without the rig's login for another server") {
  saved_rig rig;
  const auto point = saved(rig, "text\n");
  rig.server.make_repository("moved");
  run_git(rig.served(), {"push", "-q", rig.server.repository_path("moved").string(), "+refs/heads/*:refs/heads/*"});
  rig.lose_disk();
  auto job = rig.wake_job({{"a1", point}});
  job.url = rig.server.url("moved");
  SECTION("the old remote is there") {
    const auto done = woken(job);
    REQUIRE(done.points.at("a1"));
    CHECK(done.points.at("a1")->point == point);
  }
  SECTION("the old remote is another server, which gets no credentials") {
    remote old;
    old.make_repository("app");
    run_git(rig.served(), {"push", "-q", old.repository_path("app").string(), "+refs/*:refs/*"});
    job.login = git::credentials{"x-access-token", secret{"gts_4f9c2e81d7b6a035"}};
    job.points[0].recorded->git_url = old.url("app");
    old.demand_token("app", "x-access-token", "gts_4f9c2e81d7b6a035");
    const auto done = woken(job);
    REQUIRE_FALSE(done.points.at("a1"));
    for (const auto& request : old.requests())
      CHECK_FALSE(request.ends_with("+credentials"));
    old.demand_nothing("app");
    CHECK(woken(job).points.at("a1"));
  }
  SECTION("the old remote is gone") {
    run_git(rig.served(), {"update-ref", "-d", point.ref});
    const auto done = woken(job);
    REQUIRE_FALSE(done.points.at("a1"));
    CHECK(done.points.at("a1").error().code == error_code::recovery_point_missing);
    CHECK(done.tips.contains("gt/a1"));
  }
  SECTION("the old URL is not allowed") {
    job.points[0].recorded->git_url = "ext::sh -c true";
    const auto done = woken(job);
    REQUIRE_FALSE(done.points.at("a1"));
    CHECK(done.points.at("a1").error().code == error_code::recovery_point_missing);
  }
}
