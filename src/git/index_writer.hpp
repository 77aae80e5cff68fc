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

/// Makes the bytes of an index file of version 2 (3 where an entry has a flag that needs it), entry by entry. Source:
/// gitformat-index.
class index_serialiser {
public:
  /// Room for so many entries whose paths have so many bytes together; more may come.
  index_serialiser(std::size_t entries, std::size_t path_bytes);

  /// Entries come in index order: by path, then stage.
  void add(const index_record& record);

  /// The whole file with the SHA-1 at its end, and with the TREE extension when `trees` is not empty (then the first
  /// `git status` need not read the trees): then all entries must be of stage 0 and cover exactly `trees`. Nothing may
  /// be added after it. Error: `internal`.
  result<std::string> finish(std::span<const manifest_tree> trees);

private:
  std::string bytes_;
  std::size_t entries_ = 0;
  bool extended_ = false;
};

/// All at once.
result<std::string> serialise_index(std::span<const index_record> records, std::span<const manifest_tree> trees);

} // namespace townkeeper::git
