#pragma once

#include <istream>
#include <string>
#include <string_view>

namespace townkeeper::cli {

/// What git asks a credential helper about (git-credential(1), "INPUT/OUTPUT FORMAT").
struct credential_request {
  std::string protocol; ///< "https"
  std::string host;     ///< "git.example" or "git.example:8443"
  std::string path;     ///< mostly empty: git sends it with credential.useHttpPath alone
};

/// Reads `key=value` lines up to an empty one; keys we do not know are ignored.
credential_request read_credential_request(std::istream& in);

/// True where a login of the rig with this URL may be told for that request: the same scheme, host and port, and the
/// same path where the request names one. Only https and http have logins.
bool is_of_remote(const credential_request& request, std::string_view git_url);

} // namespace townkeeper::cli
