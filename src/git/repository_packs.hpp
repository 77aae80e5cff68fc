#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace townkeeper::git {

/// Reads every pack and index of a repository whole and compares it with the hash it ends in (gitformat-pack(5)); some
/// 1 ms per MiB. A damaged or incomplete pack is set aside, a missing or damaged index is made again from its pack,
/// what git derives from packs (multi-pack index, commit graph, bitmaps) is removed when damaged or when a pack went,
/// and an empty loose object (left by a power cut) is removed. What was in them has to come from the remote. Appends
/// what it did to `healed`. Errors: `disk`, `cancelled`.
result<void> check_packs(const std::filesystem::path& repository, const std::function<bool()>& cancelled,
                         std::vector<std::string>& healed);

/// Moves all packs of one repository into another, each before its index.
result<void> adopt_packs(const std::filesystem::path& from, const std::filesystem::path& into);

} // namespace townkeeper::git
