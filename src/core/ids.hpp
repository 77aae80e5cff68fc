#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper {

/// An id of a town, rig or agent as CONTRACT.md defines it: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, without `..`, not
/// ending in
/// `.` or `.lock`. Such an id is safe as one path segment and as one part of a ref name.
bool is_valid_id(std::string_view id) noexcept;

/// A branch name as `git check-ref-format --branch` takes it, that also does not begin with `-`
/// (git-check-ref-format(1)).
bool is_valid_branch(std::string_view branch) noexcept;

/// 32 hexadecimal digits from the operating system's random source.
std::string random_hex(std::size_t bytes);

} // namespace townkeeper
