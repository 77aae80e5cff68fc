#pragma once

#include <git2.h>

#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/handle.hpp"

/// The tree of a recovery point's commit R: writing it, and what a ref's object consists of.
namespace townkeeper::git {

/// What a ref names, taken apart.
struct named_object {
  std::vector<git_oid> tags;     ///< annotated tags, outermost first
  std::optional<git_oid> commit; ///< at the end of them
  std::optional<git_oid> other;  ///< or a tree or file
};

/// Nothing where an object on the way cannot be read.
std::optional<named_object> peel(git_repository* repository, const std::string& id);

struct point_tree_content {
  std::string extras; ///< a tree to begin with; hex
  std::string meta;   ///< the text of meta.json
  std::vector<git_oid> tags, others;
};

/// Writes the tree: the extras, `meta.json`, `tags/<id>` with the bytes of each tag object, and `tagged/<id>` for each
/// tree or file a tag names. Errors: `corrupt`, `disk`.
result<git_oid> write_point_tree(git_repository* store, const point_tree_content& content);

result<git_oid> write_empty_tree(git_repository* store);

/// Writes the tag objects of `tags/` into the repository's own object database. A tag whose bytes are not those of its
/// name is `corrupt`.
result<void> recreate_tags(git_repository* repository, const git_oid& point_tree);

} // namespace townkeeper::git
