#pragma once

#include <vector>

#include "git/tree_reader.hpp"

namespace townkeeper::git {

/// What a checkout changes between two trees. The pointers live as long as the manifests.
struct manifest_difference {
  struct written_path {
    const manifest_entry* entry = nullptr;    ///< of the new tree
    const manifest_entry* replaced = nullptr; ///< of the old one, if it has the path
  };
  std::vector<const manifest_entry*> removed; ///< of the old tree; also what a submodule replaces or is replaced by
  std::vector<written_path> written;
};

manifest_difference difference(const manifest& from, const manifest& to);

} // namespace townkeeper::git
