// The container ends, and a worktree on its warm disk was not restored.
#include <catch2/catch_test_macros.hpp>

#include "tests/support/temp_dir.hpp"
#include "worktree_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

struct warm_disk {
  test::temp_dir workspace{"warm"};
  std::filesystem::path rig_directory = workspace.path() / "rigs/r";

  explicit warm_disk(bool is_there = true) {
    std::filesystem::create_directories(rig_directory / "repo.git/worktrees/a1");
    if (is_there) std::filesystem::create_directories(rig_directory / "worktrees/a1");
  }
};

struct ending_simulation : warm_disk, worktree_simulation {
  explicit ending_simulation(bool is_there = true)
      : warm_disk(is_there)
      , worktree_simulation(std::nullopt, rig_directory / "worktrees/a1") {}

  pending<save_answer> end() { return ask<save_answer>(subject, save_now{"drain", 10s}); }
  const std::vector<keep_disk>& orders() const { return supervisor->keep_orders; }
};

const repository_failed down{error{error_code::unavailable, "r", "connection refused"}, true};

} // namespace

TEST_CASE("what a warm disk holds unrestored is saved when the container ends, and nothing new is begun") {
  ending_simulation sim;
  auto spec = agent_of("a1");
  spec.recovery = town::recovery_point{};
  spec.recovery->epoch = 4;
  sim.restore(spec);
  SECTION("its rig has failed") {
    sim.rig_says(down);
  }
  SECTION("its rig still tries") {}
  auto point = town::recovery_point{};
  point.ref = "refs/townkeeper/t/a1/5";
  sim.supervisor->keep_outcome = point;
  const auto answer = sim.end();
  REQUIRE(sim.orders().size() == 1);
  CHECK(sim.orders()[0].only_work);
  CHECK(sim.orders()[0].may_be_newest);
  CHECK(sim.orders()[0].recorded == spec.recovery);
  CHECK(sim.orders()[0].job.repository == sim.rig_directory / "repo.git");
  CHECK(sim.orders()[0].job.branch == "work/a1");
  CHECK(answer->point.value() == point);
  sim.repository_is_ready(spec);
  CHECK(sim.attempts() == 0);
  // Nobody has worked in it since.
  CHECK(sim.end()->point.value() == point);
  CHECK(sim.orders().size() == 1);
}

TEST_CASE(
    "what a warm disk holds unrestored and cannot be saved is named, and tried again when it is asked for again") {
  ending_simulation sim;
  sim.restore();
  sim.rig_says(down);
  const auto answer = sim.end();
  CHECK(answer->point.error().code == error_code::unavailable);
  CHECK(answer->point.error().object == "a1");
  CHECK(answer->point.error().message.find("was not restored at this wake") != std::string::npos);
  CHECK(sim.end()->point.has_error());
  CHECK(sim.orders().size() == 2);
}

TEST_CASE("an empty disk holds nothing to be saved when the container ends") {
  ending_simulation sim{false};
  sim.restore();
  SECTION("its rig has failed") {
    sim.rig_says(down);
  }
  SECTION("it is just being restored") {
    sim.git->on_worktree = [](const auto&) { return hanging<git::worktree_restored>(); };
    sim.repository_is_ready();
    CHECK(sim.attempts() == 1);
  }
  CHECK_FALSE(sim.end()->point.value());
  CHECK(sim.orders().empty());
}

TEST_CASE("a worktree that is just being looked at is waited for when the container ends") {
  ending_simulation sim;
  sim.git->on_worktree = [&](const git::worktree_job& job) {
    auto plan = sim.git->restored(job);
    plan.after = 3s;
    return plan;
  };
  SECTION("it is restored: its keeper saves it") {
    sim.restore();
    sim.repository_is_ready();
    const auto answer = sim.end();
    sim.advance(2s);
    CHECK_FALSE(answer.has_come());
    sim.advance(2s);
    CHECK_FALSE(answer->point.value());
    CHECK(sim.orders().empty());
    CHECK(sim.supervisor->settled.size() == 1);
  }
  SECTION("it is not: what was half done to it is not what the next container begins with") {
    sim.git->on_worktree = [](const auto&) { return failing<git::worktree_restored>(error_code::disk, "no room", 3s); };
    sim.restore();
    sim.repository_is_ready();
    const auto answer = sim.end();
    sim.advance(4s);
    REQUIRE(sim.orders().size() == 1);
    CHECK_FALSE(sim.orders()[0].may_be_newest);
    CHECK(answer->point.has_error());
    sim.advance(5min);
    CHECK(sim.attempts() == 1);
  }
}
