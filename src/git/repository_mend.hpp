#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace townkeeper::git {

/// What a repository must have so that it can be opened and its refs be read.
struct repository_frame {
  std::string rig_id;
  std::string url;
  std::string default_branch;
  std::vector<std::string> branches; ///< for a configuration that has to be written afresh
};

/// Goes through a repository the disk kept, without opening it, and mends what is broken or half-written: missing
/// directories, HEAD, an unreadable configuration (the old file is kept in `townkeeper/set-aside`), unreadable
/// refs and packed refs, locks of dead owners, leftovers of dead processes of ours. Writes nothing where all is well.
/// Appends what it did to `healed`. Errors: `corrupt`, it is beyond mending (clone afresh); `unsupported` as
/// `check_features`; `disk`.
result<void> mend_repository(const std::filesystem::path& repository, const repository_frame& frame,
                             std::vector<std::string>& healed);

/// Moves a file of the repository to `townkeeper/set-aside` under its own name. Errors: `disk`.
result<void> set_aside(const std::filesystem::path& repository, const std::filesystem::path& file);

/// Moves a whole repository to `<rig>/.kept/<its name>-<n>` and returns where it is now. Errors: `disk`.
result<std::filesystem::path> set_repository_aside(const std::filesystem::path& repository);

} // namespace townkeeper::git
