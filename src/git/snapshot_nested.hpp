#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/snapshot_contents.hpp"
#include "git/tree_builder.hpp"

namespace townkeeper::git {

/// Brings the `.git` (a directory or a file) of a repository inside the worktree into the store, as changes named
/// `nested/<path>/dot-git…`. Lock files, sockets and links are not taken. Errors: `disk`, `cancelled`.
result<std::vector<tree_change>> read_nested_repository(int root, const std::string& path, content_reader& contents,
                                                        std::vector<town::left_out_file>& left_out,
                                                        const cancel_flag& cancel);

} // namespace townkeeper::git
