// Two saves of one agent that cross: the later moment is what stays.
#include "actors/saver.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "protection_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

using pushes = std::vector<git::pushed_point>;

} // namespace

TEST_CASE("a round that waits for one agent's snapshot does not push an older moment of another over a newer one") {
  protection_simulation sim{{"a1", "a2"}};
  sim.settle({"a1", "a2"});
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    auto plan = sim.git->taken(job);
    if (job.agent_id == "a2") plan.after = 900ms;
    return plan;
  };
  sim.edit("a1", "older");
  sim.edit("a2", "slow");
  sim.advance(2100ms);
  REQUIRE(sim.git->snapshots.size() == 2);
  sim.edit("a1", "newer");
  const auto answer = sim.save_now_of("a1");
  sim.advance(100ms);
  REQUIRE(answer.has_come());
  CHECK(sim.saved("a1") == "newer");
  sim.advance(1min);
  CHECK(sim.saved("a1") == "newer");
  CHECK(sim.saved("a2") == "slow");
  CHECK_FALSE(sim.unsaved_age("a1"));
}

TEST_CASE("a push that hangs is told that a later moment is being pushed, and what comes of it counts for nothing") {
  protection_simulation sim;
  sim.settle({"a1"});
  const bool answered = GENERATE(true, false);
  sim.git->on_push = [&](const git::push_job& job) -> git_plan<pushes> {
    auto plan = sim.git->pushed(job);
    if (job.items[0].taken.fingerprint != "older") return plan;
    if (!answered) plan = failing<pushes>(error_code::unavailable, "the answer is lost");
    plan.after = 8s;
    return plan;
  };
  sim.edit("a1", "older");
  sim.advance(3s);
  REQUIRE(sim.git->pushes.size() == 1);
  CHECK_FALSE(*sim.git->pushes[0].job.items[0].overtaken);
  sim.edit("a1", "newer");
  sim.save_now_of("a1");
  sim.advance(3s);
  REQUIRE(sim.git->pushes.size() == 2);
  CHECK(*sim.git->pushes[0].job.items[0].overtaken);
  CHECK_FALSE(*sim.git->pushes[1].job.items[0].overtaken);
  sim.advance(5s);
  CHECK_FALSE(sim.unsaved_age("a1"));
  sim.git->on_push = nullptr;
  sim.edit("a1", "older"); // that is not what the remote has
  sim.advance(20s);
  CHECK(sim.saved("a1") == "older");
  CHECK(sim.git->pushes.size() == 3);
}

TEST_CASE("two pushes to one ref do not cross: the later waits a moment for the earlier") {
  protection_simulation sim;
  sim.settle({"a1"});
  std::size_t under_way = 0;
  sim.git->on_push = [&](const git::push_job& job) {
    auto plan = sim.git->pushed(job);
    plan.after = 500ms;
    under_way = sim.git->pushes.size();
    return plan;
  };
  sim.edit("a1", "one");
  sim.advance(2200ms);
  REQUIRE(under_way == 1);
  sim.edit("a1", "two");
  const auto answer = sim.save_now_of("a1");
  sim.advance(100ms);
  CHECK(sim.git->snapshots.size() == 2); // taken meanwhile
  CHECK(sim.git->pushes.size() == 1);
  sim.advance(1s);
  REQUIRE(sim.git->pushes.size() == 2);
  CHECK(sim.git->pushes[1].at - sim.git->pushes[0].at >= 500ms);
  CHECK(answer->point.value()->commit.substr(0, 3) == "two");
}

TEST_CASE("a push that lost a race is made again at once; one that failed otherwise waits for its interval") {
  protection_simulation sim;
  sim.settle({"a1"});
  const bool lost_a_race = GENERATE(true, false);
  std::size_t tried = 0;
  sim.git->on_push = [&](const git::push_job& job) -> git_plan<pushes> {
    if (tried++ > 0) return sim.git->pushed(job);
    return failing<pushes>(lost_a_race ? error_code::conflict : error_code::unavailable, "injected");
  };
  sim.edit("a1", "work");
  sim.advance(2100ms);
  REQUIRE(tried >= 1);
  sim.advance(2s);
  CHECK((sim.saved("a1") == "work") == lost_a_race);
  sim.advance(10s);
  CHECK(sim.saved("a1") == "work");
  CHECK(tried == 2);
}
