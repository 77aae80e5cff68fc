#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "core/error.hpp"
#include "git/fetch.hpp"
#include "git/handle.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {

/// What turns a moment of a worktree into a point, beside the moment itself.
struct seal_terms {
  const advertisement& remote; ///< of the connection the point is pushed through
  std::int64_t epoch = 0;
  std::atomic<std::int64_t>& seq; ///< a point that is made takes the next
  std::string git_url, saved_at;
};

/// Makes the commit R (docs/recovery.md) of a snapshot, in the agent's private store. `sees_all` knows the repository's
/// objects and those of the private store. Nothing: the moment is clean, the remote has no point under this ref, and
/// none is wanted for its own sake. Errors: `corrupt` (an object of the snapshot is gone), `disk`.
result<std::optional<town::recovery_point>> seal_point(git_repository* sees_all, const push_item& item,
                                                       const seal_terms& terms);

} // namespace townkeeper::git
