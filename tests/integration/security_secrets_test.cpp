// A whole run in which everything goes wrong that can, and then a search for each secret, in every form, wherever it
// has no business.
#include <fstream>

#include "scenario.hpp"
#include "tests/support/command.hpp"
#include "tests/support/control_stub.hpp"
#include "tests/support/http_fault_proxy.hpp"
#include "tests/support/secret_search.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

/// How every token of the town begins, also those it makes itself: `{"alg":"HS256","typ":"JWT"}`.
constexpr auto any_token_of_the_town = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

const std::string control_token = "control-token+8c9d/0e1f=2a3b";
const std::string wrong_bearer = "a-bearer-nobody-gave-out-77aa";
const std::string url_password = "password-in-a-url-5d5e6f";
const std::string fallback_token = "configured-git-token-3c4b5a";

std::string git_token(const std::string& rig, int n = 1) {
  return "git-token+of/" + rig + "=" + std::to_string(n) + "-9f8e7d";
}

/// Rigs of one agent each, `agent-<rig>`: `api` is well, the others each have their trouble with a secret in it.
const std::vector<std::string> rigs{"api", "wrong", "told", "moved", "named", "spare"};

class whole_run {
public:
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  test::http_fault_proxy wire{town.port()};
  test::control_stub elsewhere;
  witness workers;
  test::temp_dir seen{"seen"}; ///< what the processes of the run were seen to have
  test::secret_search words;
  std::string container_token; ///< the one in force since `hand_over_token`
  test::container box;
  std::vector<test::secret_search::found_text> answers;

  whole_run()
      : box{options()} {
    for (const auto& rig : rigs)
      settle(rig);
    server.demand_token("api", "oauth2", git_token("api"));
    server.demand_token("told", "oauth2", git_token("told"));
    server.demand_token("wrong", "x-access-token", "another-token-than-the-rig-has");
    server.demand_token("spare", "x-access-token", fallback_token);
    // The remote shows what it was told: in its answer, in the target of a redirect, from a hook.
    server.answer_with("moved", {302,
                                 {{"Location", "http://mover:" + git_token("moved") + "@127.0.0.1:" +
                                                   elsewhere.url().substr(elsewhere.url().rfind(':') + 1) + "/"}},
                                 git_token("moved")});
    server.put_hook("told", "pre-receive",
                    "while read -r old new ref; do case $ref in refs/townkeeper/*)\n"
                    "  echo \"I was told $HTTP_AUTHORIZATION\" >&2; exit 1;; esac; done\nexit 0\n");
    server.put_hook("api", "pre-receive",
                    test::note_processes_script(seen.path() / "processes") + "cat >/dev/null\nexit 0\n");
    for (const auto& rig : rigs)
      words.add("git token of " + rig, git_token(rig));
    words.add("second git token", git_token("api", 2));
    words.add("configured git token", fallback_token);
    words.add("control token", control_token);
    words.add("password in a URL", url_password);
    words.add("town's secret", town.secret());
    words.add("admin's or container's token", any_token_of_the_town);
    words.add("wrong bearer", wrong_bearer);
  }

  /// The town's proxy answers so, with the tokens in the body, and gives one rig a URL with a password.
  void break_town() {
    const auto named = server.url("named");
    const auto with_password = [named](const std::string& body) {
      auto text = body;
      for (auto at = text.find(named); at != std::string::npos; at = text.find(named, at + 1))
        text.replace(at, 7, "http://keeper:" + url_password + "@");
      return text;
    };
    const auto shown = "you said " + container_token + " and " + control_token;
    wire.set({{.path = "*/container-boot", .answer = test::fixed_answer{500, {}, shown}, .times = 1},
              {.path = "*/container-boot", .rewrite = with_password},
              {.path = "*/desired-state", .rewrite = with_password},
              {.path = "*/container-ready", .answer = test::fixed_answer{500, {}, shown}, .times = 2},
              {.path = "*/recovery-point", .answer = test::fixed_answer{500, {}, shown}, .times = 2}});
  }

