#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/fetch.hpp"
#include "git/handle.hpp"
#include "git/point_reading.hpp"

/// Local branches no agent owns, tags and the stash list: they belong to the rig, and come back once, into a repository
/// that was made anew. A note in it (`townkeeper/rig-refs-wanted`) says that they have not come back yet, so that a
/// crash in between loses none.
namespace townkeeper::git {

result<void> want_rig_refs(const std::filesystem::path& repository);
bool rig_refs_are_wanted(const std::filesystem::path& repository);
void rig_refs_have_come(const std::filesystem::path& repository);

/// What of them must still be fetched: refs the remote advertises that name what is missing here, or may lead to it.
std::vector<std::string> refs_to_fetch_for(git_repository* repository, const point_refs& refs,
                                           const advertisement& remote);

/// Sets them all as the point has them; the message of a stash entry is its commit's subject. What cannot be set (its
/// object is not here, another name is in its way, an agent needs the name) is passed over with a line in `healed`.
/// `is_new`: the repository was made in this call, and what stands in it is nobody's; otherwise a ref that is there
/// already stays. Returns how many came back: each branch, tag and stash entry counts one.
result<std::int64_t> set_rig_refs(const std::filesystem::path& repository, const point_parts& point,
                                  const std::set<std::string>& agent_branches, bool is_new,
                                  std::vector<std::string>& healed);

} // namespace townkeeper::git
