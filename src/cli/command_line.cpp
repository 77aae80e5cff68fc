#include "cli/command_line.hpp"

#include <algorithm>
#include <sstream>

#include "cli/command_choice.hpp"
#include "cli/exit_code.hpp"
#include "config/settings.hpp"
#include "config/value_text.hpp"

namespace townkeeper::cli {
namespace {

constexpr auto promise =
    "A container that lost its disk gets its town back: every repository, every agent's worktree at its branch's tip,\n"
    "verified, and every agent that was at work. What could not be restored is named, with the reason. townkeeper is "
    "the\n"
    "container's first process; the town it serves holds all state that must last.";

constexpr auto exit_codes =
    "Exit codes: 0 done, 64 usage, 69 daemon, town or remote unavailable, 70 a bug, 74 disk (also: another daemon has\n"
    "this workspace), 75 stopped with unsaved work or fenced by a newer container, 77 credentials refused,\n"
    "78 configuration.";

constexpr auto checkpoint_promise =
    "Saves what you want to find again after your container is gone: it survives eviction, re-dispatch and unhook.\n"
    "It replaces the checkpoint before it; the last 20 stay readable.";

constexpr auto checkpoint_data = "DATA is one JSON value, or text: what is no JSON is saved as a JSON string, so that\n"
                                 "`gt_checkpoint \"parser done at 1a2b3c, lexer next\"` does what it says. Text that "
                                 "begins with { or [ must be JSON, so\n"
                                 "that a slip in it is found now. `null` clears the checkpoint. At most 256 KiB.";

using outcome = std::variant<command, early_exit>;

// -- commands of operators --------------------------------------------------------------------------------------------

std::string described(const config::setting& s) {
  auto text = s.meaning + " Accepted: " + s.accepted + ".";
  if (!s.default_text.empty()) text += " Default: " + s.default_text + ".";
  return text + " Variable: " + s.variable + ".";
}

/// Flags that are none are taken as well: `config::load` refuses them and knows what was meant.
void take_unknown_flags(const CLI::App& app, configuration_flags& into) {
  const auto rest = app.remaining();
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (!rest[i].starts_with("--")) throw CLI::ExtrasError(app.get_name(), {rest[i]});
    if (const auto equals = rest[i].find('='); equals != std::string::npos)
      into.flags.emplace_back(rest[i].substr(0, equals), rest[i].substr(equals + 1));
    else if (i + 1 < rest.size() && !rest[i + 1].starts_with("--"))
      into.flags.emplace_back(rest[i], rest[i + 1]), ++i;
    else
      into.flags.emplace_back(rest[i], "");
  }
}

std::shared_ptr<configuration_flags> add_configuration(CLI::App& app) {
  auto into = held<configuration_flags>();
  app.allow_extras();
  app.add_option_function<std::string>(
         "--config", [into](const std::string& file) { into->file = file; },
         "The configuration file, JSON. Variable: TOWNKEEPER_CONFIG.")
      ->type_name("FILE");
  for (const auto& s : config::settings()) {
    if (s.flag.empty()) continue;
    app.add_option_function<std::string>(
           s.flag, [into, flag = s.flag](const std::string& value) { into->flags.emplace_back(flag, value); },
           described(s))
        ->type_name("VALUE")
        ->group("Settings (flag > environment > file > default; secrets only by environment or file)");
  }
  return into;
}

void add_run(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("run", "Restore this container's town and watch over it, until SIGTERM.");
  auto flags = add_configuration(*app);
  all.push_back({app, [app, flags] {
                   take_unknown_flags(*app, *flags);
                   return run_command{std::move(*flags)};
                 }});
}

void add_config(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("config", "Show every setting, its value and where it came from, as JSON.");
  auto flags = add_configuration(*app);
  auto check = held(false);
  app->add_flag("--check", *check, "Print nothing but what is wrong: whether `run` would take it.");
  all.push_back({app, [app, flags, check] {
                   take_unknown_flags(*app, *flags);
                   return config_command{std::move(*flags), *check};
                 }});
}

void add_status(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("status", "Show how far the daemon of this workspace is. 69 when there is none.");
  auto flags = add_workspace(*app);
  auto json = held(false);
  app->add_flag("--json", *json, "The health document as it is.");
  all.push_back({app, [flags, json] { return status_command{std::move(*flags), *json}; }});
}

void add_token(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("token", "Tokens of a town.");
  app->require_subcommand(1);
  auto* mint = app->add_subcommand("mint", "Print a new token, signed with the secret in TOWN_SECRET.");
  auto made = held<mint_command>({{}, town::token_scope::container, std::chrono::hours{8}});
  mint->add_option("--town", made->town_id, "The town's id.")->required()->type_name("ID");
  mint->add_option_function<std::string>(
          "--scope",
          [made](const std::string& scope) {
            made->scope = scope == "admin" ? town::token_scope::admin : town::token_scope::container;
          },
          "What it allows: a container's own routes, or an operator's.")
      ->required()
      ->check(CLI::IsMember({"container", "admin"}))
      ->type_name("container|admin");
  mint->add_option_function<std::string>(
          "--ttl",
          [made](const std::string& text) {
            const auto ttl = config::parse_duration(text);
            if (!ttl || *ttl < std::chrono::seconds{1})
              throw CLI::ValidationError("--ttl", "'" + text + "' is no duration of a second or more (30m, 8h)");
            made->ttl = *ttl;
          },
          "How long it is good for (30m, 8h). Default: 8h.")
      ->type_name("DURATION");
  all.push_back({mint, [made] { return *made; }});
}

// -- commands of agents -----------------------------------------------------------------------------------------------

void take_checkpoint_data(CLI::App& app, choices& all) {
  auto made = held<put_checkpoint>();
  app.add_option_function<std::string>(
         "data",
         [made](const std::string& text) {
           if (text != "-") made->data = text;
         },
         "What to save; absent or -: standard input.")
      ->type_name("DATA");
  app.add_flag("--text", made->as_text, "DATA is text, whatever it looks like.");
  app.footer(checkpoint_data);
  all.push_back({&app, [made] { return *made; }});
}

void add_checkpoint(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("checkpoint", "Save and read an agent's checkpoint (gt_checkpoint).");
  app->require_subcommand(1);
  take_checkpoint_data(*app->add_subcommand("put", checkpoint_promise), all);
  auto* get = app->add_subcommand("get", "Print the newest checkpoint's data; null when there is none.");
  auto history = held<std::size_t>(0);
  const auto* wanted = get->add_option("--history", *history, "Print the last N with their seq, time and commit.")
                           ->check(CLI::Range(1, 20))
                           ->type_name("N");
  all.push_back({get, [history, wanted] {
                   return get_checkpoint{wanted->count() > 0 ? std::optional(*history) : std::nullopt};
                 }});
}

void take_prime(CLI::App& app, choices& all) {
  auto ids = held<std::vector<std::string>>();
  app.add_option("--ack", *ids, "Say that you have taken in this mail (its ids), so that it is not shown again.")
      ->type_name("ID");
  all.push_back({&app, [ids]() -> command {
                   if (ids->empty()) return prime_command{};
                   return acknowledge_mail{std::move(*ids)};
                 }});
}

void take_done(CLI::App& app, choices& all) {
  auto made = held<done_command>();
  app.add_option("--branch", made->branch, "Where the finished work was pushed. Default: your own branch.");
  app.add_option("--pr-url", made->pr_url, "The pull request, when there is one.");
  app.add_option("--summary", made->summary, "What was done, for people.");
  all.push_back({&app, [made] { return *made; }});
}

void take_message(CLI::App& app, choices& all) {
  auto words = held<std::vector<std::string>>();
  app.add_option("message", *words, "One line of at most 280 characters.")->required()->type_name("MESSAGE");
  all.push_back({&app, [words] {
                   say_status said;
                   for (const auto& word : *words)
                     said.message += (said.message.empty() ? "" : " ") + word;
                   return said;
                 }});
}

constexpr auto prime_promise =
    "Prints everything you need to go on where you, or the one before you, stopped, as JSON:\n"
    "checkpoint, task, mail, and what became of the worktree.";
constexpr auto done_promise =
    "Says that the task is finished. Nothing else ends it: an agent that merely stops is started "
    "again.";
constexpr auto status_promise = "Shows people, in one line, where you are.";

void add_credential(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("credential", "Git credential helper of an agent: the rig's token, never on disk.");
  auto made = held<credential_command>();
  app->add_option("operation", made->operation, "As git calls it: get, store or erase.")->required();
  all.push_back({app, [made] { return *made; }});
}

// -- parsing ----------------------------------------------------------------------------------------------------------

outcome parse_with(CLI::App& app, const choices& all, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end()); // as CLI11 takes them
  try {
    app.parse(std::move(arguments));
    for (const auto& each : all)
      if (each.app->parsed()) return each.make();
    return early_exit{usage, {}, app.help()};
  } catch (const CLI::Error& e) {
    std::ostringstream out, err;
    const int code = app.exit(e, out, err);
    return early_exit{code == 0 ? done : usage, out.str(), err.str()};
  }
}

