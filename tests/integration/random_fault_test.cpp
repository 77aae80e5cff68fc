#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include "scenario.hpp"
#include "tests/support/http_fault_proxy.hpp"
#include "tests/support/promise_witness.hpp"

/// Wakes with one random fault each.
using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

using phase = test::http_rule::phase;
using kind = test::fault::kind;
using std::chrono::milliseconds;

/// The town of scenario.hpp with a proxy before the town and one before the remotes.
struct faulty_town {
  std::mt19937_64 random;
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  test::http_fault_proxy to_town{town.port()}, to_git{server.port()};
  witness workers;
  test::container box;

  explicit faulty_town(std::uint64_t seed)
      : random{seed}
      , box{container_for(town, configuration(workers.command(), {}, R"(,"request_timeout":"1s")"))} {
    settle(server, admin);
    for (const auto* rig : {"api", "web", "infra"})
      admin.put_rig(rig, to_git.url(rig));
    box.options().api_url = to_town.base_url();
  }

  std::uint64_t below(std::uint64_t n) { return random() % n; }
  /// Some instant of a wake.
  void pause(milliseconds most) {
    std::this_thread::sleep_for(milliseconds{below(static_cast<std::uint64_t>(most.count())) + 1});
  }
  std::string one_rig() { return places[below(places.size())].rig; }

  void git_rule(test::http_rule rule) {
    rule.path = "/" + one_rig() + ".git";
    to_git.set({std::move(rule)});
  }
  void town_rule(test::http_rule rule) { to_town.set({std::move(rule)}); }
  void end_faults() {
    to_git.clear();
    to_town.clear();
    town.resume();
    town.start();
  }

  /// Some file of some repository on the warm disk goes, or changes in its middle.
  void damage_disk() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator{box.workspace() / "rigs" / one_rig() / "repo.git"})
      if (entry.is_regular_file() && !entry.is_symlink()) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty()) return;
    const auto& file = files[below(files.size())];
    fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
    if (below(2) == 0)
      fs::remove(file);
    else
      fs::resize_file(file, fs::file_size(file) / 2);
    std::printf("  damaged %s\n", file.lexically_relative(box.workspace()).c_str());
  }
};

struct named_fault {
  const char* name;
  std::function<void(faulty_town&)> begin = {};  ///< before the daemon starts, on a disk that was wiped
  std::function<void(faulty_town&)> during = {}; ///< at some instant after it has started
  std::function<void(faulty_town&)> warm = {};   ///< in place of `begin`: the disk is not wiped
};

