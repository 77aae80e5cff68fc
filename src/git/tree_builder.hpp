#pragma once

#include <git2.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/private_objects.hpp"

namespace townkeeper::git {

inline constexpr std::uint32_t mode_directory = 0040000;

struct tree_item {
  git_oid id{};
  std::uint32_t mode = 0;
};

/// What a path becomes: a file, link, submodule or (mode_directory) a whole tree; nothing: it goes, with all below it.
struct tree_change {
  std::string path;
  std::optional<tree_item> becomes;
};

/// One entry of a tree object; `name` points into the object that was parsed.
struct tree_line {
  std::string_view name;
  tree_item item;
};

/// The entries of a tree's bytes, in its own order. Errors: `corrupt`.
result<std::vector<tree_line>> parse_tree(std::string_view bytes, const git_oid& id);

/// The tree's bytes. Errors: `corrupt` (missing, unreadable, no tree).
result<odb_object_handle> read_tree_object(git_odb* objects, const git_oid& id);

/// The mode as an index has it: old trees hold `100664` and the like.
std::uint32_t canonical_mode(std::uint32_t mode) noexcept;

/// Brings a tree of `objects`, and all in it that the tree `known` does not have at the same path, into the store.
/// False: something of it is missing. Errors: `corrupt`, `disk`.
result<bool> bring_tree(git_odb* objects, private_store& store, const git_oid& tree,
                        const std::optional<git_oid>& known);

/// Writes trees that differ from others in a few paths: what is below an unchanged directory is neither read nor
/// written. Belongs to one thread.
class tree_builder {
public:
  /// `objects` reads base trees; new ones go to `store`. Both must outlive it.
  tree_builder(git_odb* objects, private_store& store)
      : objects_(objects)
      , store_(store) {}

  /// `base` (nothing: an empty tree) with the changes made; they may come in any order, each path once. A directory in
  /// which nothing is left is left out. Errors: `corrupt`, `disk`.
  result<git_oid> apply(const std::optional<git_oid>& base, std::vector<tree_change> changes);

private:
  struct range {
    const tree_change *begin, *end;
  };
  result<std::optional<git_oid>> apply_below(const std::optional<git_oid>& base, range changes, std::size_t prefix);

  git_odb* objects_;
  private_store& store_;
};

} // namespace townkeeper::git
