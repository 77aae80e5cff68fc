#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "core/error.hpp"
#include "core/secret.hpp"

namespace townkeeper::town {

/// What a token allows: a container's own routes, or an operator's.
enum class token_scope { container, admin };

std::string_view to_string(token_scope s) noexcept;

/// A token of CONTRACT.md: a JWT (RFC 7519) signed with HS256 (RFC 7518, 3.2) under the bytes of `key`, with the claims
/// `{townId, scope, iat, exp}` in whole seconds. `invalid_argument` for an empty key, a town id that is none, or a
/// `ttl` of less than a second.
result<secret> mint_token(const secret& key, std::string_view town_id, token_scope scope, std::chrono::seconds ttl,
                          std::chrono::system_clock::time_point now);

/// When `token` expires, by its own word: the signature is not checked, so that this is good for planning a refresh and
/// for nothing else. Nothing where it is no JWT or has no numeric `exp`.
std::optional<std::chrono::system_clock::time_point> token_expiry(std::string_view token);

} // namespace townkeeper::town
