#pragma once

#include <git2.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/index_reader.hpp"
#include "git/private_objects.hpp"
#include "git/recovery.hpp"
#include "git/tree_builder.hpp"

namespace townkeeper::git {

/// The index of a registration, and when it was written: a file that changed since then is not trusted by its stamp.
struct index_moment {
  index_image image;
  std::uint32_t written_s = 0, written_ns = 0; ///< all zero: there is no index
  std::uint64_t inode = 0;
  std::int64_t size = 0, changed_ns = 0;
  bool same_file(const index_moment& other) const noexcept {
    return inode == other.inode && size == other.size && changed_ns == other.changed_ns;
  }
};

/// Reads `index` below the registration's directory. Errors: `unsupported`, `corrupt`, `disk`.
result<index_moment> read_index_moment(int registration, const std::string& path);

/// The same without its entries: enough to know whether it is the same file.
result<index_moment> read_index_stamp(int registration, const std::string& path);

/// What the index says beyond HEAD's tree.
struct staged_changes {
  std::vector<tree_change> changes; ///< HEAD's tree with these made is the tree of the index commit
  std::vector<tree_change> stages;  ///< `stages/<n>/<path>`
  std::int64_t staged = 0;          ///< paths that differ from HEAD, unmerged and intent-to-add ones not counted
  std::int64_t conflicts = 0;       ///< unmerged paths
  bool has_flags = false;           ///< assume-unchanged, skip-worktree or intent-to-add somewhere
  std::vector<town::left_out_file> left_out;
};

/// Compares with `head_tree` (nothing: HEAD is unborn), below directories only whose cached tree differs, and brings
/// the staged contents into `store`, as the agent's next `git gc` may remove them once they are staged no more. What is
/// larger than `limits.file_bytes`, or gone, is left out. Errors: `corrupt`, `disk`, `cancelled`.
result<staged_changes> compare_index_with_head(const index_image& index, git_odb* objects,
                                               const std::optional<git_oid>& head_tree, private_store& store,
                                               const recovery_limits& limits, const cancel_flag& cancel);

struct entry_range {
  std::size_t begin = 0, end = 0;
};

/// Where the entries end whose path begins with `prefix` (which ends in a slash), of those from `begin` to `end`, the
/// first of which is one of them.
std::size_t end_of_directory(const std::vector<index_entry>& entries, std::size_t begin, std::size_t end,
                             std::string_view prefix);

/// What lies directly below a directory of the index.
struct index_child {
  std::string_view name;
  std::size_t begin = 0, end = 0; ///< one path's stages, or a directory's entries
  bool is_directory = false;
};

/// In index order, of a directory whose entries are `range` and whose path, with its slash, is `prefix` bytes long.
std::vector<index_child> children_of(const std::vector<index_entry>& entries, entry_range range, std::size_t prefix);

} // namespace townkeeper::git
