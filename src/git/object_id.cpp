#include "git/object_id.hpp"

namespace townkeeper::git {

std::string to_hex(const git_oid& id) {
  std::string hex(GIT_OID_SHA1_HEXSIZE, '0');
  git_oid_fmt(hex.data(), &id);
  return hex;
}

result<git_oid> parse_oid(std::string_view hex) {
  git_oid id{};
  if (hex.size() != GIT_OID_SHA1_HEXSIZE || git_oid_fromstrn(&id, hex.data(), hex.size()) != 0)
    return error{error_code::invalid_argument, std::string(hex),
                 "is not the name of a git object (40 hexadecimal digits)"};
  return id;
}

} // namespace townkeeper::git