  /// What agents ask the town is answered so from now on.
  void break_calls_of_agents() {
    const auto shown = container_token + ", " + git_token("api") + " and " + control_token;
    wire.set({{.path = "*/prime", .answer = test::fixed_answer{404, {}, "you said " + shown}},
              {.path = "*/status",
               .answer = test::fixed_answer{400, {}, R"({"success":false,"code":"x","error":")" + shown + "\"}"}}});
  }

  void hand_over_token() {
    container_token = town.mint(town_id, "container", std::chrono::minutes{30});
    REQUIRE(test::wait_until([&] {
      return note("/refresh-token",
                  box.post("/refresh-token", R"({"token":")" + container_token + "\"}", control_token))
                 .status == 200;
    }));
  }

  const test::http_response& note(const std::string& where, test::http_response answer) {
    std::string text = answer.body;
    for (const auto& [name, value] : answer.headers)
      text += "\n" + name + ": " + value;
    answers.push_back({where, text});
    last_ = std::move(answer);
    return last_;
  }

  /// A command of an agent, as the agent calls it.
  int agent_calls(const std::string& agent, std::vector<std::string> arguments) {
    const auto own = box.workspace() / ".townkeeper";
    arguments.front() = (own / "bin" / arguments.front()).string();
    const auto told =
        test::try_run({.argv = arguments, .environment = {{"TOWNKEEPER_SOCKET", box.socket_of(agent).string()}}});
    answers.push_back({arguments.front(), told.out + told.err});
    return told.status;
  }

private:
  test::container_options options() {
    // What git itself starts, the credential helper above all, it writes down with its arguments.
    const auto traced = R"(["/bin/sh","-c","export GIT_TRACE2_EVENT=)" + (seen.path() / "git").string() +
                        R"( GIT_TRACE_REDACT=0; exec \"$@\"","sh",)" + workers.command().substr(1);
    auto out = container_for(town, configuration(traced, {}, {}, fast_saves));
    container_token = town.mint(town_id, "container", std::chrono::seconds{-60});
    out.api_url = wire.base_url();
    out.token = container_token;
    fs::create_directory(seen.path() / "git");
    fs::create_directory(seen.path() / "tmp");
    out.environment = {{"TOWNKEEPER_CONTROL_TOKEN", control_token},
                       {"TOWNKEEPER_GIT_TOKEN", fallback_token},
                       {"TOWNKEEPER_LOG_LEVEL", "debug"},
                       {"TMPDIR", (seen.path() / "tmp").string()}};
    return out;
  }

  void settle(const std::string& rig) {
    server.make_repository(rig);
    server.commit(rig, {"work", {{"a", "b\n"}}, {}, "begin", "main"});
    admin.put_rig(rig, server.url(rig));
    const bool is_known_to_town = rig != "named" && rig != "spare";
    if (is_known_to_town)
      admin.call("PUT", "/rigs/" + rig + "/git-token",
                 R"({"token":")" + git_token(rig) + R"(","username":")" +
                     (rig == "wrong" ? "x-access-token" : "oauth2") + "\"}");
    admin.put_agent(rig, "agent-" + rig, "work", R"(,"headCommit":")" + server.tip(rig, "work") + "\"");
  }

  test::http_response last_;
};

/// Requests that are wrong, each with a secret in it where it can be.
void ask_wrongly(whole_run& run) {
  const auto& box = run.box;
  const std::vector<std::string> bodies{"",
                                        control_token,
                                        R"({"token":")" + run.container_token + " \"}",
                                        R"({"token":")" + run.container_token + R"(","townId":"another"})",
                                        R"({"agentId":")" + control_token + "\"}",
                                        R"({"agentId":")" + git_token("api") + R"(","rigId":1})",
                                        R"({"token":[")" + control_token + "\"",
                                        R"({")" + control_token + R"(":1})"};
  for (const auto* path : {"/agents/start", "/agents/agent-api/stop-it", "/snapshot", "/refresh-token", "/nothing"})
    for (const auto& body : bodies) {
      run.note(path, box.post(path, body, control_token));
      run.note(path, box.post(path, body, wrong_bearer));
      run.note(path, box.post(path, body, control_token, {{"X-Gastown-Epoch", control_token}}));
    }
  for (const auto& path : {"/agents/" + control_token + "/stop", "/agents/" + git_token("api") + "/stop"})
    run.note("/agents/TOKEN/stop", box.post(path, "{}", control_token));
  for (const std::string path : {"/health", "/metrics", "/readyz", "/readyz?strict", "/livez", "/", "/events",
                                 "/agents/agent-api/status", "/agents/agent-wrong/status"})
    run.note(path, box.get(path));
  run.note("/nothing", box.get("/nothing?token=" + control_token));
  run.note("/agents/TOKEN/status", box.get("/agents/" + control_token + "/status"));
}

