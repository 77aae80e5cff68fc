#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/secret.hpp"
#include "http/responder.hpp"

namespace townkeeper::http {

/// Decides whether the token of `Authorization: Bearer …` (empty where there is none) opens a route. Called on the I/O
/// thread; must compare in constant time.
using bearer_check = std::function<bool(std::string_view token)>;

/// The check that takes exactly this secret. An empty secret opens nothing.
bearer_check accepts(secret expected);

/// Which handler answers which method and path. Built once, then handed to a server as its handler; reading it is
/// thread-safe.
///
/// A pattern is a path whose segments stand for themselves or, in braces, for any one non-empty segment:
/// `/agents/{agent}/stop`. HEAD is answered by GET's handler (the server leaves the body out), OPTIONS with 204 and
/// `Allow`, another method on a known path with 405 and `Allow`, an unknown path with 404, a guarded route without the
/// right token with 401 before its handler is called.
class router {
public:
  /// A route that is open to everyone who can connect.
  void add(std::string method, std::string_view pattern, handler h);
  /// A route that `check` guards.
  void add(std::string method, std::string_view pattern, bearer_check check, handler h);

  void operator()(request r, responder answer) const;

private:
  struct route {
    std::string method;
    std::vector<std::string> segments;
    bearer_check check; ///< empty: open
    handler handle;
  };
  std::vector<route> routes_;
};

} // namespace townkeeper::http
