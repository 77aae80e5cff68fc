#include "cli/exit_code.hpp"

namespace townkeeper::cli {

int exit_code_of(const error& e) noexcept {
  switch (e.code) {
  case error_code::invalid_argument:
  case error_code::too_large:
    return usage;
  case error_code::invalid_config:
    return configuration;
  case error_code::unauthorized:
  case error_code::token_expired:
  case error_code::forbidden:
    return credentials;
  case error_code::fenced:
  case error_code::dirty:
    return unsaved;
  case error_code::disk:
    return disk;
  case error_code::internal:
    return bug;
  default:
    return unavailable;
  }
}

int exit_code_of_configuration(const error& e) noexcept {
  return e.object.starts_with("--") ? usage : exit_code_of(e);
}

} // namespace townkeeper::cli
