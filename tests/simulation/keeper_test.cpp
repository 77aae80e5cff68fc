#include "actors/keeper.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "protection_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

town::recovery_point old_point() {
  town::recovery_point p;
  p.epoch = 2;
  p.seq = 7;
  p.ref = "refs/townkeeper/town/a1/2";
  p.commit = "old-commit";
  p.git_url = rig_of("r").git_url;
  p.branch = "work/a1";
  return p;
}

} // namespace

TEST_CASE("a restored worktree that is clean is looked at once, and there is no point of it") {
  protection_simulation sim;
  sim.protect_agent("a1");
  CHECK(sim.unsaved_age("a1")); // nobody knows yet
  sim.advance(1min);
  CHECK(sim.git->snapshots.size() == 1);
  CHECK(sim.git->points.empty());
  CHECK(sim.town_said->points.empty());
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK_FALSE(sim.last_word("a1").failure);
}

TEST_CASE("a save is wanted after two seconds of quiet") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  sim.advance(1500ms);
  sim.edit("a1", "two");
  sim.advance(1999ms);
  CHECK(sim.git->snapshots.empty());
  sim.advance(21ms); // those of the rig that want it at the same time go together
  REQUIRE(sim.git->snapshots.size() == 1);
  sim.advance(1s);
  CHECK(sim.saved("a1") == "two");
  CHECK(sim.git->pushes.size() == 1);
}

TEST_CASE("at the latest eight seconds after the first change, quiet or not") {
  protection_simulation sim;
  sim.settle({"a1"});
  for (int i = 0; i < 100; ++i) {
    sim.edit("a1", "edit " + std::to_string(i));
    sim.advance(100ms);
  }
  REQUIRE(sim.git->snapshots.size() == 1);
  CHECK(sim.since_begun(sim.git->snapshots[0].at) == 8s + 20ms);
}

TEST_CASE("the unsaved age counts from the first change that the remote has not acknowledged") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  CHECK(sim.unsaved_age("a1") == 0ms);
  sim.advance(1500ms);
  sim.edit("a1", "two");
  CHECK(sim.unsaved_age("a1") == 1500ms);
  sim.advance(10s);
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK(sim.last_word("a1").last_saved_at == "2026-01-01T00:00:00Z");
  CHECK(sim.last_word("a1").dirty_files == 2);
}

TEST_CASE("a change that comes after the snapshot was begun is not in it, and keeps its age") {
  protection_simulation sim;
  sim.settle({"a1"});
  const bool during_push = GENERATE(false, true);
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    auto plan = sim.git->taken(job);
    plan.after = 1s;
    return plan;
  };
  sim.git->on_push = [&](const git::push_job& job) {
    auto plan = sim.git->pushed(job);
    plan.after = 3s;
    return plan;
  };
  sim.edit("a1", "one");
  sim.advance(2020ms); // the snapshot is begun
  REQUIRE(sim.git->snapshots.size() == 1);
  sim.advance(during_push ? 2s : 500ms);
  CHECK(sim.git->pushes.size() == (during_push ? 1U : 0U));
  const auto changed_at = sim.now();
  sim.edit("a1", "two");
  CHECK(sim.unsaved_age("a1") > 2s); // the first is not saved yet
  REQUIRE(sim.advance_until(
      [&] { return sim.saved("a1") == "one" && sim.git->pushes.size() == 1 && sim.since_begun(sim.now()) >= 7s; },
      10s));
  REQUIRE(sim.unsaved_age("a1"));
  CHECK(*sim.last_word("a1").unsaved_since == changed_at);
  sim.advance(20s);
  CHECK(sim.saved("a1") == "two");
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK(sim.git->pushes.size() == 2);
}

TEST_CASE("watches that stand only after the first look do not hide what was done meanwhile") {
  protection_simulation sim;
  sim.slow_watches = true;
  sim.protect_agent("a1");
  sim.advance(3s);
  REQUIRE(sim.git->snapshots.size() == 1);
  sim.git->moments["a1"] = "unseen";
  sim.advance(2s);
  sim.watches.at("a1")({false, true, std::nullopt});
  sim.run();
  CHECK(sim.unsaved_age("a1") >= 2s);
  sim.advance(20s);
  CHECK(sim.saved("a1") == "unseen");
  CHECK_FALSE(sim.unsaved_age("a1"));
}

TEST_CASE("what was found unchanged is not pushed again") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  sim.advance(15s);
  sim.edit("a1", "one"); // a touched file
  sim.advance(15s);
  CHECK(sim.git->snapshots.size() == 2);
  CHECK(sim.git->pushes.size() == 1);
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK(sim.save_now_of("a1").has_come() == false);
  sim.advance(1s);
  CHECK(sim.git->pushes.size() == 1);
}

