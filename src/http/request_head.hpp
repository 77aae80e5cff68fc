#pragma once

#include <boost/beast/http/message.hpp>

#include <string_view>

#include "http/message.hpp"

// Internal to src/http: includes Beast.
namespace townkeeper::http {

/// Why a request with this header cannot be answered; empty where it can. What two readers could understand differently
/// is refused, so that nobody hides a request in another one's body (request smuggling); Beast itself refuses a length
/// beside chunks and two lengths that differ.
std::string_view objection(const boost::beast::http::request_header<>& header);

/// Splits the request target (RFC 9112, 3.2) into path and query: origin form, absolute form, or `*`. False for
/// anything else.
bool split_target(request& r);

} // namespace townkeeper::http
