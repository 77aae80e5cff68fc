// A town of a few repositories and four agents works, loses its disk, and comes back: on a real Durable Object, a real
// git server and the real daemon. Prints what happened. Called by scripts/demo.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/container.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/town.hpp"

namespace townkeeper::demo {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::minutes patience{10};
constexpr int steps_before_sleep = 3;

struct rig {
  std::string name, source, default_branch;
};

struct agent {
  std::string id, rig, branch;
  std::string step_before, head_before, status_before; ///< before the disk was lost
  double restored_after_s = 0, resumed_after_s = 0;
  std::string files;
};

double since(clock::time_point begun) {
  return std::chrono::duration<double>{clock::now() - begun}.count();
}

void need(bool held, const std::string& what) {
  if (!held) throw std::runtime_error{what};
}

/// A repository of `source` on the demo's own server: a mirror of a git repository (nothing is ever written to the
/// original), or a directory of files as one commit.
rig host(const test::remote& server, const std::string& name, const std::string& source) {
  const auto where = server.repository_path(name);
  const bool is_tree = std::filesystem::is_directory(source) &&
                       !std::filesystem::exists(std::filesystem::path{source} / ".git") &&
                       !std::filesystem::exists(std::filesystem::path{source} / "HEAD");
  if (is_tree) {
    test::run_git("/", {"init", "-q", "--bare", where.string()});
    const std::vector<std::string> on{"--git-dir=" + where.string(), "--work-tree=" + source};
    const auto with = [&](std::vector<std::string> more) {
      auto all = on;
      all.insert(all.end(), more.begin(), more.end());
      return test::run_git(source, all);
    };
    with({"add", "-A", "."});
    with({"commit", "-q", "-m", "The files of " + source});
    with({"config", "core.bare", "true"});
  } else {
    test::run_git("/", {"clone", "-q", "--mirror", source, where.string()});
  }
  test::run_git(where, {"config", "http.receivepack", "true"});
  auto head = test::try_git(where, {"symbolic-ref", "--short", "HEAD"});
  need(head.status == 0 && !test::id_of(where, "HEAD").empty(), source + " has no commit on its default branch");
  while (!head.out.empty() && head.out.back() == '\n')
    head.out.pop_back();
  return {name, source, head.out};
}

std::optional<std::pair<std::string, std::string>> last(const std::filesystem::path& journal, const std::string& word) {
  std::optional<std::pair<std::string, std::string>> found;
  std::ifstream in{journal};
  for (std::string line; std::getline(in, line);) {
    std::string w, id, what;
    std::istringstream{line} >> w >> id >> what;
    if (w == word && !what.empty()) found = std::pair{id, what};
  }
  return found;
}

std::size_t starts(const std::filesystem::path& journal) {
  std::ifstream in{journal};
  std::size_t count = 0;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("start ")) ++count;
  return count;
}

const rapidjson::Value* agent_in(const rapidjson::Value& health, const std::string& id) {
  for (const auto& r : health["recovery"]["rigs"].GetArray())
    for (const auto& a : r["agents"].GetArray())
      if (a["agentId"].GetString() == id) return &a;
  return nullptr;
}

