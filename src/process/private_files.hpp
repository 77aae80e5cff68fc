#pragma once

#include <filesystem>
#include <string_view>

#include "core/error.hpp"

/// Files that nobody but the daemon's user reads: what an agent is started with, and the records of what runs.
namespace townkeeper {

/// Makes the directory and its missing parents, each with mode 0700. Those that exist are left as they are.
/// `invalid_argument` where something else has that name, `disk`.
result<void> make_private_directory(const std::filesystem::path& directory);

/// Replaces or creates the file, mode 0600, by writing another beside it and renaming: a reader sees the old or the new
/// content. Missing directories are made. A symbolic link of that name is replaced, not followed. Not synced: these
/// files mean nothing after the machine itself went down.
result<void> write_private_file(const std::filesystem::path& file, std::string_view content);

} // namespace townkeeper
