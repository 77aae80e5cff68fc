#pragma once

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/container.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/town.hpp"

/// What every integration test stands on: a real town, a real git server, and the real daemon in a container.
namespace townkeeper::integration {

inline const std::string town_id = "riverside";

/// How often a cycle is repeated (`TOWNKEEPER_CYCLES`; 2 when it is not set).
int cycles();

/// The configuration of a test container: everything retried fast, agents run `command` (JSON array; none when empty).
std::string configuration(const std::string& command = {}, const std::string& more_git = {},
                          const std::string& more_town = {});

test::container_options container_for(const test::town& town, const std::string& config);

/// The scripted worker and the directory that outlives its container.
class witness {
public:
  struct entry {
    std::string word; ///< start or step
    std::string id;   ///< dispatch id or step number
    std::string what; ///< step it resumed from, or commit
  };

  /// JSON array for `agents.command`.
  std::string command() const;
  std::vector<entry> journal(const std::string& agent_id) const;
  std::vector<entry> all(const std::string& agent_id, const std::string& word) const;
  void let_work(bool allowed);
  void finish();

private:
  test::temp_dir dir_{"witness"};
};

/// `git status --porcelain` is empty, HEAD is on the branch, and both it and the upstream are at the remote's tip.
void check_restored(const std::filesystem::path& worktree, const std::string& branch, const std::string& remote_tip);
/// `git fsck` finds the repository sound.
void check_sound(const std::filesystem::path& repository_or_worktree);

/// The agent's object in a health document, or null.
const rapidjson::Value* agent_in(const rapidjson::Value& health, const std::string& agent_id);
const rapidjson::Value* rig_in(const rapidjson::Value& health, const std::string& rig_id);
/// A string member, empty when it is absent.
std::string text(const rapidjson::Value* object, const char* member);

/// How often each agent was dispatched with success in an epoch.
std::int64_t dispatched(const rapidjson::Value& dispatches, const std::string& agent_id, std::int64_t epoch);

} // namespace townkeeper::integration
