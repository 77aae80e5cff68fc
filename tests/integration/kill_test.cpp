#include "scenario.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

constexpr int agents = 8;

std::string agent_name(int i) {
  return "agent" + std::to_string(i);
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The seconds between the first change that did not come back and `killed_at`; 0: all came back.
double lost_seconds(const std::vector<editing::edit>& edits, std::int64_t restored, std::int64_t killed_at) {
  for (const auto& e : edits)
    if (e.number > restored) return static_cast<double>(killed_at - e.at_ns) / 1e9;
  return 0;
}

/// The number in the agent's file, 0 where there is none yet.
std::int64_t number_in(const std::filesystem::path& worktree, const std::string& agent_id) {
  std::int64_t n = 0;
  std::ifstream{worktree / ("edit-" + agent_id + ".txt")} >> n;
  return n;
}

} // namespace

TEST_CASE("killed without a word while 8 agents edit, stage and commit: only the last seconds are lost", "[timed]") {
  const int kills = count_of("TOWNKEEPER_KILLS", 4);
  const auto seed = seed_of_run();
  // Faster than the defaults, so that a kill takes seconds; with TOWNKEEPER_KILL_DEFAULTS=1 the defaults themselves.
  const bool defaults = count_of("TOWNKEEPER_KILL_DEFAULTS", 0) != 0;
  const double interval = defaults ? 10 : 1;
  std::mt19937_64 random{seed};

  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  server.make_repository("api");
  admin.put_rig("api", server.url("api"));
  for (int i = 0; i < agents; ++i) {
    server.commit("api", {"work/" + agent_name(i), {{"begin", "begin\n"}}, {}, "begin", "main"});
    admin.put_agent("api", agent_name(i), "work/" + agent_name(i),
                    R"(,"headCommit":")" + server.tip("api", "work/" + agent_name(i)) + "\"");
  }
  editing workers;
  const auto protect = defaults ? std::string{} : R"("push_interval":"1s","quiet":"200ms","latest":"800ms")";
  test::container box{container_for(town, configuration(workers.command(defaults ? "0.2" : "0.05"), {}, {}, protect))};
  std::vector<double> losses;
  for (int kill = 0; kill < kills; ++kill) {
    CAPTURE(kill, seed);
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
    if (kill > 0) {
      // What came back once comes back again, however short the container lived that had it.
      for (int i = 0; i < agents; ++i) {
        const auto name = agent_name(i);
        CAPTURE(name, text(agent_in(box.health(), name), "outcome"));
        const auto all = workers.edits(name);
        // A push that was under way at the kill may have landed since: then it is more.
        CHECK(number_in(box.worktree("api", name), name) >= (all.empty() ? 0 : all.back().number));
      }
      // What the town was told is saved can be read from the remote.
      const auto state = admin.state();
      for (int i = 0; i < agents; ++i) {
        const auto* recovery = recovery_of(state, agent_name(i));
        if (recovery == nullptr) continue;
        const std::string commit = (*recovery)["commit"].GetString();
        CHECK(test::try_git(server.repository_path("api"), {"cat-file", "-e", commit + "^{tree}"}).status == 0);
      }
    }
    workers.let_work(true);
    // A random instant of a random phase: up to three intervals of work.
    const auto alive = std::chrono::milliseconds{random() % static_cast<std::uint64_t>(interval * 3000) + 300};
    std::this_thread::sleep_for(alive);
    const auto killed_at = now_ns();
    box.kill();
    workers.let_work(false);
    box.wipe_disk();

    box.start();
    REQUIRE(box.wait_for_phase("ready"));
    const auto health = box.health();
    for (int i = 0; i < agents; ++i) {
      const auto name = agent_name(i);
      CAPTURE(name);
      const auto outcome = text(agent_in(health, name), "outcome");
      CHECK((outcome == "restored" || outcome == "recovered"));
      const auto restored = number_in(box.worktree("api", name), name);
      losses.push_back(lost_seconds(workers.edits(name), restored, killed_at));
      if (losses.back() > interval + 4)
        std::printf(
            "agent %s lost %.2f s: at number %lld of %s\n%s\n%s\n", name.c_str(), losses.back(),
            static_cast<long long>(restored),
            test::run_git(box.worktree("api", name), {"log", "-3", "--format=%h %s"}).c_str(),
            test::run_git(server.repository_path("api"), {"for-each-ref", "refs/townkeeper/" + town_id + "/" + name})
                .c_str(),
            test::run_git(box.worktree("api", name), {"status", "--porcelain"}).c_str());
      // The agent goes on from what it has.
      workers.forget_after(name, restored);
    }
    box.kill();
    box.wipe_disk();
  }
  std::sort(losses.begin(), losses.end());
  const auto at = [&](double share) {
    return losses[static_cast<std::size_t>(share * static_cast<double>(losses.size() - 1))];
  };
  std::printf(
      "killed %d times (seed %llu), %d agents: lost p50 %.2f s, p99 %.2f s, most %.2f s (push interval %.0f s)\n",
      kills, static_cast<unsigned long long>(seed), agents, at(0.5), at(0.99), losses.back(), interval);
  std::istringstream log{box.log()};
  for (std::string line; std::getline(log, line);)
    if (line.find("a save failed") != std::string::npos) std::printf("%s\n", line.c_str());
  // One push of eight agents on this machine, with everything else that runs on it, takes well below this.
  CHECK(losses.back() <= interval + 8);
}
