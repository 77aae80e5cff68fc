#include "scenario.hpp"

#include <algorithm>
#include <fstream>
#include <map>

#include "tests/support/worktree_picture.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

std::int64_t checkpoint_step(const test::town_admin& admin, const place& p) {
  const auto history = admin.call("GET", "/rigs/" + p.rig + "/agents/" + p.agent + "/checkpoints?limit=1");
  return history.Empty() || !history[0]["data"].IsObject() ? 0 : history[0]["data"]["step"].GetInt64();
}

/// What is seen of one wake from outside.
struct observation {
  double first_progress = 2, last_progress = -1;
  bool fell = false;
  bool ready_too_early = false; ///< the town called the container ready before /health showed every outcome
};

/// Watches health and town until the container is ready.
observation watch_wake(const test::container& box, const test::town_admin& admin) {
  observation seen;
  const bool ready = box.wait_for_health([&](const rapidjson::Value& health) {
    const auto state = admin.state();
    const bool town_says_ready = state["epoch"].GetInt64() == health["recovery"]["epoch"].GetInt64() &&
                                 state["container"].IsObject() && text(&state["container"], "outcome") == "ready";
    // Read after the town was asked: what it was told must show by now.
    const auto now = box.health();
    const double progress = now["recovery"]["progress"].GetDouble();
    if (seen.last_progress < 0) seen.first_progress = progress;
    seen.fell = seen.fell || progress < seen.last_progress;
    seen.last_progress = progress;
    const bool all_shown = std::all_of(places.begin(), places.end(), [&](const place& p) {
      return text(agent_in(now, p.agent), "outcome") == "restored";
    });
    seen.ready_too_early = seen.ready_too_early || (town_says_ready && !all_shown);
    return town_says_ready && text(&now["recovery"], "phase") == "ready";
  });
  INFO(box.log());
  REQUIRE(ready);
  return seen;
}

} // namespace

TEST_CASE("sleep, wake, resume: a town of 3 rigs and 6 agents loses its disk again and again") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  settle(server, admin);

  witness workers;
  // What is saved of unpushed work is another test's.
  test::container box{container_for(town, configuration(workers.command(), {}, {}, R"("enabled":false)"))};
  const int count = cycles() + 1; // the first is no wake yet
  for (int cycle = 1; cycle <= count; ++cycle) {
    CAPTURE(cycle);
    workers.let_work(false);
    std::map<std::string, std::int64_t> checkpoint;
    for (const auto& p : places)
      checkpoint[p.agent] = checkpoint_step(admin, p);

    box.start();
    const auto seen = watch_wake(box, admin);
    CHECK(seen.first_progress < 1);
    CHECK(seen.last_progress == 1);
    CHECK_FALSE(seen.fell);
    CHECK_FALSE(seen.ready_too_early);

    // The workers stand still until `go`: what is on the disk is what was restored.
    const auto health = box.health();
    const auto epoch = health["recovery"]["epoch"].GetInt64();
    CHECK(epoch == cycle);
    for (const auto& p : places)
      check_restored(box.worktree(p.rig, p.agent), p.branch, server.tip(p.rig, p.branch));
    for (const auto* rig : {"api", "web", "infra"})
      check_sound(box.worktree(
          rig, std::find_if(places.begin(), places.end(), [&](const place& p) { return p.rig == rig; })->agent));

    // Each was dispatched, and goes on from its own checkpoint.
    INFO(box.log());
    REQUIRE(test::wait_until([&] {
      return std::all_of(places.begin(), places.end(), [&](const place& p) {
        return workers.all(p.agent, "start").size() == static_cast<std::size_t>(cycle);
      });
    }));
    for (const auto& p : places) {
      CAPTURE(p.agent);
      CHECK(workers.all(p.agent, "start").back().what == std::to_string(checkpoint[p.agent]));
    }
    workers.let_work(true);
    const bool all_worked = test::wait_until([&] {
      return std::all_of(places.begin(), places.end(), [&](const place& p) {
        const auto steps = workers.all(p.agent, "step");
        return !steps.empty() && std::stoll(steps.back().id) >= checkpoint[p.agent] + 2;
      });
    });
    for (const auto& p : places) {
      const auto last = workers.journal(p.agent).back();
      UNSCOPED_INFO(p.agent << " from " << checkpoint[p.agent] << ": " << last.word << ' ' << last.id << ' '
                            << last.what);
    }
    REQUIRE(all_worked);
    const auto dispatches = admin.dispatches();
    for (const auto& p : places) {
      CAPTURE(p.agent);
      CHECK(dispatched(dispatches, p.agent, epoch) == 1);
      CHECK(workers.all(p.agent, "start").size() == static_cast<std::size_t>(cycle));
    }

    box.kill();
    box.wipe_disk();
    // Nothing that was pushed and checkpointed is behind where the workers said it was.
    for (const auto& p : places)
      CHECK(checkpoint_step(admin, p) >= std::stoll(workers.all(p.agent, "step").back().id));
  }
}

TEST_CASE("sleep with unsaved work, wake, resume: the same uncommitted bytes, again and again") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  settle(server, admin);
  witness workers;
  test::container box{container_for(town, configuration(workers.command()))};
  const int count = cycles() + 1;
  std::map<std::string, test::worktree_picture> left;
  for (int cycle = 1; cycle <= count; ++cycle) {
    CAPTURE(cycle);
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
    const auto epoch = box.health()["recovery"]["epoch"].GetInt64();
    CHECK(epoch == cycle);
    for (const auto& p : places) {
      CAPTURE(p.agent);
      const auto worktree = box.worktree(p.rig, p.agent);
      if (cycle > 1) CHECK(test::differences(left[p.agent], test::describe(worktree)) == "");
    }
    REQUIRE(test::wait_until([&] {
      return std::all_of(places.begin(), places.end(), [&](const place& p) {
        return workers.all(p.agent, "start").size() == static_cast<std::size_t>(cycle);
      });
    }));
    const auto wanted = [&](const place& p) {
      return static_cast<std::size_t>(2 * cycle) <= workers.all(p.agent, "step").size();
    };
    workers.let_work(true);
    REQUIRE(test::wait_until([&] { return std::all_of(places.begin(), places.end(), wanted); }));
    workers.let_work(false);
    REQUIRE(test::wait_until([&] {
      return std::all_of(places.begin(), places.end(), [&](const place& p) { return workers.is_idle(p.agent); });
    }));
    // On top of what the workers pushed: a commit that was not, staged, unstaged and untracked work.
    for (const auto& p : places) {
      const auto worktree = box.worktree(p.rig, p.agent);
      const auto number = std::to_string(cycle);
      test::run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "not pushed " + number});
      std::ofstream{worktree / "src/dir0/file0"} << "staged " << number << "\n";
      test::run_git(worktree, {"add", "src/dir0/file0"});
      std::ofstream{worktree / "src/dir0/file7"} << "edited " << number << "\n";
      std::ofstream{worktree / ("draft-" + number)} << "untracked\n";
    }
    // Afterwards: the worktrees of a rig share its refs.
    for (const auto& p : places)
      left[p.agent] = test::describe(box.worktree(p.rig, p.agent));
    const auto dispatches = admin.dispatches();
    for (const auto& p : places) {
      CAPTURE(p.agent);
      CHECK(dispatched(dispatches, p.agent, epoch) == 1);
    }
    box.terminate();
    CHECK(box.wait_for_exit() == 0);
    box.wipe_disk();
  }
}