int run(const std::vector<std::pair<std::string, std::string>>& sources) {
  const test::temp_dir witness{"demo"};
  const auto journal = [&](const agent& a) { return witness.path() / (a.id + ".journal"); };
  test::remote server;
  test::town town;
  const std::string town_id = "demo";
  const test::town_admin admin{town, town_id};

  std::vector<rig> rigs;
  for (const auto& [name, source] : sources) {
    std::printf("hosting %s from %s\n", name.c_str(), source.c_str());
    std::fflush(stdout);
    rigs.push_back(host(server, name, source));
    admin.put_rig(name, server.url(name), rigs.back().default_branch);
  }
  std::vector<agent> agents;
  const char* const names[]{"ada", "bob", "cyd", "dan"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    const auto& r = rigs[i % rigs.size()];
    agents.push_back({names[i], r.name, std::string{"demo/"} + names[i], {}, {}, {}, 0, 0, {}});
    admin.put_agent(r.name, names[i], agents.back().branch, R"(,"baseRef":")" + r.default_branch + "\"");
  }

  test::container_options options;
  options.api_url = town.base_url();
  options.town_id = town_id;
  options.token = town.mint(town_id, "container");
  options.config = R"({"agents":{"command":["/bin/sh",")" TOWNKEEPER_WORKER R"(","{agentId}",")" +
                   witness.path().string() + R"("]}})";
  test::container box{options};
  std::ofstream{witness.path() / "go"} << "";
  std::printf("the town wakes for the first time …\n");
  std::fflush(stdout);
  box.start();
  need(box.wait_for_phase("ready", patience), "the town did not become ready:\n" + box.log());
  for (auto& a : agents)
    need(test::wait_until(
             [&] {
               const auto step = last(journal(a), "step");
               return step && std::stoi(step->first) >= steps_before_sleep;
             },
             patience),
         a.id + " did not get on:\n" + box.log());
  std::filesystem::remove(witness.path() / "go");
  for (auto& a : agents) {
    need(test::wait_until([&] { return std::filesystem::exists(witness.path() / (a.id + ".idle")); }, patience),
         a.id + " does not pause");
    const auto step = last(journal(a), "step");
    a.step_before = step->first;
    // Work that exists nowhere else.
    const auto worktree = box.worktree(a.rig, a.id);
    test::run_git(worktree, {"commit", "-q", "--allow-empty", "-m", "not pushed"});
    std::ofstream{worktree / ("progress-" + a.id + ".txt"), std::ios::app} << "an edit\n";
    std::ofstream{worktree / "draft.txt"} << "untracked, by " << a.id << "\n";
    a.head_before = test::run_git(worktree, {"rev-parse", "HEAD"});
    a.status_before = test::run_git(worktree, {"status", "--porcelain"});
  }
  std::printf(
      "four agents have committed, pushed and checkpointed; each has a commit, an edit and a draft that are not "
      "pushed; SIGTERM\n");
  const auto told = clock::now();
  box.terminate();
  need(box.wait_for_exit().value_or(-1) == 0, "something was not saved:\n" + box.log());
  std::printf("all of it was saved and the agents ended after %.2f s; the disk is gone\n", since(told));
  box.wipe_disk();

  const auto begun = clock::now();
  const auto note_started = [&] {
    for (auto& a : agents)
      if (a.resumed_after_s == 0 && starts(journal(a)) == 2) a.resumed_after_s = since(begun);
  };
  std::printf("the next container starts on an empty disk …\n\n");
  std::fflush(stdout);
  box.start();
  double progress = 0, ready_after_s = 0;
  need(box.wait_for_health(
           [&](const rapidjson::Value& h) {
             progress = h["recovery"]["progress"].GetDouble();
             note_started();
             for (auto& a : agents) {
               const auto* shown = agent_in(h, a.id);
               if (a.restored_after_s > 0 || shown == nullptr || !shown->HasMember("outcome")) continue;
               need(std::string{"recovered"} == (*shown)["outcome"].GetString(),
                    a.id + " was not recovered:\n" + box.log());
               a.restored_after_s = since(begun);
               a.files = std::to_string((*shown)["filesTotal"].GetInt64());
             }
             return std::string{"ready"} == h["recovery"]["phase"].GetString();
           },
           patience),
       "the town did not come back:\n" + box.log());
  ready_after_s = since(begun);
  need(test::wait_until(
           [&] {
             note_started();
             return std::all_of(agents.begin(), agents.end(), [](const agent& a) { return a.resumed_after_s > 0; });
           },
           patience),
       "an agent was not dispatched again:\n" + box.log());

  std::printf("%-6s %-14s %-10s %8s %14s %14s   %s\n", "agent", "rig", "branch", "files", "restored after",
              "running after", "what it found");
  bool whole = true;
  for (const auto& a : agents) {
    const auto worktree = box.worktree(a.rig, a.id);
    const auto resumed = last(journal(a), "start");
    const bool work = test::run_git(worktree, {"status", "--porcelain"}) == a.status_before;
    const bool tip = test::run_git(worktree, {"rev-parse", "HEAD"}) == a.head_before;
    const bool goes_on = resumed && std::stoi(resumed->second) >= std::stoi(a.step_before);
    whole = whole && work && tip && goes_on && starts(journal(a)) == 2; // once in each container
    std::printf("%-6s %-14s %-10s %8s %12.2f s %12.2f s   %s, %s, goes on from step %s\n", a.id.c_str(), a.rig.c_str(),
                a.branch.c_str(), a.files.c_str(), a.restored_after_s, a.resumed_after_s,
                tip ? "its own commit" : "ANOTHER COMMIT", work ? "edit and draft are back" : "ITS WORK IS NOT BACK",
                resumed ? resumed->second.c_str() : "?");
  }
  std::printf("\nready after %.2f s (progress %.0f %%); every agent dispatched once\n", ready_after_s, progress * 100);
  box.terminate();
  need(box.wait_for_exit().value_or(-1) == 0, "the daemon did not end well:\n" + box.log());
  need(whole, "something was not what it should be: see the table");
  return 0;
}

} // namespace
} // namespace townkeeper::demo

int main(int argc, char** argv) {
  std::vector<std::pair<std::string, std::string>> sources;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto equals = argument.find('=');
    if (equals == std::string::npos || equals == 0) {
      std::fprintf(stderr, "demo: '%s' is not NAME=SOURCE\n", argv[i]);
      return 64;
    }
    sources.emplace_back(argument.substr(0, equals), argument.substr(equals + 1));
  }
  try {
    return townkeeper::demo::run(sources);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "demo: %s\n", e.what());
    return 1;
  }
}
