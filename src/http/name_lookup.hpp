#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace townkeeper::http {

/// One address of a host, numeric: `127.0.0.1`, `::1`.
using numeric_address = std::string;

/// Looks a host name up, and may block for as long as the system's resolver does. `unavailable` where there is no
/// answer.
using lookup_function = std::function<result<std::vector<numeric_address>>(const std::string& host)>;

/// getaddrinfo(3).
result<std::vector<numeric_address>> system_lookup(const std::string& host);

/// Runs `look` on a thread of its own and gives its result to `done` there. getaddrinfo cannot be cancelled and may
/// hang for half a minute: the thread is detached, so that neither a caller's deadline nor the end of the process waits
/// for it. At most `max_lookups` at once; one more fails at once.
void look_up(lookup_function look, std::string host,
             const std::function<void(result<std::vector<numeric_address>>)>& done);

constexpr int max_lookups = 16;

} // namespace townkeeper::http
