#pragma once

#include <string>

#include "git/handle.hpp"

namespace townkeeper::git {

/// True where the point's commit R is there with all it reaches; commits that a remote branch has (`refs/remotes`) are
/// taken to be whole.
bool point_is_whole(git_repository* repository, const std::string& commit);

} // namespace townkeeper::git
