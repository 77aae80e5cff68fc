#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/git_cli.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/worktree_picture.hpp"
#include "tests/support/worktree_states.hpp"

namespace townkeeper::test {

/// Which states are tried: `TOWNKEEPER_STATES=<count>[@<first seed>]`, or `count` of them from seed 1.
std::vector<std::uint64_t> seeds_of_states(std::size_t count);

/// The seed, and what was done to make the state.
std::string report_of(std::uint64_t seed, const made_state& done);

/// Recovers a point of the remote as docs/recovery.md tells a person to, in an independent clone, and says where the
/// result differs from what the worktree was; and whether a clone of the point alone is sound. Empty: nowhere. Files,
/// index and status are compared where plain git can bring them back, else the files alone; bytes behind a filter
/// never.
std::string flaws_of_plain_recovery(const std::filesystem::path& remote, const std::string& ref,
                                    const worktree_picture& before);

} // namespace townkeeper::test
