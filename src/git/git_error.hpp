#pragma once

#include <string>

#include "core/error.hpp"

namespace townkeeper::git {

/// The one place where a libgit2 return code and its thread-local message become an error of ours, redacted.
/// `object` names what it concerns (rig, path, ref). Must be called on the thread that got `code`, before any other
/// libgit2 call.
error last_error(int code, std::string object);

/// The same where the object must be there: one that is missing makes the store `corrupt`, it is not `not_found`.
error object_error(int code, std::string object);

} // namespace townkeeper::git