/// Also another test's, at work beside this one.
bool is_a_daemon(const test::noted_process& process) {
  const auto& argv = process.arguments;
  return argv.size() > 1 && argv[0].ends_with("/townkeeper") && argv[1] == "run";
}

/// argv of all that ran, environments of all but those the secrets were given to: the town, the git server with its
/// hooks (it is told the login in a variable of CGI), and the daemon.
std::vector<std::string> shown_by_processes(const whole_run& run) {
  std::vector<std::string> found;
  const auto look = [&](const std::string& where, const std::vector<std::string>& texts) {
    for (const auto& text : texts)
      for (auto& each : run.words.in(where, text))
        found.push_back(std::move(each));
  };
  std::size_t servers = 0, agents = 0;
  for (const auto& process : test::read_processes(run.seen.path() / "processes")) {
    const auto name = process.arguments.empty() ? "?" : process.arguments.front();
    look("argv of " + name, process.arguments);
    const bool is_server = process.has_variable("TOWN_REMOTE");
    servers += is_server ? 1 : 0;
    agents += process.has_variable("GASTOWN_AGENT_ID") ? 1 : 0;
    if (is_server || process.has_variable("TOWN_SECRET") || is_a_daemon(process)) continue;
    look("environment of " + name, process.environment);
  }
  CHECK(servers > 0);
  CHECK(agents > 0);
  return found;
}

std::string contents_of_directory(const fs::path& directory) {
  std::string all;
  for (const auto& entry : fs::directory_iterator{directory})
    all += test::bytes_of(entry.path());
  return all;
}

} // namespace

TEST_CASE("after a whole run full of errors no secret is in argv, in an environment, a file, an object, a log or an "
          "answer") {
  whole_run run;
  run.break_town();
  auto& box = run.box;
  box.start();
  INFO(box.log());
  run.hand_over_token();
  run.break_town(); // the town's errors name the new token from here on
  REQUIRE(box.wait_for_phase("degraded"));

  // Work, with a login that is rotated meanwhile.
  run.workers.let_work(true);
  const auto steps = [&] { return run.workers.all("agent-api", "step").size(); };
  REQUIRE(test::wait_until([&] { return steps() >= 2; }));
  run.server.demand_token("api", "oauth2", git_token("api", 2));
  run.admin.call("PUT", "/rigs/api/git-token", R"({"token":")" + git_token("api", 2) + R"(","username":"oauth2"})");
  const auto before = steps();
  REQUIRE(test::wait_until([&] { return steps() >= before + 2; }));
  run.workers.let_work(false);
  // Who is in the middle of a step would commit the new file, and push it.
  for (const auto* agent : {"agent-api", "agent-told"})
    REQUIRE(test::wait_until([&] { return !run.workers.all(agent, "step").empty() && run.workers.is_idle(agent); }));

  // A save that is refused, and one that is not.
  for (const auto* rig : {"api", "told"})
    std::ofstream{box.worktree(rig, std::string{"agent-"} + rig) / "new"} << "work of " << rig << "\n";
  REQUIRE(test::wait_until([&] { return last_error(box, "agent-told").find("I was told") != std::string::npos; }));
  CHECK(last_error(box, "agent-told").find("***") != std::string::npos);
  CHECK(test::wait_until([&] { return last_error(box, "agent-api").empty(); }));
  run.note("/snapshot", box.post("/snapshot", "{}", control_token));

  ask_wrongly(run);
  run.break_calls_of_agents();
  CHECK(run.agent_calls("agent-api", {"gt_prime"}) != 0);
  CHECK(run.agent_calls("agent-api", {"gt_status", "hello"}) != 0);
  const auto state = run.admin.state();
  run.note("/health", box.get("/health"));
  run.workers.finish();
  const auto ending = box.end(std::chrono::seconds{60});
  CHECK(ending.code == 75); // what `told` refuses is not saved
  CHECK_FALSE(ending.killed);

  // Each search would find: the daemon and the git server have them by right.
  CHECK_FALSE(run.words.in("all of them", test::bytes_of(run.seen.path() / "processes")).empty());
  const auto trace = contents_of_directory(run.seen.path() / "git");
  CHECK(trace.find("townkeeper' credential get") != std::string::npos);

  const std::vector<std::string> nothing;
  CHECK(shown_by_processes(run) == nothing);
  CHECK(run.words.in("what git started", trace) == nothing);
  CHECK(run.words.in(run.answers) == nothing);
  CHECK(run.words.in("the log", box.log()) == nothing);
  CHECK(run.words.in_files(box.directory()) == nothing);
  CHECK(run.words.in_files(run.seen.path() / "tmp") == nothing);
  std::size_t objects = 0;
  CHECK(run.words.in_objects(box.workspace(), objects) == nothing);
  for (const auto& rig : rigs)
    CHECK(run.words.in_objects(run.server.repository_path(rig), objects) == nothing);
  CHECK(objects > 20);
  // Nothing followed the redirect, with or without a login.
  CHECK(run.elsewhere.requests().empty());
  CHECK(run.words.in("agents", text(record_of(state, "agent-api"), "message")) == nothing);
}

