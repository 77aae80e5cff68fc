#pragma once

#include <git2.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/error.hpp"
#include "git/clean_conversion.hpp"
#include "git/directory_stack.hpp"
#include "git/private_objects.hpp"
#include "git/recovery.hpp"
#include "git/snapshot_memory.hpp"
#include "git/snapshot_walk.hpp"
#include "git/tree_builder.hpp"

namespace townkeeper::git {

/// What became of reading one path.
struct content_outcome {
  enum class kind { read, vanished, left_out } what = kind::vanished;
  tree_item item;             ///< what git would store
  std::optional<git_oid> raw; ///< the exact bytes, where a checkout of `item` would not give them back
  bool has_other_size =
      false;          ///< the content of its index entry, which git yet calls modified by its size (raw is set)
  std::string reason; ///< why it was left out
};

/// Brings contents of the worktree into the private store. A file whose stat was remembered is not read; one that
/// changes while it is read is read again, and left out when it does not come to rest. Counts against the limits.
/// Belongs to one thread.
class content_reader {
public:
  struct parts {
    int root = -1; ///< the worktree, open
    git_odb* objects = nullptr;
    private_store* store = nullptr;
    clean_conversion* conversion = nullptr;
    snapshot_memory* memory = nullptr;
    const recovery_limits* limits = nullptr;
    bool trusts_mode = true; ///< `core.fileMode`
    const std::function<void(snapshot_step)>* observe = nullptr;
  };
  explicit content_reader(const parts& p)
      : p_(p)
      , directories_(p.root) {}

  /// A changed or untracked path. What turns out to be as its index entry says is not stored. Errors: `disk`.
  result<content_outcome> read(const found_path& found);

  /// A file that is as the index says by its stamp: only whether a checkout of the entry would give its bytes. Does
  /// nothing while no conversion is active.
  result<content_outcome> check_unchanged(const found_path& found);

  /// The bytes of a file as they are, without any conversion.
  result<content_outcome> read_exactly(const std::string& path, const seen_stat& stat);

  /// What was read or confirmed, for the next snapshot.
  std::unordered_map<std::string, remembered_file> take_memory() { return std::move(next_); }

private:
  struct file_moment {
    std::string bytes;
    seen_stat stat;
    bool at_rest = false; ///< the last change is longer ago than a clock tick
  };
  struct reading {
    content_outcome::kind what = content_outcome::kind::vanished;
    file_moment moment;
    std::string reason;
  };
  reading read_moment(const std::string& path);
  bool read_once(int directory, const char* leaf, reading& into);
  bool read_link(int directory, const char* leaf, reading& into);
  std::string too_large(std::int64_t size) const;
  const remembered_file* recalled(const found_path& found) const;
  result<content_outcome> convert(const found_path& found, const file_moment& moment, bool is_unchanged);
  std::string index_blob(const index_entry* entry) const;

  parts p_;
  directory_stack directories_;
  std::int64_t stored_bytes_ = 0;
  std::unordered_map<std::string, remembered_file> next_;
};

} // namespace townkeeper::git
