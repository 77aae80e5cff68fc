#pragma once

#include "core/error.hpp"
#include "http/client.hpp"

namespace townkeeper::http {

/// Sends one request and waits for its answer, for commands that have nothing else to do: the client of
/// `http/client.hpp` on a thread that lives as long as the call. Same errors.
result<client_response> send_and_wait(client_request r, client_options options = {});

} // namespace townkeeper::http