/// The command that a link's name stands for.
bool is_agent_command(CLI::App& app, const std::string& name, choices& all) {
  if (name == "gt_checkpoint") {
    app.description(checkpoint_promise);
    take_checkpoint_data(app, all);
  } else if (name == "gt_prime") {
    app.description(prime_promise);
    take_prime(app, all);
  } else if (name == "gt_done") {
    app.description(done_promise);
    take_done(app, all);
  } else if (name == "gt_status") {
    app.description(status_promise);
    take_message(app, all);
  } else {
    return false;
  }
  return true;
}

} // namespace

std::variant<command, early_exit> parse_command_line(const std::vector<std::string>& argv) {
  const auto name = argv.empty() ? std::string{} : std::filesystem::path(argv.front()).filename().string();
  std::vector<std::string> arguments;
  if (!argv.empty()) arguments.assign(argv.begin() + 1, argv.end());
  choices all;
  if (CLI::App app{"", name}; is_agent_command(app, name, all)) return parse_with(app, all, std::move(arguments));

  CLI::App app{promise, "townkeeper"};
  app.footer(exit_codes);
  app.require_subcommand(0, 1);
  add_run(app, all);
  add_status(app, all);
  add_config(app, all);
  add_token(app, all);
  add_snapshot(app, all);
  add_drain(app, all);
  add_recovery(app, all);
  add_checkpoint(app, all);
  take_prime(*app.add_subcommand("prime", prime_promise), all);
  take_done(*app.add_subcommand("done", done_promise), all);
  add_credential(app, all);
  all.push_back({app.add_subcommand("version", "Print the version."), [] { return version_command{}; }});
  return parse_with(app, all, std::move(arguments));
}

} // namespace townkeeper::cli
