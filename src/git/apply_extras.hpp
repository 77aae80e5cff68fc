#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/apply_layers.hpp"

namespace townkeeper::git {

/// Writes the files of the operation in progress into an admin directory (a registration, or a clone's `.git`), over
/// what is there. Only names that belong to an operation: files in capitals (never HEAD), `rebase-merge`,
/// `rebase-apply`, `sequencer`, and refs of the worktree's own; any other is refused and named. Returns what was
/// written.
result<std::vector<std::string>> write_operation(object_store& objects, const point_layers& layers, int admin_directory,
                                                 const cancel_flag& cancel, std::vector<std::string>& reported);

/// Gives the untracked repositories inside a worktree their `.git` back; one that has one keeps it, and is named.
result<void> write_nested_repositories(object_store& objects, const point_layers& layers, int worktree,
                                       const cancel_flag& cancel, std::vector<std::string>& reported);

/// "2 paths of the recovery point were not written, because their names are not safe: …"; nothing when there are none.
void report_refused(const std::vector<std::string>& refused, std::vector<std::string>& reported);

} // namespace townkeeper::git
