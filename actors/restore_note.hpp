#pragma once

#include <string>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "town/model.hpp"

namespace townkeeper {

/// The paragraph an agent reads in its context: what was restored, at which commit, what it has to look at. Pure.
std::string restore_note(const town::agent_spec& agent, const git::worktree_restored& restored);

/// The same for an agent that could not be restored.
std::string failure_note(const town::agent_spec& agent, const error& why);

} // namespace townkeeper
