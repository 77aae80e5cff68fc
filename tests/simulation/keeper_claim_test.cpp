// Points that a container makes because an older one may still push: changed or not, as far as the remote takes them.
#include "actors/keeper.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "protection_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

TEST_CASE("where an older container may still save, the first look makes a point, changed or not, and no other does") {
  protection_simulation sim;
  sim.protect_agent("a1", std::nullopt, true);
  sim.advance(1900ms);
  CHECK(sim.git->pushes.empty());
  sim.advance(1s);
  CHECK(sim.git->pushes.size() == 1);
  CHECK(sim.saved("a1") == "clean");
  REQUIRE(sim.town_said->points.size() == 1);
  CHECK(sim.town_said->points[0].point.clean);
  auto again = sim.protection_of("a1");
  again.claim = true;
  sim.tell(sim.keepers.at("a1"), again);
  sim.advance(1min);
  CHECK(sim.git->pushes.size() == 1);
}

TEST_CASE("what was found clean and made no point makes one once an older container may still save") {
  protection_simulation sim;
  sim.settle({"a1"});
  auto again = sim.protection_of("a1");
  again.claim = true;
  sim.tell(sim.keepers.at("a1"), again);
  sim.advance(20s);
  CHECK(sim.saved("a1") == "clean");
}

TEST_CASE("a drain before the first look makes that point as well") {
  protection_simulation sim;
  sim.protect_agent("a1", std::nullopt, true);
  const auto answer = sim.save_now_of("a1");
  sim.advance(1s);
  REQUIRE(answer->point.has_value());
  REQUIRE(answer->point->has_value());
  CHECK((*answer->point)->clean);
}

TEST_CASE("a point that could not be made on the way is made by a later save") {
  protection_simulation sim;
  sim.git->on_push = [](const git::push_job&) {
    return failing<std::vector<git::pushed_point>>(error_code::unavailable, "no remote");
  };
  sim.protect_agent("a1", std::nullopt, true);
  sim.advance(5s);
  sim.git->on_push = nullptr;
  sim.advance(1min);
  CHECK(sim.saved("a1") == "clean");
}

TEST_CASE("a remote that refuses a point without work leaves nothing unsaved; one with work is unsaved") {
  protection_simulation sim;
  sim.git->on_push = refused_by_hook;
  const bool works = GENERATE(false, true);
  if (works) sim.git->moments["a1"] = "work";
  sim.protect_agent("a1", std::nullopt, true);
  sim.advance(30s);
  CHECK(sim.unsaved_age("a1").has_value() == works);
  CHECK(sim.last_word("a1").failure.has_value() == works);
  const auto answer = sim.save_now_of("a1");
  sim.advance(11s);
  CHECK(answer->point.has_value() == !works);
}

TEST_CASE("a refused point without work is unsaved where an earlier push may have come through") {
  protection_simulation sim;
  sim.git->moments["a1"] = "work";
  sim.git->on_push = [&](const git::push_job& job) {
    static_cast<void>(sim.git->pushed(job));
    return failing<std::vector<git::pushed_point>>(error_code::unavailable, "the answer is lost");
  };
  sim.protect_agent("a1", std::nullopt, true);
  sim.advance(3s);
  REQUIRE(sim.saved("a1") == "work");
  sim.git->moments.erase("a1");
  sim.git->on_push = refused_by_hook;
  sim.advance(1min);
  CHECK(sim.unsaved_age("a1"));
  CHECK(sim.last_word("a1").failure);
}
