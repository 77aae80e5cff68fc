#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.hpp"

namespace townkeeper::config {

/// The settings a file names, each with its text form, in the table's order. `invalid_config` for a file that cannot be
/// read, is larger than 1 MiB, is not JSON (line and column), names a key twice or one that is unknown, or does not
/// match the schema.
result<std::vector<std::pair<const setting*, std::string>>> read_file(const std::filesystem::path& path);

} // namespace townkeeper::config
