#include <string>

#include "cli/command_choice.hpp"
#include "config/value_text.hpp"

/// The commands for saved work: `snapshot`, `drain` and `recovery …`.
namespace townkeeper::cli {
namespace {

constexpr auto snapshot_promise =
    "Saves now what the agents have not committed or not pushed, and returns when the remotes have acknowledged it.\n"
    "Nothing of an agent is touched: not its branch, HEAD, index or files.";
constexpr auto snapshot_rest =
    "Needs the daemon's control token (control.token, TOWNKEEPER_CONTROL_TOKEN). Exit codes: 0 all is saved, 75 "
    "something is\nnot (named, with the reason), 69 no daemon answers, 77 no control token, or a wrong one.";

constexpr auto drain_promise =
    "Ends the daemon of this workspace without losing anything: the agents' work is saved, the agents are asked to "
    "end,\n"
    "the difference is saved. The same as SIGTERM; a second time shortens the waiting, never the saving.";
constexpr auto drain_rest =
    "Without a control token the daemon gets a SIGTERM. Whether everything was saved is the daemon's own exit code: 0, "
    "or 75\nwith what is unsaved named in its log. Exit codes of this command: 0 told (--wait: ended), 69 no daemon "
    "answers.";

constexpr auto recovery_promise =
    "What an agent had not committed or not pushed lies on its remote as a recovery point: staged, modified and "
    "untracked\nfiles, unpushed commits, a merge or rebase in progress. These commands find it and bring it back, in "
    "any clone of the\nrepository, without a daemon and without a town (`drop` alone asks the town). "
    "docs/recovery.md shows the same with plain git.";
constexpr auto recovery_rest =
    "The remote is spoken to by your own git, with your credentials. Exit codes: 0 done, 64 usage, 69 remote or town "
    "unavailable,\n69 also where there is no such point, 74 disk, 75 something uncommitted is in the way, 77 "
    "credentials refused.";

constexpr auto point_meaning = "A full ref, a commit, or an agent's id: its newest point.";

void take_clone(CLI::App& app, git::clone_location& into) {
  app.add_option("--repo", into.directory, "A clone of the repository, or a directory in it. Default: here.")
      ->type_name("DIR");
  app.add_option("--remote", into.remote, "The remote, or its URL. Default: origin.")->type_name("NAME");
}

void take_town(CLI::App& app, configuration_flags& into) {
  app.add_option_function<std::string>(
         "--config", [&into](const std::string& file) { into.file = file; },
         "A configuration file that names the town. Variable: TOWNKEEPER_CONFIG.")
      ->type_name("FILE");
  for (const auto* flag : {"--town-api-url", "--town-id"})
    app.add_option_function<std::string>(
           flag, [&into, flag](const std::string& value) { into.flags.emplace_back(flag, value); },
           std::string("Variable: ") +
               (std::string_view(flag) == "--town-id" ? "GASTOWN_TOWN_ID." : "GASTOWN_API_URL."))
        ->type_name("VALUE");
}

/// `30m`, `8h` and also `7d`.
std::chrono::milliseconds age_of(const std::string& text) {
  if (text.size() > 1 && text.back() == 'd')
    if (const auto days = config::parse_count(text.substr(0, text.size() - 1)); days && *days <= 36'500)
      return std::chrono::days{*days};
  if (const auto age = config::parse_duration(text)) return *age;
  throw CLI::ValidationError("--older-than", "'" + text + "' is no duration (12h, 7d)");
}

void add_list(CLI::App& recovery, choices& all) {
  auto* app = recovery.add_subcommand("list", "List the points on the remote. Without --fetch nothing is fetched, and "
                                              "only ref, commit and epoch are known.");
  auto made = held<list_points>();
  take_clone(*app, made->clone);
  app->add_option("--agent", made->agent_id, "Of this agent alone.")->type_name("ID");
  app->add_flag("--fetch", made->fetch, "Fetch the points as well, and show when they were taken and what they hold.");
  all.push_back({app, [made] { return *made; }});
}

template <class Command>
std::shared_ptr<Command> take_point(CLI::App& app) {
  auto made = held<Command>();
  take_clone(app, made->clone);
  app.add_option("point", made->point, point_meaning)->required()->type_name("POINT");
  return made;
}

void add_drop(CLI::App& recovery, choices& all) {
  auto* app = recovery.add_subcommand(
      "drop", "Give up saved work. Nothing is dropped by itself: a point that was not applied is kept until this.\n"
              "  drop --agent A --rig R COMMIT            the town no longer lists this kept point\n"
              "  drop --agent A --rig R --recovery        the town no longer asks for the agent's recovery point, and "
              "it goes from this clone's remote\n"
              "  drop --done --older-than 7d [--dry-run]  the points of agents that said done go from this clone's "
              "remote");
  struct drop_flags {
    drop_finished finished;
    std::string rig_id, agent_id, commit;
    bool recovery = false, done = false;
  };
  auto made = held<drop_flags>();
  take_town(*app, made->finished.configuration);
  take_clone(*app, made->finished.clone);
  app->footer("The token: GASTOWN_ADMIN_TOKEN (townkeeper token mint --scope admin), else GASTOWN_CONTAINER_TOKEN.\n"
              "The ref of a point that is dropped by its commit stays on the remote: "
              "`git push origin --delete <ref>`.");
  auto* commit = app->add_option("commit", made->commit, "The kept point.")->type_name("COMMIT");
  auto* agent = app->add_option("--agent", made->agent_id, "The agent.")->type_name("ID");
  auto* rig = app->add_option("--rig", made->rig_id, "Its rig.")->type_name("ID");
  auto* recovery_flag = app->add_flag("--recovery", made->recovery, "Accept the loss of what the point holds.");
  auto* done_flag = app->add_flag("--done", made->done, "Of all agents that said done.");
  auto* age = app->add_option_function<std::string>(
                     "--older-than", [made](const std::string& text) { made->finished.older_than = age_of(text); },
                     "Only points taken longer ago (12h, 7d).")
                  ->type_name("AGE");
  auto* dry = app->add_flag("--dry-run", made->finished.only_list, "Only list what would go.");
  agent->needs(rig);
  rig->needs(agent);
  commit->needs(agent)->excludes(recovery_flag)->excludes(done_flag);
  recovery_flag->needs(agent)->excludes(done_flag);
  done_flag->needs(age)->excludes(agent);
  age->needs(done_flag);
  dry->needs(done_flag);
  all.push_back({app, [made]() -> command {
                   auto& flags = made->finished.configuration;
                   if (made->done) return made->finished;
                   if (made->recovery) return drop_recovery{flags, made->finished.clone, made->rig_id, made->agent_id};
                   if (!made->commit.empty()) return drop_kept{flags, made->rig_id, made->agent_id, made->commit};
                   throw CLI::RequiredError("COMMIT, --recovery or --done");
                 }});
}

} // namespace

std::shared_ptr<configuration_flags> add_workspace(CLI::App& app) {
  auto flags = held<configuration_flags>();
  app.add_option_function<std::string>(
         "--workspace", [flags](const std::string& at) { flags->flags.emplace_back("--workspace", at); },
         "The daemon's workspace. Variable: TOWNKEEPER_WORKSPACE.")
      ->type_name("DIR");
  app.add_option_function<std::string>(
         "--config", [flags](const std::string& file) { flags->file = file; },
         "A configuration file that names the workspace. Variable: TOWNKEEPER_CONFIG.")
      ->type_name("FILE");
  return flags;
}

void add_snapshot(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("snapshot", snapshot_promise);
  auto flags = add_workspace(*app);
  auto agent = held<std::optional<std::string>>();
  app->add_option("--agent", *agent, "Of this agent alone.")->type_name("ID");
  app->footer(snapshot_rest);
  all.push_back({app, [flags, agent] { return snapshot_command{std::move(*flags), std::move(*agent)}; }});
}

void add_drain(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("drain", drain_promise);
  auto flags = add_workspace(*app);
  auto wait = held(false);
  app->add_flag("--wait", *wait, "Return when the daemon has ended.");
  app->footer(drain_rest);
  all.push_back({app, [flags, wait] { return drain_command{std::move(*flags), *wait}; }});
}

void add_recovery(CLI::App& parent, choices& all) {
  auto* app = parent.add_subcommand("recovery", recovery_promise);
  app->require_subcommand(1);
  app->footer(recovery_rest);
  add_list(*app, all);
  auto* show = app->add_subcommand("show", "Show what a point holds, path by path. Changes nothing.");
  all.push_back({show, [made = take_point<show_point>(*show)] { return *made; }});
  auto* apply = app->add_subcommand(
      "apply", "Make this worktree what the point says: files, index, HEAD, an operation in progress. Refuses where "
               "anything\nuncommitted is in the way; commits and pushes nothing.");
  all.push_back({apply, [made = take_point<apply_point>(*apply)] { return *made; }});
  auto* write = app->add_subcommand("export", "Write a point to a new directory: point.bundle for `git fetch`, and "
                                              "files/ with every file as it was.");
  auto made = take_point<export_point>(*write);
  write->add_option("directory", made->directory, "The directory; must not exist.")->required()->type_name("DIR");
  all.push_back({write, [made] { return *made; }});
  add_drop(*app, all);
}

} // namespace townkeeper::cli
