#pragma once

#include <boost/system/result.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

namespace townkeeper {

/// Every way an operation of ours can fail; the words of `to_string` are stable and go out on the wire as `code`.
enum class error_code {
  invalid_argument, ///< the caller's value is not acceptable (hostile name, malformed URL, bad body)
  invalid_config,   ///< a configuration key, environment variable or flag
  not_found,        ///< the named thing does not exist (404)
  branch_missing,   ///< the branch was pushed once and is not on the remote
  recovery_point_missing,
  unauthorized, ///< 401, also after the one refresh
  token_expired,
  forbidden,        ///< 403
  fenced,           ///< 409: a newer container has this town
  conflict,         ///< any other 409
  too_large,        ///< 413, or a limit of ours
  rate_limited,     ///< 429
  unavailable,      ///< connection refused or reset, DNS, 5xx: worth another attempt
  timed_out,        ///< connect, total or stall deadline
  tls_failed,       ///< chain or host name does not verify
  redirect_refused, ///< a redirect to another host
  corrupt,          ///< an object, pack, index or body is not what it says it is
  unsupported,      ///< a repository feature we cannot open (SHA-256, reftable, partial clone, split index)
  disk,             ///< errno from the file system
  dirty,            ///< going on would destroy work that is not saved
  cancelled,        ///< by the one who asked
  internal,         ///< a bug of ours
};

/// The stable snake_case word of a code (`"branch_missing"`).
std::string_view to_string(error_code code) noexcept;

/// True where the same call may succeed later without anybody's help: network trouble, 429, 5xx, deadlines.
bool is_transient(error_code code) noexcept;

/// An error as a value: what kind, which object it concerns (rig, agent, path, route, key) and a text a person can act
/// on. Never holds a secret: whoever builds `message` from foreign text passes it through `redact` first.
struct error {
  error_code code = error_code::internal;
  std::string object;
  std::string message;

  friend bool operator==(const error&, const error&) = default;
};

/// `"<object>: <message> (<code>)"`, for logs and people.
std::string to_string(const error& e);

/// Thrown only by `result<T>::value()` on an error: an internal bug, never control flow.
struct bad_result : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void throw_exception_from_error(const error& e, const boost::source_location& where);

/// A value or an error. `result<void>` is allowed.
template <class T>
using result = boost::system::result<T, error>;

} // namespace townkeeper
