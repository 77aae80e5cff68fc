#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "cli/workspace.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "http/client.hpp"

namespace townkeeper::cli {

/// The daemon of a workspace; `unavailable` where none has written where it listens.
result<control_address> find_daemon(const std::filesystem::path& workspace);

/// One request to the daemon's control port, on loopback. `token`: the control token, empty for what needs none. Any
/// status is an answer. Errors: `unavailable`, `timed_out`, with the daemon's pid.
result<http::client_response> ask_daemon(const control_address& daemon, std::string method, const std::string& path,
                                         const secret& token, std::string body, std::chrono::milliseconds limit);

} // namespace townkeeper::cli