TEST_CASE("becoming clean is saved like any change") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  sim.advance(15s);
  sim.git->moments.erase("a1");
  sim.watches.at("a1")({});
  sim.advance(15s);
  CHECK(sim.saved("a1") == "clean");
  CHECK(sim.git->points.at(sim.ref_of("a1")).clean);
}

TEST_CASE("a point that was applied is saved at once; its old ref goes when the town knows the new one") {
  protection_simulation sim;
  const bool clean = GENERATE(false, true);
  if (!clean) sim.git->moments["a1"] = "recovered";
  std::vector<caf::typed_response_promise<point_reported>> held;
  sim.town_said->on_point = [](const report_point&) { return std::optional<point_reported>{}; };
  SECTION("the town is told later") {
    sim.protect_agent("a1", old_point());
    sim.advance(300ms);
    CHECK(sim.saved("a1") == (clean ? "clean" : "recovered"));
    CHECK_FALSE(sim.unsaved_age("a1")); // saved is what the remote has
    sim.advance(1min);
    CHECK(sim.git->deletions.empty());
  }
  SECTION("the town knows") {
    sim.town_said->on_point = nullptr;
    sim.protect_agent("a1", old_point());
    sim.advance(1s);
    REQUIRE(sim.town_said->points.size() == 1);
    CHECK(sim.town_said->points[0].point.epoch == 3);
    REQUIRE(sim.git->deletions.size() == 1);
    CHECK(sim.git->deletions[0].job.refs == std::map<std::string, std::string>{{old_point().ref, old_point().commit}});
    sim.advance(1min);
    CHECK(sim.git->deletions.size() == 1);
  }
  SECTION("the town refuses it, or lists it as kept") {
    sim.town_said->on_point = [](const report_point&) {
      static int n = 0;
      if (++n % 2 == 0) return std::optional{point_reported{error{error_code::invalid_argument, "", "no"}, false}};
      return std::optional{point_reported{{}, true}};
    };
    sim.protect_agent("a1", old_point());
    sim.advance(1min);
    CHECK(sim.town_said->points.size() == 1);
    CHECK(sim.git->deletions.empty());
  }
  SECTION("it lies on another remote") {
    sim.town_said->on_point = nullptr;
    auto elsewhere = old_point();
    elsewhere.git_url = "https://elsewhere.example/r.git";
    sim.protect_agent("a1", elsewhere);
    sim.advance(1min);
    CHECK(sim.git->pushes.size() == 1);
    CHECK(sim.git->deletions.empty());
  }
}

TEST_CASE("an applied point whose save fails first is replaced by the one that succeeds") {
  protection_simulation sim;
  sim.git->on_push = refused_by_hook;
  sim.protect_agent("a1", old_point());
  sim.advance(20s);
  CHECK(sim.git->deletions.empty());
  sim.git->on_push = nullptr;
  sim.advance(2min);
  CHECK(sim.saved("a1") == "clean");
  CHECK(sim.git->deletions.size() == 1);
}

TEST_CASE("a protect that comes again changes nothing; one that moved on is looked at") {
  protection_simulation sim;
  sim.protect_agent("a1", old_point());
  sim.advance(1min);
  const auto snapshots = sim.git->snapshots.size();
  auto again = sim.protection_of("a1");
  again.applied = old_point();
  sim.tell(sim.keepers.at("a1"), again);
  sim.advance(1min);
  CHECK(sim.git->snapshots.size() == snapshots);
  again.spec.branch = "work/other";
  sim.tell(sim.keepers.at("a1"), again);
  sim.advance(1min);
  CHECK(sim.git->snapshots.size() == snapshots + 1);
  CHECK(sim.git->snapshots.back().job.branch == "work/other");
}

TEST_CASE("a failed save is tried again with backoff, its reason is in health and its age grows") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_push = refused_by_hook;
  sim.edit("a1", "one");
  sim.advance(5min);
  CHECK(sim.unsaved_age("a1") == 5min);
  REQUIRE(sim.last_word("a1").failure);
  CHECK(sim.last_word("a1").failure->message == "refused by the remote");
  const auto tries = sim.git->pushes.size();
  CHECK(tries >= 5);
  CHECK(tries <= 25); // not one every interval, for ever
  sim.git->on_push = nullptr;
  sim.advance(2min);
  CHECK(sim.saved("a1") == "one");
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK_FALSE(sim.last_word("a1").failure);
}

