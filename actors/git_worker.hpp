#pragma once

#include <caf/actor_addr.hpp>

#include <cstdint>

#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"

namespace townkeeper {

/// One worker thread: runs the job and answers the executor with job_finished under the same id.
using git_worker_actor =
    caf::typed_actor<caf::reacts_to<std::uint64_t, repository_request>, caf::reacts_to<std::uint64_t, worktree_request>,
                     caf::reacts_to<std::uint64_t, snapshot_request>, caf::reacts_to<std::uint64_t, push_request>,
                     caf::reacts_to<std::uint64_t, delete_request>, caf::reacts_to<std::uint64_t, prune_request>>;

/// The real one: one job at a time, in the git layer, on its own thread (spawn it detached and linked to the executor).
/// Progress of restores goes straight to health.
git_worker_actor::behavior_type git_worker(git_worker_actor::pointer self, const git_executor_actor& executor,
                                           const caf::actor_addr& health_address);

} // namespace townkeeper
