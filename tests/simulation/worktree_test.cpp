#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "worktree_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

auto restore_fails_with(error_code code) {
  return [code](const git::worktree_job&) { return failing<git::worktree_restored>(code, "injected"); };
}

} // namespace

TEST_CASE("a worktree waits for its repository, then is restored and reported to health and supervisor") {
  worktree_simulation sim;
  sim.restore();
  sim.advance(1min);
  CHECK(sim.attempts() == 0);
  REQUIRE(sim.health->worktrees.size() == 1);
  CHECK(sim.health->worktrees[0].phase == town::agent_phase::waiting);
  sim.repository_is_ready();
  sim.advance(1s);
  REQUIRE(sim.attempts() == 1);
  const auto& job = sim.git->worktrees[0].job;
  CHECK(job.branch == "work/a1");
  CHECK(job.worktree == "/w/rigs/r/worktrees/a1");
  CHECK(job.remote_tip == fake_git::tip_of(remote, "work/a1"));
  CHECK(job.ever_pushed);
  REQUIRE(sim.health->settled.size() == 1);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
  CHECK(sim.report().commit == job.remote_tip);
  CHECK(sim.report().worktree == job.worktree.string());
  CHECK(sim.report().note.find("work/a1") != std::string::npos);
  CHECK(sim.health->settled[0].git_url == remote);
  REQUIRE(sim.supervisor->settled.size() == 1);
  CHECK(sim.supervisor->settled[0].report == sim.report());
}

TEST_CASE("it does not matter whether the repository or the spec is known first") {
  worktree_simulation sim;
  sim.repository_is_ready();
  CHECK(sim.attempts() == 0);
  sim.restore();
  sim.advance(1s);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
}

TEST_CASE("a worktree does not begin with a repository that was not asked for its branch") {
  worktree_simulation sim;
  auto spec = agent_on("a1", "work/a1");
  spec.base_ref = "develop";
  sim.restore(spec);
  SECTION("another branch") {
    sim.repository_is_ready(agent_on("a1", "work/other"));
  }
  SECTION("not its base") {
    sim.repository_is_ready(agent_on("a1", "work/a1"));
  }
  SECTION("another remote") {
    sim.repository_is_ready(spec, other_remote);
  }
  sim.advance(1s);
  CHECK(sim.attempts() == 0);
  sim.repository_is_ready(spec);
  sim.advance(1s);
  CHECK(sim.attempts() == 1);
}

TEST_CASE("a restored worktree is left alone when its repository is looked at again or fails") {
  worktree_simulation sim;
  sim.restore();
  sim.repository_is_ready();
  sim.advance(1s);
  sim.repository_is_ready();
  sim.rig_says(repository_failed{error{error_code::unavailable, "r", "down"}, true});
  sim.restore();
  sim.advance(5min);
  CHECK(sim.attempts() == 1);
  CHECK(sim.health->settled.size() == 1);
}

TEST_CASE("a missing branch settles at once, and is looked for again every minute") {
  worktree_simulation sim;
  auto spec = agent_of("a1");
  spec.head_commit = "0123";
  sim.git->missing_branches = {"work/a1"};
  sim.restore(spec);
  sim.repository_is_ready(spec);
  sim.advance(1s);
  CHECK(sim.attempts() == 1);
  CHECK(sim.report().outcome == town::agent_outcome::branch_missing);
  CHECK(sim.report().code == "branch_missing");
  CHECK(sim.report().note.find("not on the remote any more") != std::string::npos);
  CHECK(sim.rig_heard->looks == 0);
  sim.advance(60s);
  CHECK(sim.rig_heard->looks == 1);
  sim.advance(60s);
  CHECK(sim.rig_heard->looks == 2);
  sim.git->missing_branches.clear();
  sim.repository_is_ready(spec);
  sim.advance(1s);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
  sim.advance(5min);
  CHECK(sim.rig_heard->looks == 2);
}

TEST_CASE("whether a branch was ever pushed decides between missing and new") {
  worktree_simulation sim;
  auto spec = agent_of("a1");
  bool expected = false;
  SECTION("no base to make it from") {
    expected = true;
  }
  SECTION("a base, and nothing on record") {
    spec.base_ref = "main";
  }
  SECTION("a base, and a head on record") {
    spec.base_ref = "main";
    spec.head_commit = "0123";
    expected = true;
  }
  SECTION("a base, and a recovery point on record") {
    spec.base_ref = "main";
    spec.recovery.emplace();
    expected = true;
  }
  sim.git->missing_branches = {"work/a1"};
  sim.restore(spec);
  sim.repository_is_ready(spec);
  sim.advance(1s);
  REQUIRE(sim.attempts() == 1);
  CHECK(sim.git->worktrees[0].job.ever_pushed == expected);
  CHECK_FALSE(sim.git->worktrees[0].job.remote_tip);
  if (spec.base_ref) CHECK(sim.git->worktrees[0].job.base_tip == fake_git::tip_of(remote, "main"));
  CHECK(sim.report().outcome == (expected ? town::agent_outcome::branch_missing : town::agent_outcome::restored));
}