TEST_CASE("a push that breaks off saves nothing: only what the remote has acknowledged is saved") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_push = [](const git::push_job&) {
    return failing<std::vector<git::pushed_point>>(error_code::unavailable, "the connection broke");
  };
  sim.edit("a1", "one");
  sim.advance(1min);
  CHECK(sim.unsaved_age("a1") == 1min);
  REQUIRE(sim.last_word("a1").failure);
  CHECK(sim.last_word("a1").failure->message == "the connection broke");
  sim.git->on_push = nullptr;
  sim.advance(2min);
  CHECK(sim.saved("a1") == "one");
  CHECK_FALSE(sim.unsaved_age("a1"));
}

TEST_CASE("a failed snapshot is a failed save") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_snapshot = [](const git::snapshot_job&) {
    return failing<git::snapshot>(error_code::unsupported, "a split index");
  };
  sim.edit("a1", "one");
  sim.advance(30s);
  CHECK(sim.last_word("a1").failure->code == error_code::unsupported);
  CHECK(sim.unsaved_age("a1") == 30s);
  CHECK(sim.git->pushes.empty());
}

TEST_CASE("save_now does not wait for the interval, and is answered when the remote has it") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  sim.advance(3s);
  REQUIRE(sim.git->pushes.size() == 1);
  sim.edit("a1", "two");
  const auto first = sim.save_now_of("a1");
  const auto second = sim.save_now_of("a1", "manual");
  sim.advance(100ms);
  REQUIRE(first.has_come());
  REQUIRE(second.has_come());
  CHECK(first->point.value()->commit.substr(0, 3) == "two");
  CHECK(sim.saved("a1") == "two");
  CHECK(sim.git->points.at(sim.ref_of("a1")).kind != "auto");
  // A clean worktree that never had a point has none.
  protection_simulation clean;
  clean.settle({"a1"});
  const auto answer = clean.save_now_of("a1");
  clean.advance(100ms);
  CHECK_FALSE(answer->point.value());
}

TEST_CASE("save_now holds what was done before it, also when a snapshot was under way") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    auto plan = sim.git->taken(job);
    plan.after = 500ms;
    return plan;
  };
  sim.edit("a1", "one");
  sim.advance(2100ms);
  REQUIRE(sim.git->snapshots.size() == 1);
  sim.edit("a1", "two");
  const auto answer = sim.save_now_of("a1");
  sim.advance_until([&] { return answer.has_come(); }, 5s);
  CHECK(answer->point.value()->commit.substr(0, 3) == "two");
}

TEST_CASE("save_now is answered by its deadline whatever hangs, and says what is unsaved") {
  protection_simulation sim;
  sim.settle({"a1"});
  const auto what = GENERATE("snapshot", "push", "credentials");
  CAPTURE(what);
  if (std::string{what} == "snapshot") sim.git->on_snapshot = [](const auto&) { return hanging<git::snapshot>(); };
  if (std::string{what} == "push")
    sim.git->on_push = [](const auto&) { return hanging<std::vector<git::pushed_point>>(); };
  if (std::string{what} == "credentials")
    sim.on_credentials = [](const auto& q) -> std::optional<git_credentials_answer> {
      if (q.refresh) return std::nullopt;
      return git_credentials_answer{error{error_code::unavailable, "r", "the town is down"}, std::nullopt};
    };
  sim.edit("a1", "one");
  sim.advance(1s);
  const auto answer = sim.save_now_of("a1");
  if (std::string{what} == "credentials") {
    // The last known ones are good enough.
    sim.advance(1s);
    CHECK(answer->point.value()->commit.substr(0, 3) == "one");
    return;
  }
  sim.advance(10s - 1ms);
  CHECK_FALSE(answer.has_come());
  sim.advance(1ms);
  REQUIRE(answer.has_come());
  CHECK(answer->point.error().code == error_code::timed_out);
  CHECK(answer->point.error().message.find("changes of the last 11 s are not on the remote") == 0);
  CHECK(sim.unsaved_age("a1") == 11s);
}

TEST_CASE("a save_now that fails on the way is tried again before its deadline; one that is refused is answered") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.edit("a1", "one");
  SECTION("a passing trouble") {
    int pushes = 0;
    sim.git->on_push = [&](const git::push_job& job) {
      return ++pushes < 3 ? failing<std::vector<git::pushed_point>>(error_code::unavailable, "reset")
                          : sim.git->pushed(job);
    };
    const auto answer = sim.save_now_of("a1");
    sim.advance(9s);
    CHECK(answer->point.value()->commit.substr(0, 3) == "one");
  }
  SECTION("a refusal") {
    sim.git->on_push = refused_by_hook;
    const auto answer = sim.save_now_of("a1");
    sim.advance(1s);
    CHECK(answer->point.error().code == error_code::forbidden);
  }
}

