#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <stdlib.h>

#include <fstream>

#include "config/config.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::config;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

/// A configuration file that is gone with the test.
class written_file {
public:
  explicit written_file(const std::string& text) {
    std::string pattern = (std::filesystem::temp_directory_path() / "tk-config-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    std::ofstream(path(), std::ios::binary) << text;
  }
  written_file(const written_file&) = delete;
  written_file& operator=(const written_file&) = delete;
  ~written_file() { std::filesystem::remove_all(directory_); }
  std::filesystem::path path() const { return directory_ / "townkeeper.json"; }

private:
  std::filesystem::path directory_;
};

result<::townkeeper::config::config> load_text(const std::string& text) {
  const written_file file(text);
  return load({file.path(), {}, {}});
}

error failure_of(const result<::townkeeper::config::config>& loaded) {
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == error_code::invalid_config);
  return loaded.error();
}

} // namespace

TEST_CASE("given nothing, every setting has its default") {
  const auto c = load({}).value();
  CHECK(c.workspace == "/workspace");
  CHECK(c.listen == listen_address{"0.0.0.0", 8080});
  CHECK(c.town.heartbeat_interval == 30s);
  CHECK(c.restore.network_jobs == 32);
  CHECK(c.restore.attempts == 5);
  CHECK(c.restore.backoff_first == 250ms);
  CHECK(c.restore.backoff_max == 30s);
  CHECK(c.git.connect_timeout == 10s);
  CHECK(c.git.stall_timeout == 15s);
  CHECK(c.git.attempt_timeout == 300s);
  CHECK(c.http.header_timeout == 5s);
  CHECK(c.http.max_connections == 1024);
  CHECK(c.supervision.intensity == 5);
  CHECK(c.protect.enabled);
  CHECK(c.protect.push_interval == 10s);
  CHECK(c.protect.quiet == 2s);
  CHECK(c.protect.latest == 8s);
  CHECK(c.protect.poll_interval == 5s);
  CHECK(c.protect.backoff_first == 1s);
  CHECK(c.protect.backoff_max == 1min);
  CHECK(c.protect.file_limit_bytes == 95 * 1024 * 1024);
  CHECK(c.protect.point_limit_bytes == 1024 * 1024 * 1024);
  CHECK(c.protect.untracked_limit == 20'000);
  CHECK(c.protect.include.empty());
  CHECK(c.protect.save_deadline == 10s);
  CHECK(c.agents.drain_limit == 840s);
  CHECK(c.agents.command.empty());
  CHECK(c.town.container_token.empty());
  CHECK(c.origins.empty());
}

TEST_CASE("a flag beats the environment, which beats the file, which beats the default") {
  const written_file file(R"({"listen":"127.0.0.1:1","restore":{"attempts":7,"network_jobs":3,"disk_jobs":4}})");
  sources from{file.path(), {{"TOWNKEEPER_LISTEN", "127.0.0.1:2"}, {"TOWNKEEPER_RESTORE_ATTEMPTS", "8"}}, {}};
  from.flags = {{"--listen", "127.0.0.1:3"}};
  const auto c = load(from).value();
  CHECK(c.listen.port == 3);
  CHECK(c.restore.attempts == 8);
  CHECK(c.restore.network_jobs == 3);
  CHECK(c.restore.backoff_max == 30s);
  CHECK(c.origins.at("listen") == "flag --listen");
  CHECK(c.origins.at("restore.attempts") == "environment TOWNKEEPER_RESTORE_ATTEMPTS");
  CHECK(c.origins.at("restore.disk_jobs") == "file " + file.path().string());
  CHECK_FALSE(c.origins.contains("restore.backoff_max"));
}

TEST_CASE("the variables that Gastown sets are taken, after ours") {
  const auto c = load({{},
                       {{"GASTOWN_API_URL", "https://town.example/api"},
                        {"GASTOWN_TOWN_ID", "t1"},
                        {"TOWNKEEPER_TOWN_ID", "t2"},
                        {"GASTOWN_CONTAINER_TOKEN", "jwt.jwt.jwt"}},
                       {}})
                     .value();
  CHECK(c.town.api_url == "https://town.example/api");
  CHECK(c.town.id == "t2");
  CHECK(c.town.container_token.reveal() == "jwt.jwt.jwt");
}

TEST_CASE("a variable that is empty counts as not set") {
  const auto c =
      load({{}, {{"TOWNKEEPER_LISTEN", ""}, {"GASTOWN_API_URL", ""}, {"TOWNKEEPER_CONFIG", ""}}, {}}).value();
  CHECK(c.listen.port == 8080);
  CHECK(c.town.api_url.empty());
}

TEST_CASE("TOWNKEEPER_CONFIG names the file, and --config beats it") {
  const written_file one(R"({"restore":{"attempts":1}})"), two(R"({"restore":{"attempts":2}})");
  const std::map<std::string, std::string, std::less<>> environment{{"TOWNKEEPER_CONFIG", one.path().string()}};
  CHECK(load({{}, environment, {}}).value().restore.attempts == 1);
  CHECK(load({two.path(), environment, {}}).value().restore.attempts == 2);
}

TEST_CASE("git's fallback token comes from GIT_TOKEN, else GITLAB_TOKEN with GitLab's user name") {
  const auto both = load({{}, {{"GIT_TOKEN", "github-token"}, {"GITLAB_TOKEN", "gitlab-token"}}, {}}).value();
  CHECK(both.git.token.reveal() == "github-token");
  CHECK(both.git.username == "x-access-token");
  const auto gitlab = load({{}, {{"GITLAB_TOKEN", "gitlab-token"}}, {}}).value();
  CHECK(gitlab.git.token.reveal() == "gitlab-token");
  CHECK(gitlab.git.username == "oauth2");
  const auto named = load({{}, {{"GITLAB_TOKEN", "gitlab-token"}, {"TOWNKEEPER_GIT_USERNAME", "me"}}, {}}).value();
  CHECK(named.git.username == "me");
}

TEST_CASE("an unknown flag, variable or key is fatal, and the one that was meant is named") {
  const auto flag = failure_of(load({{}, {}, {{"--listne", "x"}}}));
  CHECK(flag.object == "--listne");
  CHECK_THAT(flag.message, ContainsSubstring("did you mean --listen?"));

  const auto variable = failure_of(load({{}, {{"TOWNKEEPER_WORKSPCE", "/w"}}, {}}));
  CHECK(variable.object == "TOWNKEEPER_WORKSPCE");
  CHECK_THAT(variable.message, ContainsSubstring("did you mean TOWNKEEPER_WORKSPACE?"));

  const auto key = failure_of(load_text(R"({"restore":{"atempts":1}})"));
  CHECK(key.object == "restore.atempts");
  CHECK_THAT(key.message, ContainsSubstring("townkeeper.json") && ContainsSubstring("did you mean restore.attempts?"));

  CHECK(failure_of(load_text(R"({"worksapce":"/w"})")).object == "worksapce");
  CHECK(failure_of(load_text(R"({"workspace":"/w","restore":{"attempts":{"x":1}}})")).object == "restore.attempts");
}

TEST_CASE("variables of others are none of our business") {
  CHECK(load({{}, {{"GASTOWN_SOMETHING", "x"}, {"PATH", "/bin"}, {"townkeeper_x", "1"}}, {}}));
}

TEST_CASE("the variables of fault points are known only to a build that has them") {
#ifdef TOWNKEEPER_FAULT_POINTS
  constexpr bool known = true;
#else
  constexpr bool known = false;
#endif
  for (const std::string variable : {"TOWNKEEPER_FAULT_POINTS", "TOWNKEEPER_FAULT_LOG"})
    CHECK(load({{}, {{variable, "x"}}, {}}).has_value() == known);
}

TEST_CASE("a Kubernetes service link is told from a misspelt variable") {
  CHECK_THAT(failure_of(load({{}, {{"TOWNKEEPER_PORT_8080_TCP", "tcp://10.0.0.1:8080"}}, {}})).message,
             ContainsSubstring("enableServiceLinks"));
}

TEST_CASE("a key said twice is refused") {
  CHECK_THAT(failure_of(load_text(R"({"git":{"allow_file":true,"allow_file":false}})")).message,
             ContainsSubstring("twice"));
}

TEST_CASE("a syntax error names file, line and column") {
  const auto e = failure_of(load_text("{\n  \"listen\": \"127.0.0.1:1\",\n  // no\n}"));
  CHECK_THAT(e.object, ContainsSubstring("townkeeper.json"));
  CHECK_THAT(e.message, ContainsSubstring("line 3, column 3") && ContainsSubstring("without comments"));
}

TEST_CASE("a file that cannot be a configuration is refused") {
  CHECK_THAT(failure_of(load({"/nonexistent/tk.json", {}, {}})).message, ContainsSubstring("does not exist"));
  CHECK_THAT(failure_of(load({"/", {}, {}})).message, ContainsSubstring("not a regular file"));
  CHECK_THAT(failure_of(load_text("[]")).message, ContainsSubstring("one JSON object"));
  CHECK_THAT(failure_of(load_text("")).message, ContainsSubstring("line 1, column 1"));
  CHECK_THAT(failure_of(load_text(std::string("{}\0", 3))).message, ContainsSubstring("NUL"));
  CHECK_THAT(failure_of(load_text(std::string(2'000'000, ' '))).message, ContainsSubstring("1 MiB"));
  CHECK_THAT(failure_of(load_text(std::string(500'000, '['))).message, ContainsSubstring("levels deep"));
  CHECK_THAT(failure_of(load_text(R"({"git":[]})")).message, ContainsSubstring("must be an object"));
}

TEST_CASE("a value of another type than the schema's is refused with what is accepted") {
  const auto [text, key] = GENERATE(table<std::string, std::string>({
      {R"({"listen":8080})", "listen"},
      {R"({"restore":{"attempts":"5"}})", "restore.attempts"},
      {R"({"restore":{"attempts":0}})", "restore.attempts"},
      {R"({"restore":{"attempts":2.5}})", "restore.attempts"},
      {R"({"git":{"allow_file":"yes"}})", "git.allow_file"},
      {R"({"git":{"allow_http":"localhost"}})", "git.allow_http"},
      {R"({"git":{"allow_http":["a",1]}})", "git.allow_http"},
      {R"({"git":{"stall_timeout":15}})", "git.stall_timeout"},
      {R"({"log":{"format":"xml"}})", "log.format"},
      {R"({"http":{"body_limit":1}})", "http.body_limit"},
      {R"({"workspace":null})", "workspace"},
  }));
  CAPTURE(text);
  const auto e = failure_of(load_text(text));
  CHECK(e.object == key);
  CHECK_THAT(e.message, ContainsSubstring("townkeeper.json") && ContainsSubstring("accepted is"));
}

TEST_CASE("a value out of its range is refused wherever it came from") {
  const auto [variable, value] = GENERATE(table<std::string, std::string>({
      {"LISTEN", "8080"},
      {"LISTEN", "localhost:8080"},
      {"LISTEN", "127.0.0.1:65536"},
      {"LISTEN", "::1:8080"},
      {"LISTEN", "127.0.0.1:"},
      {"LISTEN", "127.0.0.1:-1"},
      {"TOWN_ID", "../x"},
      {"TOWN_API_URL", "ftp://x"},
      {"TOWN_API_URL", "https://u:p@x"},
      {"TOWN_API_URL", "https://"},
      {"TOWN_API_URL", "https://x?y"},
      {"TOWN_API_URL", "https://x y"},
      {"TOWN_HEARTBEAT_INTERVAL", "81s"},
      {"TOWN_HEARTBEAT_INTERVAL", "999ms"},
      {"TOWN_HEARTBEAT_INTERVAL", "soon"},
      {"HTTP_MAX_CONNECTIONS", "0"},
      {"HTTP_MAX_CONNECTIONS", "4294967297"},
      {"HTTP_HEADER_LIMIT", "2MiB"},
      {"GIT_ALLOW_FILE", "1"},
      {"GIT_ALLOW_HTTP", "http://x"},
      {"GIT_ALLOW_HTTP", "a,,b"},
      {"GIT_ALLOW_HTTP", "-x"},
      {"PROTECT_ENABLED", "yes"},
      {"PROTECT_PUSH_INTERVAL", "99ms"},
      {"PROTECT_FILE_LIMIT", "17GiB"},
      {"PROTECT_UNTRACKED_LIMIT", "-1"},
      {"PROTECT_INCLUDE", "a,,b"},
      {"PROTECT_INCLUDE", R"(["a\nb"])"},
      {"PROTECT_SAVE_DEADLINE", "999ms"},
      {"AGENTS_DRAIN_LIMIT", "25h"},
      {"AGENTS_COMMAND", "run it"},
      {"AGENTS_COMMAND", "[\"{nope}\"]"},
      {"AGENTS_ENVIRONMENT", "A B"},
      {"AGENTS_ENVIRONMENT", "1A"},
      {"LOG_LEVEL", "loud"},
  }));
  CAPTURE(variable, value);
  const auto e = failure_of(load({{}, {{"TOWNKEEPER_" + variable, value}}, {}}));
  CHECK_THAT(e.message, ContainsSubstring("TOWNKEEPER_" + variable) && ContainsSubstring("accepted is"));
}

TEST_CASE("an IPv6 address stands in brackets") {
  CHECK(load({{}, {}, {{"--listen", "[::1]:0"}}}).value().listen == listen_address{"::1", 0});
}

TEST_CASE("a relative workspace becomes absolute") {
  CHECK(load({{}, {}, {{"--workspace", "a/../b"}}}).value().workspace == std::filesystem::current_path() / "b");
}

TEST_CASE("agents are given no variable that holds a secret of the daemon") {
  const auto name = GENERATE(as<std::string>{}, "GASTOWN_CONTAINER_TOKEN", "TOWNKEEPER_CONTROL_TOKEN", "GIT_TOKEN",
                             "GITLAB_TOKEN", "TOWN_SECRET");
  const auto e = failure_of(load({{}, {{"TOWNKEEPER_AGENTS_ENVIRONMENT", "PATH," + name}}, {}}));
  CHECK_THAT(e.message, ContainsSubstring(name + " belongs to the daemon alone"));
}

TEST_CASE("a secret is no flag, and no message shows it") {
  const auto flag = failure_of(load({{}, {}, {{"--control-token", "hunter2-hunter2-hunter2"}}}));
  CHECK_THAT(flag.message, ContainsSubstring("TOWNKEEPER_CONTROL_TOKEN") && !ContainsSubstring("hunter2"));
  const auto spaced = failure_of(load({{}, {{"TOWNKEEPER_CONTROL_TOKEN", "hunter2 hunter2 hunter2"}}, {}}));
  CHECK_THAT(spaced.message, !ContainsSubstring("hunter2") && ContainsSubstring("without spaces"));
  const auto in_file = failure_of(load_text(R"({"git":{"token":["hunter2-hunter2"]}})"));
  CHECK_THAT(in_file.message, !ContainsSubstring("hunter2"));
  const auto newline = failure_of(load({{}, {{"GIT_TOKEN", "hunter2-hunter2\n"}}, {}}));
  CHECK_THAT(newline.message, !ContainsSubstring("hunter2"));
  const auto url = failure_of(load({{}, {{"GASTOWN_API_URL", "https://user:hunter2@host"}}, {}}));
  CHECK_THAT(url.message, !ContainsSubstring("hunter2"));
}

TEST_CASE("a first pause longer than the greatest one is refused") {
  const auto key = GENERATE(as<std::string>{}, "town.retry", "restore.backoff", "supervision.backoff");
  auto variable = "TOWNKEEPER_" + key;
  for (auto& c : variable)
    c = c == '.' ? '_' : static_cast<char>(::toupper(c));
  const auto e = failure_of(load({{}, {{variable + "_FIRST", "2s"}, {variable + "_MAX", "1s"}}, {}}));
  CHECK(e.object == key + "_first");
  CHECK_THAT(e.message, ContainsSubstring(key + "_max"));
}

TEST_CASE("limits of saving that contradict each other are refused") {
  const auto quiet = failure_of(load({{}, {{"TOWNKEEPER_PROTECT_QUIET", "9s"}}, {}}));
  CHECK(quiet.object == "protect.quiet");
  CHECK_THAT(quiet.message, ContainsSubstring("protect.latest"));
  const auto file = failure_of(load({{}, {{"TOWNKEEPER_PROTECT_FILE_LIMIT", "2GiB"}}, {}}));
  CHECK(file.object == "protect.file_limit");
  CHECK_THAT(file.message, ContainsSubstring("protect.point_limit"));
}

TEST_CASE("patterns of ignored files that are saved all the same come from file, variable and flag") {
  CHECK(load({{}, {{"TOWNKEEPER_PROTECT_INCLUDE", ".env, build/*.log"}}, {}}).value().protect.include ==
        std::vector<std::string>{".env", "build/*.log"});
  CHECK(load_text(R"({"protect":{"include":["a,b"]}})").value().protect.include == std::vector<std::string>{"a,b"});
}

TEST_CASE("run needs a town, and says how to name it") {
  const auto no_url = check_runnable(load({}).value());
  REQUIRE_FALSE(no_url);
  CHECK(no_url.error().object == "town.api_url");
  CHECK_THAT(no_url.error().message, ContainsSubstring("GASTOWN_API_URL"));
  const auto no_town = check_runnable(load({{}, {{"GASTOWN_API_URL", "http://t"}}, {}}).value());
  REQUIRE_FALSE(no_town);
  CHECK(no_town.error().object == "town.id");
  CHECK(check_runnable(load({{}, {{"GASTOWN_API_URL", "http://t"}, {"GASTOWN_TOWN_ID", "t"}}, {}}).value()));
}

TEST_CASE("run needs to be able to read the CA files that were named") {
  const std::map<std::string, std::string, std::less<>> environment{
      {"GASTOWN_API_URL", "http://t"}, {"GASTOWN_TOWN_ID", "t"}, {"TOWNKEEPER_GIT_CA_FILE", "/nonexistent/ca.pem"}};
  const auto refused = check_runnable(load({{}, environment, {}}).value());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().object == "git.ca_file");
  CHECK_THAT(refused.error().message, ContainsSubstring("/nonexistent/ca.pem"));
}