TEST_CASE("an empty remote misses no branch") {
  worktree_simulation sim;
  sim.restore();
  auto ready = sim.ready_for(agent_of("a1"));
  ready.restored.tips.clear();
  ready.restored.remote_empty = true;
  sim.rig_says(ready);
  sim.advance(1s);
  REQUIRE(sim.attempts() == 1);
  CHECK_FALSE(sim.git->worktrees[0].job.ever_pushed);
}

TEST_CASE("a failing job has five attempts with backoff, then asks its rig every minute to look again") {
  worktree_simulation sim;
  sim.git->on_worktree = restore_fails_with(error_code::disk);
  sim.restore();
  sim.repository_is_ready();
  sim.advance_until([&] { return !sim.health->settled.empty(); }, 1min);
  REQUIRE(sim.attempts() == 5);
  for (std::size_t i = 1; i < 5; ++i) {
    const auto pause = sim.git->worktrees[i].at - sim.git->worktrees[i - 1].at - 10ms;
    CHECK(pause >= 1ms);
    CHECK(pause <= 250ms * (1 << (i - 1)));
  }
  CHECK(sim.report().outcome == town::agent_outcome::failed);
  CHECK(sim.report().code == "disk");
  CHECK(sim.supervisor->settled.size() == 1);
  sim.advance(150s);
  CHECK(sim.rig_heard->looks == 2);
  CHECK(sim.attempts() == 5);
  sim.repository_is_ready();
  sim.advance(1s);
  CHECK(sim.attempts() == 6);
  CHECK(sim.health->settled.size() == 2);
  sim.git->on_worktree = nullptr;
  sim.repository_is_ready();
  sim.advance(1s);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
}

TEST_CASE("a worktree fails with its rig's reason once the rig has settled, and heals with it") {
  worktree_simulation sim;
  sim.restore();
  sim.rig_says(repository_failed{error{error_code::unavailable, "r", "down"}, false});
  CHECK(sim.health->settled.empty());
  CHECK(sim.health->worktrees.back().phase == town::agent_phase::waiting);
  CHECK(sim.health->worktrees.back().failure->message == "down");
  sim.rig_says(repository_failed{error{error_code::not_found, "r", "404"}, true});
  REQUIRE(sim.health->settled.size() == 1);
  CHECK(sim.report().outcome == town::agent_outcome::failed);
  CHECK(sim.report().failure->message == "404");
  sim.repository_is_ready();
  sim.advance(1s);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
}

TEST_CASE("a rig that fails while a worktree's job runs does not fail the worktree") {
  worktree_simulation sim;
  sim.restore();
  sim.repository_is_ready();
  sim.rig_says(repository_failed{error{error_code::unavailable, "r", "down"}, true});
  sim.advance(1s);
  REQUIRE(sim.health->settled.size() == 1);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
}

TEST_CASE("a branch that changes while the job runs: the job is cancelled and what it came to counts for nothing") {
  worktree_simulation sim;
  const bool was_cancelled = GENERATE(true, false);
  sim.restore();
  sim.repository_is_ready();
  REQUIRE(sim.attempts() == 1);
  sim.restore(agent_on("a1", "work/new"));
  CHECK(*sim.git->worktrees[0].job.cancel);
  CHECK(sim.rig_heard->looks == 1);
  if (!was_cancelled) *sim.git->worktrees[0].job.cancel = false; // it had ended by then
  sim.advance(1s);
  CHECK(sim.health->settled.empty());
  CHECK(sim.attempts() == 1);
  sim.repository_is_ready(agent_on("a1", "work/new"));
  sim.advance(1s);
  REQUIRE(sim.attempts() == 2);
  CHECK(sim.git->worktrees[1].job.branch == "work/new");
  REQUIRE(sim.health->settled.size() == 1);
  CHECK(sim.report().branch == "work/new");
}

TEST_CASE("a restored worktree whose branch or remote changes waits for a fresh word of its rig") {
  worktree_simulation sim;
  sim.restore();
  auto ready = sim.ready_for(agent_of("a1"));
  ready.asked_for.insert("work/new"); // fetched long ago, together with the other
  ready.restored.tips["work/new"] = "an-old-commit";
  sim.rig_says(ready);
  sim.advance(1s);
  auto moved = agent_of("a1");
  auto url = remote;
  SECTION("branch") {
    moved = agent_on("a1", "work/new");
  }
  SECTION("remote") {
    url = other_remote;
  }
  sim.restore(moved, url);
  sim.advance(1s);
  CHECK(sim.attempts() == 1);
  CHECK(sim.rig_heard->looks == 1);
  sim.repository_is_ready(moved, url);
  sim.advance(1s);
  REQUIRE(sim.attempts() == 2);
  CHECK(sim.git->worktrees[1].job.remote_tip == fake_git::tip_of(url, moved.branch));
  CHECK(sim.health->settled.back().git_url == url);
  CHECK(sim.report().outcome == town::agent_outcome::restored);
}

