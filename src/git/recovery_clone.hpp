#pragma once

#include <git2.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/apply_layers.hpp"
#include "git/handle.hpp"
#include "git/object_cache.hpp"
#include "git/point_reading.hpp"
#include "git/recovery_tools.hpp"

namespace townkeeper::git {

/// A clone, opened twice: as it is, and without its worktree (so that the attribute files which happen to lie in it say
/// nothing about a point's files). Belongs to one thread.
struct open_clone {
  repository_handle repository, bare;
};
result<open_clone> open(const clone_location& clone);

/// A point whose objects are in the clone.
struct located_point {
  point_parts parts;
  point_layers layers;
  found_recovery found;
};

/// A clone with one of its points.
struct opened_point {
  open_clone clone;
  object_store objects; ///< of `clone.bare`
  located_point located;
};

/// Finds a point by what a person calls it, and fetches it when it is not here. Errors: as recovery_tools.hpp says.
result<opened_point> open_point(const clone_location& clone, const std::string& point);

} // namespace townkeeper::git
