#include <iostream>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/run.hpp"

namespace {

using namespace townkeeper::cli;

struct perform {
  int operator()(const run_command& c) const { return run(c); }
  int operator()(const config_command& c) const { return show_configuration(c); }
  int operator()(const status_command& c) const { return show_status(c); }
  int operator()(const mint_command& c) const { return mint(c); }
  int operator()(const version_command&) const { return show_version(); }
  int operator()(const put_checkpoint& c) const { return put(c); }
  int operator()(const get_checkpoint& c) const { return get(c); }
  int operator()(const prime_command&) const { return prime(); }
  int operator()(const acknowledge_mail& c) const { return acknowledge(c); }
  int operator()(const done_command& c) const { return finish(c); }
  int operator()(const say_status& c) const { return say(c); }
  int operator()(const credential_command& c) const { return answer_git(c); }
  int operator()(const snapshot_command& c) const { return save_now(c); }
  int operator()(const drain_command& c) const { return drain(c); }
  int operator()(const list_points& c) const { return list(c); }
  int operator()(const show_point& c) const { return show(c); }
  int operator()(const apply_point& c) const { return apply(c); }
  int operator()(const export_point& c) const { return write_out(c); }
  int operator()(const drop_kept& c) const { return drop(c); }
  int operator()(const drop_recovery& c) const { return drop(c); }
  int operator()(const drop_finished& c) const { return drop(c); }
};

} // namespace

int main(int argc, char** argv) {
  try {
    const auto read = parse_command_line({argv, argv + argc});
    if (const auto* exit = std::get_if<early_exit>(&read)) {
      std::cout << exit->out << std::flush;
      std::cerr << exit->err;
      return exit->code;
    }
    return std::visit(perform{}, std::get<command>(read));
  } catch (const std::exception& e) {
    return fail({townkeeper::error_code::internal, "townkeeper", e.what()});
  }
}