TEST_CASE("an urgent save does not wait for a push that hangs") {
  protection_simulation sim;
  sim.settle({"a1"});
  bool first = true;
  sim.git->on_push = [&](const git::push_job& job) {
    if (std::exchange(first, false)) return hanging<std::vector<git::pushed_point>>();
    return sim.git->pushed(job);
  };
  sim.edit("a1", "one");
  sim.advance(5s);
  sim.edit("a1", "two");
  const auto answer = sim.save_now_of("a1");
  sim.advance(2s);
  REQUIRE(answer.has_come());
  CHECK(answer->point.value()->commit.substr(0, 3) == "two");
  CHECK_FALSE(sim.unsaved_age("a1"));
}

TEST_CASE("where watches are lost a look is taken every five seconds, and costs no push") {
  protection_simulation sim;
  const bool from_the_beginning = GENERATE(true, false);
  sim.no_watches = from_the_beginning;
  sim.settle({"a1"});
  if (!from_the_beginning) sim.watches.at("a1")({false, false, error{error_code::disk, "a1", "no room"}});
  sim.advance(12s);
  sim.git->snapshots.clear();
  sim.advance(60s);
  CHECK(sim.git->snapshots.size() >= 11);
  CHECK(sim.git->snapshots.size() <= 13);
  CHECK(sim.git->pushes.empty());
  sim.git->moments["a1"] = "unseen";
  const auto changed = sim.now();
  REQUIRE(sim.advance_until([&] { return sim.saved("a1") == "unseen"; }, 20s));
  CHECK(sim.now() - changed <= 10s);
}

TEST_CASE("where watches are lost the age counts from the last look, also while a push hangs") {
  protection_simulation sim;
  sim.no_watches = true;
  sim.settle({"a1"});
  sim.advance(1s); // the look of just now has ended
  sim.git->on_push = [&](const git::push_job& job) {
    auto plan = sim.git->pushed(job);
    plan.after = 25s;
    return plan;
  };
  sim.git->moments["a1"] = "one"; // nobody sees it before somebody asks
  sim.save_now_of("a1");
  sim.git->moments["a1"] = "two";
  sim.advance(6s);
  REQUIRE(sim.git->pushes.size() == 1);
  const auto age = sim.unsaved_age("a1");
  REQUIRE(age);
  CHECK(*age >= 5s);
}

TEST_CASE("stop_protecting saves what is there, then nothing is watched and the keeper ends") {
  protection_simulation sim;
  sim.settle({"a1"});
  SECTION("all is saved") {}
  SECTION("something is not") {
    sim.edit("a1", "one");
  }
  const bool dirty = sim.git->moments.contains("a1");
  sim.tell(sim.keepers.at("a1"), stop_protecting{});
  sim.advance(100ms);
  CHECK(sim.saved("a1") == (dirty ? "one" : ""));
  CHECK(sim.last_word("a1").gone);
  CHECK_FALSE(sim.is_alive(sim.keepers.at("a1")));
  CHECK(sim.watches.empty());
}

TEST_CASE("a keeper that is ended answers what it owes") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_push = [](const auto&) { return hanging<std::vector<git::pushed_point>>(); };
  sim.edit("a1", "one");
  const auto answer = sim.save_now_of("a1");
  sim.kill(sim.keepers.at("a1"), caf::exit_reason::user_shutdown);
  sim.run();
  REQUIRE(answer.has_come());
  CHECK(answer->point.has_error());
  CHECK(sim.watches.empty());
}

TEST_CASE("health hears of a busy worktree a few times a second at most") {
  protection_simulation sim;
  sim.settle({"a1"});
  const auto before = sim.heard->protection.size();
  for (int i = 0; i < 1000; ++i) {
    sim.edit("a1", "edit " + std::to_string(i));
    sim.advance(10ms);
  }
  CHECK(sim.heard->protection.size() - before <= 40);
}

TEST_CASE("save_now before there is a worktree says so") {
  protection_simulation sim;
  auto config = sim.keeping;
  config.agent_id = "a1";
  const auto subject = sim.keep(sim.system().spawn(keeper, config));
  const auto answer = sim.ask<save_answer>(subject, save_now{"drain", 1s});
  CHECK(answer->point.error().code == error_code::unavailable);
}

TEST_CASE("what was left out is said") {
  protection_simulation sim;
  sim.settle({"a1"});
  sim.git->on_snapshot = [&](const git::snapshot_job& job) {
    auto plan = sim.git->taken(job);
    plan.outcome->left_out = {{"big.bin", "larger than 95 MiB"}};
    return plan;
  };
  sim.edit("a1", "one");
  sim.advance(15s);
  CHECK_FALSE(sim.unsaved_age("a1"));
  REQUIRE(sim.last_word("a1").failure);
  CHECK(sim.last_word("a1").failure->message == "saved without big.bin (larger than 95 MiB)");
}
