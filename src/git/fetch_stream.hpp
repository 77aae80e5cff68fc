#pragma once

#include <string>

#include "core/error.hpp"

namespace townkeeper::git {

/// Makes libgit2 use our sockets for http and https instead of its own. Ours obey the `transfer_watch` of their thread:
/// cancelled within 50 ms also while no byte flows, deadlines per job instead of per process, a stall rule in bytes a
/// second, one peer only (libgit2 would follow a redirect to another port), no link-local address whatever a name
/// resolves to, TLS 1.2 and 1.3 by OpenSSL with chain and host name verified. Once per process, before any transfer.
result<void> register_streams();

/// The CA bundle of transfers whose job names none (empty: the system's). Reads it now, and every other one again when
/// next needed. Errors: `tls_failed`, the file cannot be read or holds no certificate. Thread-safe.
result<void> use_certificates(const std::string& ca_file);

} // namespace townkeeper::git
