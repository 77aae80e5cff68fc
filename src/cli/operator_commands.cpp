#include <chrono>
#include <cstdlib>
#include <iostream>

#include "cli/commands.hpp"
#include "cli/environment.hpp"
#include "cli/exit_code.hpp"
#include "cli/version.hpp"
#include "town/token.hpp"

namespace townkeeper::cli {

int fail(const error& why, int code) {
  std::cerr << "townkeeper: " << redact(to_string(why)) << '\n';
  return code;
}

int fail(const error& why) {
  return fail(why, exit_code_of(why));
}

int show_configuration(const config_command& what) {
  const auto loaded = load_configuration(what.configuration, read_environment());
  if (!loaded) return fail(loaded.error(), exit_code_of_configuration(loaded.error()));
  if (!what.check) {
    std::cout << config::describe(*loaded) << std::flush;
    return done;
  }
  const auto runnable = config::check_runnable(*loaded);
  return runnable ? int{done} : fail(runnable.error());
}

int mint(const mint_command& what) {
  const auto* key = std::getenv("TOWN_SECRET");
  if (key == nullptr || *key == '\0')
    return fail({error_code::invalid_config, "TOWN_SECRET",
                 "is not set: export the secret that the town checks its tokens with"});
  const auto token =
      town::mint_token(secret(key), what.town_id, what.scope,
                       std::chrono::duration_cast<std::chrono::seconds>(what.ttl), std::chrono::system_clock::now());
  if (!token) return fail(token.error());
  std::cout << token->reveal() << '\n' << std::flush;
  return done;
}

int show_version() {
  std::cout << "townkeeper " << version << '\n' << std::flush;
  return done;
}

} // namespace townkeeper::cli
