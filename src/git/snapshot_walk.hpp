#pragma once

#include <git2.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/include_patterns.hpp"
#include "git/snapshot_index.hpp"

namespace townkeeper::git {

/// What stat says of a path; equal ones mean an unchanged file, but for the clock tick in which it was taken.
struct seen_stat {
  std::uint64_t device = 0, inode = 0;
  std::uint32_t mode = 0; ///< with the file type
  std::int64_t size = 0, modified_ns = 0, changed_ns = 0;
  friend bool operator==(const seen_stat&, const seen_stat&) = default;

  bool is_file() const noexcept { return S_ISREG(mode); }
  bool is_link() const noexcept { return S_ISLNK(mode); }
};
seen_stat seen(const struct stat& st) noexcept;

/// The mode an index entry of this file or link would have. `entry`: what the index has of the path (nothing:
/// untracked); `trusts_mode`: `core.fileMode`, without which the entry of a tracked file says whether it can be
/// executed.
std::uint32_t index_mode(const seen_stat& stat, const index_entry* entry, bool trusts_mode) noexcept;

/// `core.fileMode` of a repository opened at the worktree; true where nothing is said.
bool trusts_file_mode(git_repository* repository) noexcept;

struct found_path {
  std::string path;
  seen_stat stat;
  const index_entry* entry = nullptr; ///< of the index (its first stage); nothing: untracked
};

/// What one pass over a worktree saw. Ignored paths are not in it, nor is what looks as the index has it.
struct walk_result {
  std::vector<found_path> unchanged;          ///< tracked, and as its index entry says by a stamp that can be trusted
  std::vector<found_path> changed;            ///< tracked files and links that must be read to know
  std::vector<const index_entry*> gone;       ///< first stage of tracked paths that are not there, or something else is
  std::vector<const index_entry*> submodules; ///< whose directory is there
  std::vector<found_path> untracked;          ///< files and links, by path
  std::vector<std::string> nested;            ///< directories that hold a `.git`, by path; never the root
  std::vector<const index_entry*> unreadable; ///< tracked, in a directory that cannot be read
  std::vector<town::left_out_file> left_out;
};

/// Walks the worktree once below open directories, side by side with the index. Directories the rules ignore are
/// entered only for tracked paths in them or for `include`. `rules` is opened at the worktree. Errors: `disk` (the root
/// itself), `cancelled`.
result<walk_result> walk_worktree(int root, const index_moment& index, git_repository* rules,
                                  const include_patterns& include, const cancel_flag& cancel);

} // namespace townkeeper::git
