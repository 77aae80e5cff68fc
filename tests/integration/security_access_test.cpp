// Who may do what: every route of the control server with every kind of token, the agents' sockets, the permissions of
// all that is on the disk, and the daemon's memory.
#include <catch2/generators/catch_generators.hpp>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <set>

#include "security_scenario.hpp"
#include "tests/support/command.hpp"
#include "tests/support/secret_search.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

enum class guard { open, control, control_or_container };

struct control_route {
  std::string method, pattern, path;
  guard who = guard::open;
  std::string body = {};
  int right = 200; ///< the answer to whom it is for
};

/// In an order in which each can still be asked: the drain last.
const std::vector<control_route> routes{
    {"GET", "/health", "/health"},
    {"GET", "/livez", "/livez"},
    {"GET", "/readyz", "/readyz?strict"},
    {"GET", "/metrics", "/metrics"},
    {"GET", "/agents/{agent}/status", "/agents/ada/status"},
    {"POST", "/agents/start", "/agents/start", guard::control, "{}", 400}, // seen, and refused for what it says
    {"POST", "/snapshot", "/snapshot", guard::control, "{}"},
    {"POST", "/refresh-token", "/refresh-token", guard::control_or_container, ""}, // the body is the token in force
    {"POST", "/agents/{agent}/stop", "/agents/ada/stop", guard::control, "{}"},
    {"POST", "/drain", "/drain", guard::control, "", 202},
};

/// `METHOD /pattern` of what the source hands to the router.
std::set<std::string> routes_in_source() {
  const auto source = test::bytes_of(fs::path{TOWNKEEPER_SOURCES} / "src/cli/control_routes.cpp");
  const std::regex call{R"re(routes\.add\(\s*"([A-Z]+)",\s*"([^"]+)")re"};
  std::set<std::string> found;
  for (auto at = std::sregex_iterator{source.begin(), source.end(), call}; at != std::sregex_iterator{}; ++at)
    found.insert((*at)[1].str() + " " + (*at)[2].str());
  return found;
}

int ask(const test::container& box, const control_route& route,
        std::vector<std::pair<std::string, std::string>> headers, const std::string& query = {}) {
  test::http_request request;
  request.method = route.method;
  request.url = box.url() + route.path + query;
  request.headers = std::move(headers);
  request.body = route.body;
  const auto answer = test::send(request);
  return answer ? answer->status : 0;
}

std::pair<std::string, std::string> bearer(const std::string& token) {
  return {"Authorization", "Bearer " + token};
}

/// One agent that runs until it is stopped, and a container that may be asked.
struct guarded_town : one_agent_town {
  test::container box;

  guarded_town()
      : box{options()} {}

  test::container_options options() const {
    auto out = container_for(town, configuration(R"(["sleep","600"])", {}, {}, fast_saves));
    out.environment = {{"TOWNKEEPER_CONTROL_TOKEN", control_token}, {"TOWNKEEPER_HTTP_BODY_LIMIT", "16KiB"}};
    return out;
  }

  void wake() {
    integration::wake(box);
    REQUIRE(test::wait_until([&] { return agent_runs(); }));
  }
  bool agent_runs() const {
    const auto answer = box.get("/agents/ada/status");
    return answer.status == 200 && answer.body.find(R"("status":"running")") != std::string::npos;
  }
};

} // namespace

TEST_CASE("every route of the control server without a token, with each wrong one, and with the right one") {
  std::set<std::string> covered;
  for (const auto& route : routes)
    covered.insert(route.method + " " + route.pattern);
  CHECK(covered == routes_in_source());

  guarded_town here;
  here.wake();
  const auto& box = here.box;
  const auto container_token = box.options().token;
  const std::vector<std::string> wrong{"",
                                       "x",
                                       control_token.substr(0, control_token.size() - 1),
                                       control_token + "x",
                                       "C" + control_token.substr(1),
                                       here.town.secret(),
                                       here.town.mint(town_id, "admin"),
                                       here.town.mint("another-town", "container"),
                                       here.town.mint(town_id, "container", std::chrono::minutes{7})};
  for (auto route : routes) {
    CAPTURE(route.method, route.pattern);
    if (route.pattern == "/refresh-token") route.body = R"({"token":")" + container_token + "\"}";
    if (route.who == guard::open) {
      CHECK(ask(box, route, {}) == route.right);
      CHECK(ask(box, route, {bearer("x")}) == route.right);
      continue;
    }
    CHECK(ask(box, route, {}) == 401);
    CHECK(ask(box, route, {}, "?token=" + control_token + "&access_token=" + control_token) == 401);
    CHECK(ask(box, route, {{"Authorization", control_token}}) == 401);
    CHECK(ask(box, route, {{"Authorization", "Basic " + control_token}}) == 401);
    CHECK(ask(box, route, {{"X-Authorization", "Bearer " + control_token}}) == 401);
    for (const auto& token : wrong) {
      CAPTURE(token.size());
      CHECK(ask(box, route, {bearer(token)}) == 401);
      CHECK(ask(box, route, {bearer(token), {"X-Gastown-Epoch", "99"}}) == 401); // nothing is told of the epoch
    }
    CHECK(ask(box, route, {bearer(control_token), {"X-Gastown-Epoch", "99"}}) == 409);
    CHECK(ask(box, route, {bearer(control_token), {"X-Gastown-Epoch", "1x"}}) == 400);
    // Nothing of all that has been done.
    if (route.pattern != "/drain") CHECK(here.agent_runs());
    CHECK_FALSE(box.health()["draining"].GetBool());
    if (route.who == guard::control) CHECK(ask(box, route, {bearer(container_token)}) == 401);
    if (route.who == guard::control_or_container) CHECK(ask(box, route, {bearer(container_token)}) == 200);
    CHECK(ask(box, route, {bearer(control_token), {"X-Gastown-Epoch", "1"}}) == route.right);
  }
  CHECK(here.box.wait_for_exit() == 0); // by POST /drain
}

