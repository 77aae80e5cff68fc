#pragma once

#include <git2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/object_id.hpp"
#include "git/private_objects.hpp"

/// Keeps a recovery point whole whatever the agent's `git gc` removes: what a point reaches and no remote branch has
/// is brought into the agent's private store while it is still there.
namespace townkeeper::git {

/// Names that become more as long as an agent commits and does not push: 20 bytes each, in one block.
class commit_list {
public:
  bool contains(const git_oid& id) const { return std::binary_search(sorted_.begin(), sorted_.end(), id, oid_order{}); }
  std::size_t size() const noexcept { return sorted_.size(); }
  void add(const oid_set& more);
  template <class IsKept>
  void keep_only(IsKept is_kept) {
    std::erase_if(sorted_, [&](const git_oid& id) { return !is_kept(id); });
  }

private:
  std::vector<git_oid> sorted_;
};

/// What was closed before, in this process: an unchanged history costs nothing, a new commit only itself.
struct closure_memory {
  commit_list whole;              ///< commits that are in the store with all that none of their parents has
  oid_set tips, boundary;         ///< of the last closing; `boundary`: the remote branches
  std::set<std::string> lost;     ///< of the last closing: those whose commit is not whole
  std::set<std::string> reported; ///< what the last snapshot went without

  /// After objects were removed from the store: all others may be incomplete.
  template <class IsInStore>
  void keep_only(IsInStore is_in_store) {
    whole.keep_only(is_in_store);
  }
  /// What was lost is looked for by the next closing too.
  void look_again() {
    tips.clear();
    lost.clear();
  }
};

struct closing {
  git_repository* repository; ///< reads the private store too (`open_with_private_objects`)
  private_store& store;
  closure_memory& memory;
  std::int64_t limit_bytes; ///< brought at one time; what is beyond stays in the agent's repository alone
  cancel_flag cancel;
};

/// Brings what `ids` (commits, tags, and what a tag may name; hex) reach into the store, up to the branches of
/// `refs/remotes/origin`: each commit's objects that none of its parents has. A loose file of the repository is linked,
/// other objects are written, many at a time as one pack. Returns those of `ids` of which something is nowhere any
/// more. Errors: `disk`, `cancelled`, `corrupt`.
result<std::set<std::string>> close_history(const closing& with, const std::set<std::string>& ids);

} // namespace townkeeper::git
