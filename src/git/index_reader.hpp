#pragma once

#include <git2.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/index_writer.hpp"

namespace townkeeper::git {

/// One entry of an index file.
struct index_entry {
  std::string_view path;
  git_oid id{};
  std::uint32_t mode = 0;
  file_stamp stamp;
  int stage = 0;
  bool assume_unchanged = false, skip_worktree = false, intent_to_add = false;
};

/// One directory of the TREE extension: the tree that its entries would be written as, where the index still knows.
struct cached_tree {
  std::string_view name;
  std::optional<git_oid> id;
  std::size_t entries = 0;
  std::vector<cached_tree> children;
};

/// A moment of an index file, parsed from its bytes in one pass, so that entries and raw bytes are of the same moment.
/// Immutable. Source: gitformat-index(5), versions 2 to 4.
class index_image {
public:
  /// An index that is not there: no entries.
  index_image() = default;
  index_image(index_image&&) noexcept = default;
  index_image& operator=(index_image&&) noexcept = default;

  /// `path` is what errors name. Errors: `unsupported` naming the feature (split index, sparse index), `corrupt`.
  static result<index_image> parse(std::string bytes, const std::string& path);

  const std::string& bytes() const noexcept { return *bytes_; }
  const std::vector<index_entry>& entries() const noexcept { return entries_; } ///< in index order, checked
  const cached_tree* trees() const noexcept { return trees_ ? &*trees_ : nullptr; }

private:
  friend class index_parser;
  std::unique_ptr<std::string> bytes_ = std::make_unique<std::string>(); ///< where it lies, its views point
  std::deque<std::string> unpacked_paths_;                               ///< of version 4
  std::vector<index_entry> entries_;
  std::optional<cached_tree> trees_;
};

} // namespace townkeeper::git
