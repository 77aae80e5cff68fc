#include "core/error.hpp"

#include <fmt/core.h>

namespace townkeeper {

std::string_view to_string(error_code code) noexcept {
  switch (code) {
  case error_code::invalid_argument:
    return "invalid_argument";
  case error_code::invalid_config:
    return "invalid_config";
  case error_code::not_found:
    return "not_found";
  case error_code::branch_missing:
    return "branch_missing";
  case error_code::recovery_point_missing:
    return "recovery_point_missing";
  case error_code::unauthorized:
    return "unauthorized";
  case error_code::token_expired:
    return "token_expired";
  case error_code::forbidden:
    return "forbidden";
  case error_code::fenced:
    return "fenced";
  case error_code::conflict:
    return "conflict";
  case error_code::too_large:
    return "too_large";
  case error_code::rate_limited:
    return "rate_limited";
  case error_code::unavailable:
    return "unavailable";
  case error_code::timed_out:
    return "timed_out";
  case error_code::tls_failed:
    return "tls_failed";
  case error_code::redirect_refused:
    return "redirect_refused";
  case error_code::corrupt:
    return "corrupt";
  case error_code::unsupported:
    return "unsupported";
  case error_code::disk:
    return "disk";
  case error_code::dirty:
    return "dirty";
  case error_code::cancelled:
    return "cancelled";
  case error_code::internal:
    return "internal";
  }
  return "internal";
}

bool is_transient(error_code code) noexcept {
  return code == error_code::rate_limited || code == error_code::unavailable || code == error_code::timed_out;
}

std::string to_string(const error& e) {
  return e.object.empty() ? fmt::format("{} ({})", e.message, to_string(e.code))
                          : fmt::format("{}: {} ({})", e.object, e.message, to_string(e.code));
}

void throw_exception_from_error(const error& e, const boost::source_location& where) {
  throw bad_result(fmt::format("{}:{}: {}", where.file_name(), where.line(), to_string(e)));
}

} // namespace townkeeper
