#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"

/// What is left to do when a push finds that an object is gone.
namespace townkeeper::git {

/// Takes those of `points` (commits in hex that the remote has) out of the private stores of `agents` whose history or
/// content has a hole there: what the repository does not know, libgit2 does not walk to find out what need not be
/// sent. On the remote they are whole. Returns how many. Errors: as `open_with_private_objects`.
result<std::size_t> forget_broken_points(const std::filesystem::path& repository,
                                         const std::vector<std::string>& agents, const std::set<std::string>& points);

/// Whether a point that is to be pushed is there with all it reaches.
result<bool> can_be_sent(const std::filesystem::path& repository, const std::string& agent, const std::string& point);

} // namespace townkeeper::git