const std::vector<named_fault> faults{
    {"town answers 500",
     [](auto& t) {
       t.town_rule({.answer = test::fixed_answer{500, {}, "broken"}});
     }},
    {"town answers 429",
     [](auto& t) {
       t.town_rule({.answer = test::fixed_answer{429, {{"Retry-After", "1"}}, "{}"}});
     }},
    {"town is slow",
     [](auto& t) {
       t.town_rule({.what = {.what = kind::latency, .delay = milliseconds{200}, .jitter = milliseconds{800}}});
     }},
    {"town is down at boot", [](auto& t) { t.town.kill(); }},
    {"town dies during the wake", {}, [](auto& t) { t.town.kill(); }},
    {"town stops answering", {}, [](auto& t) { t.town.hang(); }},
    {"boot's answer is truncated",
     [](auto& t) {
       t.town_rule({.path = "*/container-boot", .what = {kind::cut, 200}});
     }},
    {"boot's answer is lost",
     [](auto& t) { t.town_rule({.path = "*/container-boot", .when = phase::response_head, .what = {kind::reset}}); }},
    {"ready's answer is lost",
     [](auto& t) { t.town_rule({.path = "*/container-ready", .when = phase::response_head, .what = {kind::reset}}); }},
    {"ready is said twice",
     [](auto& t) { t.town_rule({.path = "*/container-ready", .when = phase::request, .what = {kind::duplicate}}); }},
    {"remote answers 500",
     [](auto& t) {
       t.git_rule({.answer = test::fixed_answer{500, {}, "broken"}});
     }},
    {"remote answers 401",
     [](auto& t) {
       t.git_rule({.answer = test::fixed_answer{401, {{"WWW-Authenticate", "Basic realm=\"git\""}}, "no"}});
     }},
    {"remote answers 429",
     [](auto& t) {
       t.git_rule({.answer = test::fixed_answer{429, {{"Retry-After", "1"}}, "slowly"}});
     }},
    {"remote redirects elsewhere",
     [](auto& t) {
       t.git_rule({.answer = test::fixed_answer{302, {{"Location", "http://127.0.0.1:1/x.git/info/refs"}}, {}}});
     }},
    {"remote stalls",
     [](auto& t) {
       t.git_rule({.what = {kind::stall, static_cast<std::int64_t>(t.below(3000))}});
     }},
    {"remote cuts",
     [](auto& t) {
       t.git_rule({.what = {kind::cut, static_cast<std::int64_t>(t.below(3000))}});
     }},
    {"remote resets",
     [](auto& t) {
       t.git_rule({.what = {kind::reset, static_cast<std::int64_t>(t.below(3000))}});
     }},
    {"remote flips a bit",
     [](auto& t) {
       t.git_rule({.what = {kind::flip, static_cast<std::int64_t>(t.below(3000))}});
     }},
    {"remote drips",
     [](auto& t) {
       t.git_rule({.what = {kind::drip, 500}});
     }},
    {"remote is down", [](auto& t) { t.git_rule({.when = phase::request, .what = {kind::reset}}); }},
    {"SIGKILL in mid-restore",
     {},
     [](auto& t) {
       t.box.kill();
       t.box.start();
     }},
    {"SIGKILL in mid-restore, disk wiped",
     {},
     [](auto& t) {
       t.box.kill();
       t.box.wipe_disk();
       t.box.start();
     }},
    {"warm disk damaged", {}, {}, [](auto& t) { t.damage_disk(); }},
    {"warm disk damaged twice",
     {},
     {},
     [](auto& t) {
       t.damage_disk();
       t.damage_disk();
     }},
};

} // namespace

TEST_CASE(
    "wakes with a random fault each, which passes after a while: every one ends ready, with every agent at the right "
    "bytes") {
  const int wakes = count_of("TOWNKEEPER_FAULT_WAKES", 8);
  const auto seed = seed_of_run();
  faulty_town t{seed};
  test::promise_witness promises{t.admin,
                                 {{"api", t.server.repository_path("api")},
                                  {"web", t.server.repository_path("web")},
                                  {"infra", t.server.repository_path("infra")}}};
  std::map<std::string, std::size_t> starts;
  for (int wake = 0; wake < wakes; ++wake) {
    const auto& f = faults[t.below(faults.size())];
    CAPTURE(seed, wake, f.name);
    const auto begun = std::chrono::steady_clock::now();
    if (f.warm && wake > 0)
      f.warm(t);
    else
      t.box.wipe_disk();
    if (f.begin) f.begin(t);
    t.box.start();
    if (f.during) {
      t.pause(milliseconds{600});
      f.during(t);
    }
    t.pause(milliseconds{3000});
    t.end_faults();
    // The town's word as well: a dispatch comes after it, and only then has everything been said.
    const bool ready = promises.watch(t.box, [&](const rapidjson::Value& h) {
      return text(&h["recovery"], "phase") == "ready" && std::all_of(places.begin(), places.end(), [&](const place& p) {
               return dispatched(t.admin.dispatches(), p.agent, h["recovery"]["epoch"].GetInt64()) >= 1;
             });
    });
    std::printf("wake %d (seed %llu): %s: %.1f s\n", wake, static_cast<unsigned long long>(seed), f.name,
                std::chrono::duration<double>{std::chrono::steady_clock::now() - begun}.count());
    std::fflush(stdout);
    INFO(t.box.log());
    REQUIRE(ready);
    for (const auto& p : places) {
      check_restored(t.box.worktree(p.rig, p.agent), p.branch, t.server.tip(p.rig, p.branch));
      const auto journal = t.workers.all(p.agent, "start");
      for (auto i = starts[p.agent]; i < journal.size(); ++i)
        promises.saw_start(p.agent, journal[i].id);
      starts[p.agent] = journal.size();
    }
    t.box.kill();
  }
  for (const auto& broken : promises.broken_promises())
    FAIL_CHECK(broken);
  std::printf("%d wakes with a random fault each: all ready; %zu readies, %zu dispatches\n", wakes, promises.readies(),
              promises.dispatches());
}