TEST_CASE("what is wrong with the configuration is said without the secrets in it") {
  const test::temp_dir dir{"configuration"};
  const auto file = (dir.path() / "townkeeper.json").string();
  test::secret_search words;
  const std::string secret = "configured-secret+of/this=run-1b2c";
  words.add("secret", secret);
  struct mistake {
    std::string content;
    std::map<std::string, std::string> environment = {};
    std::vector<std::string> arguments = {};
  };
  const std::vector<mistake> mistakes{
      {R"({"control":{"token":")" + secret},
      {R"({"control":{"token":[")" + secret + R"("]}})"},
      {R"({"control":{"token":{")" + secret + R"(":1}}})"},
      {R"({"control":{"tokn":")" + secret + R"("}})"},
      {R"({"git":{"token":")" + secret + R"( with a space"}})"},
      {R"({"town":{"api_url":"http://user:)" + secret + R"(@town.example.invalid/"}})"},
      {R"({"control":{"token":")" + secret + R"("},"nonsense":1})"},
      {"{}", {{"TOWNKEEPER_CONTROL_TOKEN", secret + "\n"}}},
      {"{}", {{"TOWNKEEPER_GIT_TOKEN", secret + " x"}}},
      {"{}", {{"GASTOWN_API_URL", "https://" + secret + "@town.example.invalid/"}}},
      {"{}", {{"TOWNKEEPER_CONTROL_TOKN", secret}}},
  };
  for (const auto& m : mistakes) {
    CAPTURE(m.content);
    std::ofstream{file, std::ios::trunc} << m.content;
    auto run = test::command{.argv = {TOWNKEEPER_BINARY, "run", "--config", file, "--workspace", dir.path() / "w",
                                      "--listen", "127.0.0.1:0"},
                             .environment = m.environment,
                             .unset_prefix = "TOWNKEEPER_"};
    const auto told = test::try_run(run);
    CHECK(told.status == 78);
    CHECK(words.in("told", told.out + told.err) == std::vector<std::string>{});
  }
  std::ofstream{file, std::ios::trunc} << R"({"control":{"token":")" << secret << R"("},"git":{"token":")" << secret
                                       << R"("}})";
  const auto shown = test::try_run(
      {.argv = {TOWNKEEPER_BINARY, "config", "--config", file}, .environment = {}, .unset_prefix = "TOWNKEEPER_"});
  CHECK(shown.status == 0);
  CHECK(words.in("config", shown.out + shown.err) == std::vector<std::string>{});
}