TEST_CASE(
    "a body that a route has no use for changes nothing, and one beyond the limit is 413 before anything is done") {
  guarded_town here;
  here.wake();
  const auto& box = here.box;
  const std::string too_large(20'000, 'x');
  for (const auto& route : routes) {
    if (route.who == guard::open) continue;
    CAPTURE(route.pattern);
    CHECK(box.post(route.path, too_large).status / 100 == 4);
    CHECK(box.post(route.path, too_large, control_token).status == 413);
  }
  CHECK(here.agent_runs());
  CHECK_FALSE(box.health()["draining"].GetBool());
  const std::string garbage = "\x01\xff{]" + std::string(500, '[');
  for (const auto* path : {"/agents/start", "/snapshot", "/refresh-token"})
    CHECK(box.post(path, garbage, control_token).status == 400);
  CHECK(here.agent_runs());
  CHECK(box.post("/agents/ada/stop", garbage, control_token).status == 200);
  CHECK(box.post("/drain", garbage, control_token).status == 202);
  CHECK(here.box.wait_for_exit() == 0);
}

TEST_CASE("an agent's socket speaks for that agent alone, whatever it says it is") {
  one_agent_town here;
  here.server.make_repository("web");
  here.admin.put_rig("web", here.server.url("web"));
  here.admin.put_agent("web", "bob", "main");
  here.server.demand_token("web", "x-access-token", "git-token-of-web");
  here.admin.put_git_token("web", "git-token-of-web");
  test::container box{container_for(here.town, configuration())};
  integration::wake(box);
  const auto own = box.workspace() / ".townkeeper";
  const auto say = [&](std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.front() = (own / "bin" / arguments.front()).string();
    return test::try_run({.argv = arguments,
                          .environment = {{"TOWNKEEPER_SOCKET", box.socket_of("ada").string()},
                                          {"GASTOWN_AGENT_ID", "bob"},
                                          {"GASTOWN_RIG_ID", "web"}},
                          .input = input});
  };
  CHECK(say({"gt_status", "said on ada's socket"}).status == 0);
  const auto state = here.admin.state();
  CHECK((*record_of(state, "ada"))["message"].IsObject());
  CHECK((*record_of(state, "bob"))["message"].IsNull());
  // The login of another rig: asked for by its path, and (without one) as any login of that host.
  const auto host = "protocol=http\nhost=127.0.0.1:" + std::to_string(here.server.port()) + "\n";
  for (const auto& asked :
       {host + "path=web.git\n\n", host + "path=/web.git\n\n", host + "\n", host + "path=api.git/../web.git\n\n"})
    CHECK(say({"townkeeper", "credential", "get"}, asked).out.find("git-token-of-web") == std::string::npos);
}

// -- permissions ------------------------------------------------------------------------------------------------------

namespace {

/// What may be there, as the bits that must not be set: what is the daemon's own is its user's alone (0700, 0600), what
/// git and agents use may be read by others where the umask allows it, and written to by nobody else.
::mode_t forbidden(const fs::path& below_workspace, ::mode_t mask) {
  const bool is_own = *below_workspace.begin() == ".townkeeper";
  return is_own ? S_IRWXG | S_IRWXO : S_IWGRP | S_IWOTH | mask;
}

std::vector<std::string> too_open(const fs::path& workspace, ::mode_t mask, std::size_t& looked_at) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator{workspace}) {
    struct stat there {};
    if (::lstat(entry.path().c_str(), &there) != 0 || S_ISLNK(there.st_mode)) continue;
    ++looked_at;
    const auto path = entry.path().lexically_relative(workspace);
    const auto open = there.st_mode & (forbidden(path, mask) | S_ISUID | S_ISGID | S_ISVTX);
    if (open != 0) found.push_back(path.string() + " " + std::to_string(there.st_mode & 07777U));
  }
  return found;
}

} // namespace

