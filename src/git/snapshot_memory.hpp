#pragma once

#include <git2.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "git/private_closure.hpp"
#include "git/recovery.hpp"
#include "git/snapshot_walk.hpp"

namespace townkeeper::git {

/// A file that was read once: while its stat says the same, it is not read again.
struct remembered_file {
  seen_stat stat;
  git_oid id{};               ///< of what git would store
  std::optional<git_oid> raw; ///< of its exact bytes, where a checkout would not give them
};

/// How much there was in the private store, and when.
struct store_look {
  std::size_t objects = 0;
  std::int64_t bytes = 0;
  std::chrono::steady_clock::time_point at;
};

/// What the snapshots of one agent remember between them, in this process only. As large as the changed and untracked
/// files of the last snapshot are many. Whoever uses it holds `in_use`.
struct snapshot_memory {
  std::mutex in_use;
  std::unordered_map<std::string, remembered_file> files;
  std::string conversion;           ///< what the files went through: other attributes, other contents
  std::optional<snapshot> last;     ///< returned again while nothing changes
  closure_memory closure;           ///< which commits are whole in the private store
  std::optional<store_look> looked; ///< what the last look for what is not needed any more left there

  /// The agent's own; made when it is asked for first. Thread-safe.
  static std::shared_ptr<snapshot_memory> of(const std::filesystem::path& repository, const std::string& agent_id);
};

} // namespace townkeeper::git
