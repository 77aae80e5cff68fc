#include "scenario.hpp"

#include <map>

#include "tests/support/worktree_picture.hpp"
#include "tests/support/worktree_states.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

constexpr int agents_per_container = 16;

std::string agent_name(int i) {
  return "agent" + std::to_string(i);
}

} // namespace

TEST_CASE("a drained container wakes bit for bit: every worktree is as it was left") {
  test::remote server;
  test::town town;
  const test::town_admin admin{town, town_id};
  const int states = count_of("TOWNKEEPER_WAKE_STATES", 32);
  const auto seed = seed_of_run();
  for (int first = 0; first < states; first += agents_per_container) {
    const auto rig = "rig" + std::to_string(first);
    const int agents = std::min(agents_per_container, states - first);
    server.make_repository(rig, {"main", true});
    std::vector<std::string> branches;
    for (int i = 0; i < agents; ++i)
      branches.push_back("work/" + agent_name(first + i));
    test::seed_history(server.repository_path(rig), branches);
    admin.put_rig(rig, server.url(rig));
    for (int i = 0; i < agents; ++i)
      admin.put_agent(rig, agent_name(first + i), branches[static_cast<std::size_t>(i)],
                      R"(,"headCommit":")" + server.tip(rig, branches[static_cast<std::size_t>(i)]) + "\"");
    test::container box{container_for(town, configuration())};
    box.start();
    INFO(box.log());
    REQUIRE(box.wait_for_phase("ready"));
    std::map<int, test::made_state> done;
    for (int i = 0; i < agents; ++i)
      done[i] =
          test::make_state(box.worktree(rig, agent_name(first + i)), seed + static_cast<std::uint64_t>(first + i));
    std::map<int, test::worktree_picture> before;
    for (int i = 0; i < agents; ++i)
      before[i] = test::describe(box.worktree(rig, agent_name(first + i)));
    box.terminate();
    CHECK(box.wait_for_exit() == 0);

    box.wipe_disk();
    box.start();
    REQUIRE(box.wait_for_phase("ready"));
    for (int i = 0; i < agents; ++i) {
      CAPTURE(agent_name(first + i), seed + static_cast<std::uint64_t>(first + i), done[i]);
      const auto after = test::describe(box.worktree(rig, agent_name(first + i)));
      CHECK(test::differences(before[i], after) == "");
    }
    box.terminate();
    CHECK(box.wait_for_exit() == 0);
    admin.remove_rig(rig);
  }
}
