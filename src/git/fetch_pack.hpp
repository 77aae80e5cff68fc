#pragma once

#include <cstdint>

#include "core/error.hpp"
#include "git/fetch_watch.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {

struct received_pack {
  std::int64_t bytes = 0;
  std::int64_t objects = 0;
};

/// Puts a receiver of packs in front of libgit2's own in `repo`'s object database, for the life of that handle. Ours
/// - writes each byte with pwrite(2) before libgit2 writes it through a mapping, so that a full disk is an error and
/// not a SIGBUS;
/// - indexes in a directory of its own, then publishes pack before index (libgit2 does it the other way round), so that
/// a kill
///   at any instant leaves no index without its pack;
/// - takes a place of `fetch_slots::resolving()` when the last byte has come, and gives it back when the deltas are
/// resolved. `may_be_thin`: the repository has objects already, so that a pack may lean on them. All references must
/// outlive `repo`.
result<void> receive_packs(git_repository* repo, bool may_be_thin, transfer_watch& watch,
                           const transfer_observer& observe, received_pack& total);

} // namespace townkeeper::git
