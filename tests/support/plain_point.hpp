#pragma once

#include <filesystem>
#include <string>

namespace townkeeper::test {

struct plain_point_options {
  std::filesystem::path objects; ///< private object directory; empty: the repository's own
  bool everything = true;        ///< false: without the files and ids of an operation, tags and stashes
};

/// Makes a recovery point in the layout of docs/recovery.md with git's commands alone, sharing nothing with our own
/// writer: what the layout promises is tested with it, and time is measured against it. Touches neither index, refs nor
/// files. Left out of it: `raw/` (exact bytes behind a filter), limits, and ids of an operation in `refs.json`. Returns
/// the id of R. Throws when git fails.
std::string plain_point(const std::filesystem::path& worktree, const plain_point_options& options = {});

} // namespace townkeeper::test
