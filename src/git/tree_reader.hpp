#pragma once

#include <git2.h>

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"

namespace townkeeper::git {

/// The modes an index knows.
inline constexpr std::uint32_t mode_file = 0100644;
inline constexpr std::uint32_t mode_executable = 0100755;
inline constexpr std::uint32_t mode_symlink = 0120000;
inline constexpr std::uint32_t mode_submodule = 0160000;

/// More files and directories than this in one commit are refused (`too_large`): a tree of trees can name billions in a
/// few kilobytes.
inline constexpr std::size_t max_tree_paths = 2'000'000;

/// Borrows the text of its path from the manifest that was read (or from whoever made the entry).
struct manifest_entry {
  std::string_view path; ///< relative to the worktree, checked by path_rules; a NUL follows it
  git_oid id{};
  std::uint32_t mode = 0; ///< one of the four above
  bool as_it_is = false;  ///< the blob holds the file's very bytes: no conversion
};

/// The part of its path after the last slash.
inline const char* leaf_of(const manifest_entry& entry) noexcept {
  const auto slash = entry.path.rfind('/');
  return slash == std::string_view::npos ? entry.path.data() : entry.path.data() + slash + 1;
}

/// One directory of the tree, as the index's TREE extension lists it.
struct manifest_tree {
  std::string name; ///< last part of the path; empty for the root
  git_oid id{};
  std::size_t entries = 0;  ///< index entries below it
  std::size_t subtrees = 0; ///< directories directly below it that hold entries
  bool exact = true;        ///< writing the index back as a tree would give this very `id`
};

/// All of one commit's tree: every path in index order, and every directory, parents first.
struct manifest {
  std::vector<manifest_entry> entries;
  std::vector<manifest_tree> trees;
  bool has_attributes_file = false; ///< a `.gitattributes` stands somewhere in it
  /// The text of the paths, in a few blocks: a string each would cost as much as writing every thirtieth file.
  std::unique_ptr<std::pmr::monotonic_buffer_resource> texts;
};

/// Reads the tree `root` whole. Errors: `invalid_argument` for a path that must not reach the disk (nothing was
/// written), `corrupt` for a tree that is missing, malformed, unsorted or names a path twice, `too_large`, `cancelled`.
/// `refused`: a path that must not reach the disk fails nothing; it is left out with all below it and named there.
result<manifest> read_manifest(object_store& objects, const git_oid& root, const cancel_flag& cancel,
                               std::vector<std::string>* refused = nullptr);

/// The error every job ends with when its flag is set.
error cancelled_error(std::string object);

inline bool is_cancelled(const cancel_flag& cancel) noexcept {
  return cancel && cancel->load(std::memory_order_relaxed);
}

} // namespace townkeeper::git
