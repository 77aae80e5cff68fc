#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "worktree_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

town::recovery_point point_of_epoch(std::int64_t epoch, bool clean = false) {
  town::recovery_point p;
  p.epoch = epoch;
  p.seq = 4;
  p.ref = "refs/townkeeper/t/a1/" + std::to_string(epoch);
  p.commit = std::string(40, 'c');
  p.git_url = remote;
  p.branch = "work/a1";
  p.clean = clean;
  return p;
}

struct point_simulation : worktree_simulation {
  git::point_outcome outcome = git::point_outcome::applied;

  point_simulation() {
    git->on_worktree = [this](const git::worktree_job& job) {
      auto plan = git->restored(job);
      plan.outcome->recovery = job.point ? outcome : git::point_outcome::none;
      plan.outcome->applied_files = 3;
      return plan;
    };
    restore();
  }

  void found(result<git::found_recovery> what) {
    auto ready = ready_for(agent_of("a1"));
    ready.restored.points.emplace("a1", std::move(what));
    rig_says(std::move(ready));
    advance(1s);
  }
  const worktree_settled& settled() const { return supervisor->settled.back(); }
};

} // namespace

TEST_CASE("what became of the recovery point is the outcome, and is reported") {
  point_simulation sim;
  struct row {
    git::point_outcome point;
    bool clean;
    town::agent_outcome outcome;
    bool applied;
  };
  const auto want = GENERATE(row{git::point_outcome::applied, false, town::agent_outcome::recovered, true},
                             row{git::point_outcome::applied, true, town::agent_outcome::restored, true},
                             row{git::point_outcome::held, false, town::agent_outcome::restored, true},
                             row{git::point_outcome::kept, false, town::agent_outcome::diverged, false},
                             row{git::point_outcome::unpublished, false, town::agent_outcome::diverged, true},
                             row{git::point_outcome::disk_newer, false, town::agent_outcome::restored, true});
  sim.outcome = want.point;
  const auto point = point_of_epoch(2, want.clean);
  sim.found(git::found_recovery{point, {{"big.bin", "larger than 95 MiB"}}});
  REQUIRE(sim.git->worktrees.size() == 1);
  REQUIRE(sim.git->worktrees[0].job.point);
  CHECK(sim.git->worktrees[0].job.point->point == point);
  CHECK(sim.report().outcome == want.outcome);
  REQUIRE(sim.report().recovery);
  CHECK(sim.report().recovery->ref == point.ref);
  CHECK(sim.report().recovery->commit == point.commit);
  CHECK(sim.report().recovery->applied == want.applied);
  CHECK(sim.report().applied_files == 3);
  REQUIRE(sim.report().left_out.size() == 1);
  CHECK(sim.report().left_out[0].path == "big.bin");
  // A new point may take the place of one that was built upon, of no other.
  CHECK(sim.settled().applied.has_value() == want.applied);
  CHECK_FALSE(sim.settled().repository.empty());
}

TEST_CASE("a point that cannot be read: failed, nothing older in its place, and looked for again") {
  point_simulation sim;
  sim.found(error{error_code::recovery_point_missing, "a1", "the town has a record, the remote has no such ref"});
  CHECK(sim.attempts() == 0);
  CHECK(sim.report().outcome == town::agent_outcome::failed);
  CHECK(sim.report().code == "recovery_point_missing");
  CHECK(sim.rig_heard->looks == 0);
  sim.advance(61s);
  CHECK(sim.rig_heard->looks == 1);
  // The operator accepted the loss, or the ref is back.
  sim.repository_is_ready();
  sim.advance(1s);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
}

TEST_CASE("a point that could not be fetched just now: the rig is asked to look again at once") {
  point_simulation sim;
  sim.found(error{error_code::unavailable, "a1", "connection reset"});
  CHECK(sim.rig_heard->looks >= 1);
  CHECK(sim.health->settled.empty());
  sim.found(git::found_recovery{point_of_epoch(2), {}});
  CHECK(sim.report().outcome == town::agent_outcome::recovered);
}

TEST_CASE("work on a disk of before the point is kept first, and only then replaced") {
  point_simulation sim;
  sim.outcome = git::point_outcome::disk_older;
  bool asked_kept = false;
  sim.git->on_worktree = [&](const git::worktree_job& job) {
    auto plan = sim.git->restored(job);
    asked_kept = job.disk_is_kept;
    plan.outcome->recovery = job.disk_is_kept ? git::point_outcome::applied : git::point_outcome::disk_older;
    return plan;
  };
  SECTION("it could be kept") {
    auto kept = point_of_epoch(3);
    kept.ref = "refs/townkeeper/t/a1/kept/3-1";
    sim.supervisor->keep_outcome = kept;
    sim.found(git::found_recovery{point_of_epoch(2), {}});
    REQUIRE(sim.supervisor->kept.size() == 1);
    CHECK(sim.supervisor->kept[0].worktree == "/w/rigs/r/worktrees/a1");
    CHECK(asked_kept);
    CHECK(sim.report().outcome == town::agent_outcome::recovered);
    CHECK(sim.report().note.find(kept.ref) != std::string::npos);
  }
  SECTION("it could not: the disk is not touched, and it is tried again") {
    sim.found(git::found_recovery{point_of_epoch(2), {}});
    sim.advance(30s);
    CHECK_FALSE(asked_kept);
    CHECK(sim.supervisor->kept.size() > 1);
    CHECK(sim.report().outcome == town::agent_outcome::failed);
  }
}
