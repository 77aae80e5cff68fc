#pragma once

#include <git2.h>
#include <sys/stat.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {

/// What an index remembers of a file, so that git can tell at a glance that it is unchanged (gitformat-index). All
/// zero: git must read the file to know.
struct file_stamp {
  std::uint32_t ctime_s = 0, ctime_ns = 0, mtime_s = 0, mtime_ns = 0;
  std::uint32_t device = 0, inode = 0, uid = 0, gid = 0, size = 0;
  friend bool operator==(const file_stamp&, const file_stamp&) = default;
};

/// The stamp of what stat saw; each field is cut to 32 bits, as in the file format.
file_stamp stamp_of(const struct stat& st) noexcept;

/// One entry.
struct index_record {
  std::string_view path;
  git_oid id{};
  std::uint32_t mode = 0;
  file_stamp stamp;
  int stage = 0;
  bool assume_unchanged = false, skip_worktree = false, intent_to_add = false;
};

/// The bytes of an index file of version 2 (3 where an entry has a flag that needs it) with the SHA-1 at its end, and
/// with the TREE extension when `trees` is not empty (then the first `git status` need not read the trees). `records`
/// must be in index order (path, then stage) and, all of stage 0, cover exactly `trees` if there are any. Source:
/// gitformat-index.
result<std::string> serialise_index(std::span<const index_record> records, std::span<const manifest_tree> trees);

} // namespace townkeeper::git
