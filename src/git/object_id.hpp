#pragma once

#include <git2.h>

#include <set>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper::git {

/// The 40 hexadecimal digits of an object's name.
std::string to_hex(const git_oid& id);

/// The name 40 hexadecimal digits stand for; `invalid_argument` otherwise.
result<git_oid> parse_oid(std::string_view hex);

inline bool same(const git_oid& a, const git_oid& b) noexcept {
  return git_oid_equal(&a, &b) != 0;
}

struct oid_order {
  bool operator()(const git_oid& a, const git_oid& b) const noexcept { return git_oid_cmp(&a, &b) < 0; }
};
using oid_set = std::set<git_oid, oid_order>;

} // namespace townkeeper::git
