#pragma once

#include <optional>
#include <string>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "town/model.hpp"

namespace townkeeper {

/// The paragraph an agent reads in its context: what was restored, at which commit, what was applied, what could not be
/// and under which ref it lies, what it has to look at. `point`: what was found for it, whatever became of it. Pure.
std::string restore_note(const town::agent_spec& agent, const git::worktree_restored& restored,
                         const std::optional<git::found_recovery>& point);

/// The same for an agent that could not be restored.
std::string failure_note(const town::agent_spec& agent, const error& why);

} // namespace townkeeper