TEST_CASE("another base matters only to a worktree that is not restored") {
  worktree_simulation sim;
  auto spec = agent_of("a1");
  spec.base_ref = "main";
  auto rebased = spec;
  rebased.base_ref = "develop";
  sim.restore(spec);
  SECTION("restored") {
    sim.repository_is_ready(spec);
    sim.advance(1s);
    sim.restore(rebased);
    sim.repository_is_ready(rebased);
    sim.advance(1s);
    CHECK(sim.attempts() == 1);
  }
  SECTION("failed") {
    sim.git->on_worktree = restore_fails_with(error_code::unsupported);
    sim.repository_is_ready(spec);
    sim.advance(1s);
    sim.git->on_worktree = nullptr;
    sim.restore(rebased);
    sim.repository_is_ready(rebased);
    sim.advance(1s);
    CHECK(sim.attempts() == 2);
    CHECK(sim.report().outcome == town::agent_outcome::restored);
  }
}

TEST_CASE("a retired worktree is removed, or kept with the reason, and its actor ends") {
  worktree_simulation sim;
  sim.restore();
  SECTION("its repository was never ready") {
    sim.tell(sim.subject, retire_worktree{});
    CHECK(sim.git->worktrees.empty());
    REQUIRE(sim.supervisor->retired.size() == 1);
    CHECK_FALSE(sim.supervisor->retired[0].removal.removed);
  }
  SECTION("clean") {
    sim.repository_is_ready();
    sim.advance(1s);
    sim.tell(sim.subject, retire_worktree{});
    sim.tell(sim.subject, retire_worktree{});
    sim.advance(1s);
    CHECK(sim.git->worktrees.size() == 2);
    CHECK(sim.git->worktrees[1].remove);
    REQUIRE(sim.supervisor->retired.size() == 1);
    CHECK(sim.supervisor->retired[0].removal.removed);
  }
  SECTION("it holds something unsaved, or cannot be looked at") {
    const bool refused = GENERATE(true, false);
    sim.git->on_removal = [&](const git::worktree_job&) -> git_plan<git::worktree_removal> {
      if (refused) return failing<git::worktree_removal>(error_code::corrupt, "no index");
      return {git::worktree_removal{false, "2 modified files"}};
    };
    sim.repository_is_ready();
    sim.advance(1s);
    sim.tell(sim.subject, retire_worktree{});
    sim.advance(1s);
    REQUIRE(sim.supervisor->retired.size() == 1);
    CHECK_FALSE(sim.supervisor->retired[0].removal.removed);
    CHECK(sim.supervisor->retired[0].removal.kept_because.find(refused ? "no index" : "2 modified files") !=
          std::string::npos);
  }
  SECTION("while its job runs: the job is cancelled first") {
    sim.git->on_worktree = [](const git::worktree_job&) { return hanging<git::worktree_restored>(); };
    sim.repository_is_ready();
    sim.tell(sim.subject, retire_worktree{});
    CHECK(*sim.git->worktrees[0].job.cancel);
    sim.advance(1s);
    REQUIRE(sim.supervisor->retired.size() == 1);
    CHECK(sim.supervisor->retired[0].removal.removed);
    CHECK(sim.health->settled.empty());
  }
  sim.repository_is_ready();
  CHECK_FALSE(sim.is_alive(sim.subject));
}

TEST_CASE("the successor of a crashed actor does not touch a worktree that was restored") {
  town::agent_report restored;
  restored.agent_id = "a1";
  restored.outcome = town::agent_outcome::restored;
  restored.branch = "work/a1";
  worktree_simulation sim{restored};
  sim.restore();
  sim.repository_is_ready();
  sim.rig_says(repository_failed{error{error_code::unavailable, "r", "down"}, true});
  sim.advance(5min);
  CHECK(sim.attempts() == 0);
  CHECK(sim.health->settled.empty());
  sim.restore(agent_on("a1", "work/new"));
  sim.repository_is_ready(agent_on("a1", "work/new"));
  sim.advance(1s);
  CHECK(sim.attempts() == 1);
}

TEST_CASE("a worktree actor that ends cancels its job") {
  worktree_simulation sim;
  sim.git->on_worktree = [](const git::worktree_job&) { return hanging<git::worktree_restored>(); };
  sim.restore();
  sim.repository_is_ready();
  CHECK_FALSE(*sim.git->worktrees.at(0).job.cancel);
  sim.kill(sim.subject);
  sim.run();
  CHECK(*sim.git->worktrees.at(0).job.cancel);
}

TEST_CASE("the report names what the last container may have lost") {
  worktree_simulation sim;
  auto spec = agent_of("a1");
  spec.maybe_lost_seconds = 12;
  spec.checkpoint = town::checkpoint_mark{4, "2026-01-01T00:00:00Z"};
  sim.restore(spec);
  sim.repository_is_ready();
  sim.advance(1s);
  CHECK(sim.report().maybe_lost_seconds == 12);
  CHECK(sim.report().note.find("12 seconds") != std::string::npos);
  CHECK(sim.report().note.find("checkpoint is number 4") != std::string::npos);
}
