#pragma once

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/container.hpp"
#include "tests/support/files.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/scripted_agents.hpp"
#include "tests/support/town.hpp"

/// What every integration test stands on: a real town, a real git server, and the real daemon in a container.
namespace townkeeper::integration {

inline const std::string town_id = "riverside";

/// How often a cycle is repeated (`TOWNKEEPER_CYCLES`; 2 when it is not set).
int cycles();

struct place {
  std::string rig, agent, branch;
};

/// Three rigs, six agents.
inline const std::vector<place> places{{"api", "ada", "work/ada"}, {"api", "bob", "work/bob"},
                                       {"web", "cyd", "work/cyd"}, {"web", "dan", "work/dan"},
                                       {"web", "eve", "work/eve"}, {"infra", "fay", "work/fay"}};

/// Gives them their repositories and branches, and tells the town.
void settle(test::remote& server, const test::town_admin& admin);

/// A town of the rig `api` and the agent `ada` on its default branch.
struct one_agent_town {
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};

  one_agent_town();
};

/// The ref of an agent's recovery point.
std::string ref_of(const std::string& agent, int epoch = 1);

/// A number the tests are told by a variable of this name.
int count_of(const char* variable, int otherwise);

/// The seed of a test's random choices: `TOWNKEEPER_SEED`, or always the same. Noted, so that a failure prints it.
std::uint64_t seed_of_run();

/// The configuration of a test container: everything retried fast, agents run `command` (JSON array; none when empty).
/// `protect` is the inside of that section; the defaults when empty.
std::string configuration(const std::string& command = {}, const std::string& more_git = {},
                          const std::string& more_town = {}, const std::string& protect = {});

/// The inside of `protect` where saves, and what becomes of a failed one, are to be seen at once.
inline const std::string fast_saves =
    R"("push_interval":"100ms","quiet":"50ms","latest":"200ms","backoff_first":"50ms","backoff_max":"500ms")";

test::container_options container_for(const test::town& town, const std::string& config);

/// The scripted agents (tests/support/scripted_agents.hpp), as the tests call them.
using witness = test::worker;
using editing = test::editor;

/// `git status --porcelain` is empty, HEAD is on the branch, and both it and the upstream are at the remote's tip.
void check_restored(const std::filesystem::path& worktree, const std::string& branch, const std::string& remote_tip);
/// `git fsck` finds the repository sound.
void check_sound(const std::filesystem::path& repository_or_worktree);

/// The agent's object in a health document, or null.
const rapidjson::Value* agent_in(const rapidjson::Value& health, const std::string& agent_id);
const rapidjson::Value* rig_in(const rapidjson::Value& health, const std::string& rig_id);
/// A string member, empty when it is absent.
std::string text(const rapidjson::Value* object, const char* member);

/// The recovery point on an agent's record in a town's state, or null.
const rapidjson::Value* recovery_of(const rapidjson::Value& state, const std::string& agent_id);
/// The agent's record in a town's state, or null.
const rapidjson::Value* record_of(const rapidjson::Value& state, const std::string& agent_id);

/// Why an agent's work could not be saved, by a container's `/health`; empty where it could. Of any agent when none is
/// named.
std::string last_error(const test::container& box, const std::string& agent_id = {});

/// How often each agent was dispatched with success in an epoch.
std::int64_t dispatched(const rapidjson::Value& dispatches, const std::string& agent_id, std::int64_t epoch);

} // namespace townkeeper::integration
