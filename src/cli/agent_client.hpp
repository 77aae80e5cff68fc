#pragma once

#include <filesystem>
#include <string>

#include "core/error.hpp"

namespace townkeeper::cli {

/// The variable that tells an agent's commands where to reach the daemon.
inline constexpr auto socket_variable = "TOWNKEEPER_SOCKET";

/// The socket of the agent that runs this command; `unavailable` where the variable is not set.
result<std::filesystem::path> agent_socket();

/// One call over the socket; the `data` of the answer, byte for byte. `method` is GET or POST. Errors are the town's
/// (`town::classify`), and `unavailable` where no daemon listens.
result<std::string> call_daemon(const std::filesystem::path& socket, std::string method, const std::string& target,
                                std::string body = {});

} // namespace townkeeper::cli
