#pragma once

#include "cli/command_line.hpp"
#include "cli/environment.hpp"
#include "core/secret.hpp"
#include "town/answer.hpp"
#include "town/routes.hpp"

namespace townkeeper::cli {

/// The town as an operator's command asks it: with the token of GASTOWN_ADMIN_TOKEN, else GASTOWN_CONTAINER_TOKEN, and
/// no epoch.
class operator_town {
public:
  /// Errors: `invalid_config` (no URL, no town id), `unauthorized` (no token).
  static result<operator_town> from(const configuration_flags& flags, const environment& env);

  /// Blocks until the town has answered, once. Errors: as `town::classify`.
  result<town::answer_data> call(const town::call& what) const;

  const std::string& id() const noexcept { return settings_.id; }

private:
  operator_town(config::town_settings settings, secret token);
  config::town_settings settings_;
  secret token_;
};

} // namespace townkeeper::cli
