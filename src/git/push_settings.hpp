#pragma once

#include <git2.h>

#include "core/error.hpp"

namespace townkeeper::git {

/// Makes this handle build packs quickly, whatever the repository's configuration says of packing: no search for
/// deltas. It took 30 s for 100 MiB of noise, and half of the time for small files, while the server waits; what is new
/// in a point has little in common, and what the remote has is never a base in libgit2's packs. Only this handle's
/// configuration in memory changes, never a file. Errors: as `last_error`.
result<void> pack_quickly(git_repository* repository);

} // namespace townkeeper::git
