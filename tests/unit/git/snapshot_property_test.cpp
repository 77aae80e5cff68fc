// Random states of a worktree: seen by nobody, and brought back by plain git as far as a stash can.
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sstream>

#include "snapshot_rig.hpp"
#include "tests/support/worktree_picture.hpp"
#include "tests/support/worktree_states.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

/// TOWNKEEPER_SNAPSHOT_SEEDS="<first>-<last>" looks at others.
std::pair<unsigned long, unsigned long> seeds() {
  const char* wanted = std::getenv("TOWNKEEPER_SNAPSHOT_SEEDS");
  if (wanted == nullptr) return {1, 6};
  char* end = nullptr;
  const auto first = std::strtoul(wanted, &end, 10);
  return {first, *end == '-' ? std::strtoul(end + 1, nullptr, 10) : first};
}

/// Without the files of which the snapshot has the exact bytes besides, because a checkout cannot give them.
std::string without_raw(const snapshot_rig& rig, const git::snapshot& snapshot, const std::string& differences) {
  std::string rest;
  std::istringstream lines(differences);
  for (std::string line; std::getline(lines, line);) {
    bool raw = false;
    for (const auto& [path, item] : rig.tree(snapshot.extras_tree, snapshot.agent_id))
      raw = raw || (path.starts_with("raw/") && line.substr(1).starts_with("file " + path.substr(4) + ": "));
    if (!raw) rest += line + '\n';
  }
  return rest;
}

} // namespace

TEST_CASE("plain git brings random states back") {
  const auto [first, last] = seeds();
  for (auto seed = first; seed <= last; ++seed) {
    snapshot_rig rig;
    seed_history(rig.remote(), {"states"});
    rig.restored("states", "a2");
    auto job = rig.snapshot_job();
    job.agent_id = "a2";
    job.worktree = rig.worktree("a2");
    job.branch = "states";
    const auto made = make_state(job.worktree, seed);
    INFO(fmt::format("seed {}:\n{}", seed, fmt::join(made, "\n")));
    const auto before = describe(job.worktree);
    const auto snapshot = snapshot_rig::taken(job);
    CHECK(differences(before, describe(job.worktree)) == "");
    CHECK(snapshot_rig::taken(job).fingerprint == snapshot.fingerprint);
    // A stash has no place for these; their bytes come all the same.
    const bool as_a_stash =
        before.is_born() && !before.has_unmerged() && !before.has_intent_to_add() && !before.has_flags();
    const auto kinds =
        as_a_stash ? std::vector<std::string>{"status", "index", "file"} : std::vector<std::string>{"file"};
    CHECK(without_raw(rig, snapshot, rig.difference_in_plain_git(snapshot, before, kinds)) == "");
  }
}