TEST_CASE("whatever umask the daemon is given, nothing it makes may be written to by others, and its own is its user's "
          "alone") {
  const auto* umask = GENERATE("000", "002", "077");
  CAPTURE(umask);
  const auto mask = static_cast<::mode_t>(std::stoi(umask, nullptr, 8));
  one_agent_town here;
  here.server.commit("api", {"main", {{"dir/deep/file", "content\n"}}});
  witness workers;
  auto options = container_for(here.town, configuration(workers.command(), {}, {}, fast_saves));
  options.launcher = {"sh", "-c", std::string{"umask "} + umask + "; exec \"$@\"", "sh"};
  test::container box{options};
  workers.let_work(true);
  const std::vector<std::string> nothing;
  std::size_t looked_at = 0;
  const auto work = [&](std::size_t steps) {
    integration::wake(box);
    REQUIRE(test::wait_until([&] { return workers.all("ada", "step").size() >= steps; }));
    std::ofstream{box.worktree("api", "ada") / "README", std::ios::app} << "an edit\n";
    REQUIRE(box.wait_for_health(
        [](const auto& h) { return h["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble() == 0; }));
    CHECK(too_open(box.workspace(), mask, looked_at) == nothing); // sockets and records of processes are there too
    integration::sleep(box);
    CHECK(too_open(box.workspace(), mask, looked_at) == nothing);
  };
  workers.let_work(true);
  work(1);
  work(2); // on a warm disk
  box.wipe_disk();
  work(3); // from the recovery point
  CHECK(looked_at > 300);
}

// -- memory -----------------------------------------------------------------------------------------------------------

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

TEST_CASE("the daemon leaves no core dump where everybody else does, its agents among them") {
  const test::temp_dir dir{"cores"};
  const auto with_dumps = "cd '" + dir.path().string() + "' && ulimit -c unlimited && exec \"$@\"";
  test::child_process other{{.argv = {"sh", "-c", with_dumps, "sh", "sh", "-c", "kill -ABRT $$"}}};
  REQUIRE(other.wait(std::chrono::seconds{10}) == 128 + SIGABRT);
  if (!other.dumped_core()) SKIP("this machine writes no core dumps");
  for (const auto& core : fs::directory_iterator{dir.path()})
    fs::remove(core.path());

  one_agent_town here;
  const test::temp_dir seen{"seen"};
  const auto limits = (seen.path() / "limits").string();
  auto options = container_for(here.town, configuration(R"(["sh","-c","cat /proc/self/limits >)" + limits + "\"]"));
  options.launcher = {"sh", "-c", with_dumps, "sh"};
  test::container box{options};
  integration::wake(box);
  REQUIRE(test::wait_until([&] { return test::bytes_of(limits).find("Max realtime timeout") != std::string::npos; }));
  const auto of_agent = test::bytes_of(limits);
  const auto line = of_agent.substr(of_agent.find("Max core file size"));
  CHECK(line.substr(0, line.find('\n')).find("unlimited") != std::string::npos);
  box.process()->signal(SIGABRT);
  CHECK(box.wait_for_exit() == 128 + SIGABRT);
  CHECK_FALSE(box.process()->dumped_core());
  CHECK(fs::is_empty(dir.path()));
  box.kill();
}

TEST_CASE("an agent of the daemon's own user reads neither its memory nor the environment with its tokens") {
  if (::geteuid() != 0) SKIP("needs root, to become another user");
  constexpr uid_t nobody = 65534;
  one_agent_town here;
  const test::temp_dir seen{"seen"};
  // $PPID is the daemon.
  const auto look = "cd " + seen.path().string() +
                    " && cat /proc/$PPID/environ >environ; head -c 1 /proc/$PPID/mem >mem; ls /proc/$PPID/fd >fd; "
                    "readlink /proc/$PPID/cwd >cwd; cat /proc/self/environ >own; : >done; exec sleep 600";
  auto options = container_for(here.town, configuration(R"(["sh","-c",")" + look + "\"]", {}, {}, fast_saves));
  options.launcher = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig", "KILL", "--"};
  options.environment["HOME"] = seen.path().string();
  test::container box{options};
  fs::create_directory(box.workspace());
  for (const auto& path : {seen.path(), box.directory(), box.workspace()})
    REQUIRE(::chown(path.c_str(), nobody, nobody) == 0);
  integration::wake(box);
  REQUIRE(test::wait_until([&] { return fs::exists(seen.path() / "done"); }));
  for (const auto* what : {"environ", "mem", "fd", "cwd"}) {
    CAPTURE(what);
    CHECK(fs::file_size(seen.path() / what) == 0);
  }
  CHECK(test::bytes_of(seen.path() / "own").find("GASTOWN_AGENT_ID") != std::string::npos);

  // And it does all its work: it watches by inotify, saves, restores, and finds its own executable.
  std::ofstream{box.worktree("api", "ada") / "new"} << "untracked\n";
  REQUIRE(::chown((box.worktree("api", "ada") / "new").c_str(), nobody, nobody) == 0);
  const auto ref = ref_of("ada");
  REQUIRE(test::wait_until([&] { return !test::id_of(here.server.repository_path("api"), ref).empty(); }));
  integration::sleep(box);
  box.wipe_disk();
  fs::create_directory(box.workspace());
  REQUIRE(::chown(box.workspace().c_str(), nobody, nobody) == 0);
  integration::wake(box);
  CHECK(text(agent_in(box.health(), "ada"), "outcome") == "recovered");
  CHECK(test::bytes_of(box.worktree("api", "ada") / "new") == "untracked\n");
}

#endif
