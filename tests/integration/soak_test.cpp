#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <thread>

#include "scenario.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/http_fault_proxy.hpp"
#include "tests/support/promise_witness.hpp"

/// Two towns for a long time: in one a single daemon lives through every fault, in the other containers come and go.
using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

using phase = test::http_rule::phase;
using kind = test::fault::kind;
using clock_type = std::chrono::steady_clock;
using std::chrono::milliseconds;
using namespace std::string_literals;

constexpr int rigs = 4, agents_per_rig = 8;
const std::string sleepy = "hillside"; ///< the town whose containers come and go

std::string rig_name(int i) {
  return "rig" + std::to_string(i);
}
std::string agent_name(int rig, int i) {
  return "agent" + std::to_string(rig) + "-" + std::to_string(i);
}

/// What a long-lived daemon holds while nothing happens to it.
struct footprint {
  double at_s = 0;
  std::int64_t resident = 0, anonymous = 0, descriptors = 0;
};

/// The least of some looks: connections that are just being closed are none it holds.
footprint at_rest(const test::container& box, double at_s) {
  footprint out{at_s, box.resident_bytes(), box.anonymous_bytes(), box.descriptors()};
  for (int look = 0; look < 30; ++look) {
    std::this_thread::sleep_for(milliseconds{100});
    out.descriptors = std::min(out.descriptors, box.descriptors());
    out.resident = std::min(out.resident, box.resident_bytes());
    out.anonymous = std::min(out.anonymous, box.anonymous_bytes());
  }
  return out;
}

struct town_of_rigs {
  test::remote& server;
  test::http_fault_proxy& to_git;
  const std::string town_name;
  test::town_admin admin;
  editing workers;
  test::container box;

  town_of_rigs(test::remote& remote, test::http_fault_proxy& git, test::town& town, test::http_fault_proxy& to_town,
               const std::string& id)
      : server{remote}
      , to_git{git}
      , town_name{id}
      , admin{town, id}
      , box{options(town, to_town, id, workers)} {
    for (int rig = 0; rig < rigs; ++rig) {
      const auto repository = id + "-" + rig_name(rig);
      server.make_repository(repository);
      admin.put_rig(rig_name(rig), to_git.url(repository));
      for (int i = 0; i < agents_per_rig; ++i) {
        const auto agent = agent_name(rig, i);
        server.commit(repository, {"work/" + agent, {{"begin", agent}}, {}, "begin", "main"});
        admin.put_agent(rig_name(rig), agent, "work/" + agent,
                        R"(,"headCommit":")" + server.tip(repository, "work/" + agent) + "\"");
      }
    }
  }
  static test::container_options options(test::town& town, test::http_fault_proxy& to_town, const std::string& id,
                                         const editing& workers) {
    auto config =
        configuration(workers.command("2"), {}, R"(,"request_timeout":"2s")",
                      R"("push_interval":"2s","quiet":"500ms","latest":"2s","backoff_max":"1s","save_deadline":"30s")");
    // 64 agents, two daemons and the servers on few processors: a push may be long in coming without any fault, and one
    // that is given up too early is made again beside itself.
    const std::string hasty = R"("stall_timeout":"3s")";
    config.replace(config.find(hasty), hasty.size(), R"("stall_timeout":"10s")");
    auto out = container_for(town, config);
    out.api_url = to_town.base_url();
    out.town_id = id;
    out.token = town.mint(id, "container", std::chrono::hours{24});
    return out;
  }
  std::map<std::string, std::filesystem::path> repositories(const std::string& id) const {
    std::map<std::string, std::filesystem::path> out;
    for (int rig = 0; rig < rigs; ++rig)
      out[rig_name(rig)] = server.repository_path(id + "-" + rig_name(rig));
    return out;
  }
  bool all_saved() const {
    const auto health = box.health();
    return health.IsObject() && text(&health["recovery"], "phase") == "ready" &&
           health["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble() == 0;
  }
  /// The daemon's word is not enough: a watcher that sees nothing any more has it say that all is saved.
  bool numbers_are_on_remote() const {
    const auto state = admin.state();
    const auto repository = repositories(town_name);
    const auto wanted = numbers();
    for (const auto& rig : state["rigs"].GetArray())
      for (const auto& agent : rig["agents"].GetArray()) {
        if (!agent.HasMember("recovery") || !agent["recovery"].IsObject()) return false;
        const std::string id = agent["agentId"].GetString(), work = agent["recovery"]["commit"].GetString() + "^1"s;
        const auto& at = repository.at(rig["rigId"].GetString());
        auto shown = test::try_git(at, {"show", work + ":edit-" + id + ".txt"});
        if (shown.status != 0) shown = test::try_git(at, {"show", work + "^3:edit-" + id + ".txt"}); // untracked yet
        if (shown.status != 0 || std::stoll(shown.out) != wanted.at(id)) return false;
      }
    return true;
  }
  /// The number in each agent's file.
  std::map<std::string, std::int64_t> numbers() const {
    std::map<std::string, std::int64_t> out;
    for (int rig = 0; rig < rigs; ++rig)
      for (int i = 0; i < agents_per_rig; ++i) {
        const auto agent = agent_name(rig, i);
        std::ifstream{box.worktree(rig_name(rig), agent) / ("edit-" + agent + ".txt")} >> out[agent];
      }
    return out;
  }
};

} // namespace

TEST_CASE("soak", "[.soak]") {
  const auto duration = std::chrono::seconds{count_of("TOWNKEEPER_SOAK_SECONDS", 180)};
  const auto seed = seed_of_run();
  std::mt19937_64 random{seed};
  const auto begun = clock_type::now();
  const auto passed = [&] { return std::chrono::duration<double>{clock_type::now() - begun}.count(); };

  test::remote server;
  test::town town;
  test::http_fault_proxy to_town{town.port(), seed}, to_git{server.port(), seed};
  town_of_rigs waking{server, to_git, town, to_town, sleepy}, living{server, to_git, town, to_town, town_id};
  test::promise_witness promises{waking.admin, waking.repositories(sleepy)};
  test::promise_witness of_living{living.admin, living.repositories(town_id)};
  living.box.start();
  REQUIRE(of_living.watch(
      living.box, [&](const auto& h) { return text(&h["recovery"], "phase") == "ready"; }, std::chrono::minutes{3}));
  living.workers.let_work(true);

  std::vector<footprint> prints;
  std::map<std::string, std::int64_t> saved;
  int cycle = 0, kills = 0, drains = 0;
  while (clock_type::now() - begun < duration) {
    CAPTURE(seed, cycle);
    // A wake under faults of both proxies.
    const auto rule = [&](int n) -> std::vector<test::http_rule> {
      switch (random() % 7) {
      case 0:
        return {{.answer = test::fixed_answer{503, {}, "down"}, .times = n}};
      case 1:
        return {{.what = {kind::cut, static_cast<std::int64_t>(random() % 2000)}, .times = n}};
      case 2:
        return {{.when = phase::response_head, .what = {kind::reset}, .times = n}};
      case 3:
        return {{.what = {kind::stall, static_cast<std::int64_t>(random() % 2000)}, .times = n}};
      case 4:
        return {{.what = {.what = kind::latency, .delay = milliseconds{50}, .jitter = milliseconds{300}}}};
      case 5:
        return {{.when = phase::request, .what = {kind::duplicate}, .times = n}};
      default:
        return {};
      }
    };
    to_town.set(rule(10));
    to_git.set(rule(10));
    if (random() % 8 == 0) {
      town.kill();
      town.start();
    }
    // Nobody works until it has been seen what came back.
    waking.workers.let_work(false);
    waking.box.start();
    std::this_thread::sleep_for(milliseconds{random() % 4000});
    to_town.clear();
    to_git.clear();
    INFO(waking.box.log().substr(waking.box.log().size() - std::min<std::size_t>(waking.box.log().size(), 20'000)));
    REQUIRE(promises.watch(
        waking.box, [&](const auto& h) { return text(&h["recovery"], "phase") == "ready"; }, std::chrono::minutes{3}));
    // What was saved at the last sleep is back, or more.
    const auto numbers = waking.numbers();
    for (const auto& [agent, n] : saved) {
      CAPTURE(agent);
      CHECK(numbers.at(agent) >= n);
    }
    waking.workers.let_work(true);
    std::this_thread::sleep_for(milliseconds{2000 + random() % 4000});
    promises.look(waking.box);
    of_living.look(living.box);
    // A kill may lose the last seconds, never what came back once.
    saved = numbers;
    if (random() % 3 == 0) {
      ++kills;
      waking.box.kill();
    } else {
      ++drains;
      saved = waking.numbers();
      const auto before = waking.box.log().size();
      waking.box.terminate();
      const auto code = waking.box.wait_for_exit(std::chrono::minutes{2});
      INFO(waking.box.log().substr(before));
      CHECK(code.value_or(-1) == 0);
      waking.box.kill();
    }
    waking.box.wipe_disk();

    // Like with like: the one that lives is looked at when all its work is saved and nobody works.
    living.workers.let_work(false);
    REQUIRE(test::wait_until([&] { return living.all_saved(); }, std::chrono::minutes{2}));
    REQUIRE(test::wait_until([&] { return living.numbers_are_on_remote(); }, std::chrono::minutes{2}));
    prints.push_back(at_rest(living.box, passed()));
    living.workers.let_work(true);
    ++cycle;
    std::printf("cycle %d at %.0f s: RSS %.2f MiB (anonymous %.2f), %lld descriptors\n", cycle, passed(),
                static_cast<double>(prints.back().resident) / (1 << 20),
                static_cast<double>(prints.back().anonymous) / (1 << 20),
                static_cast<long long>(prints.back().descriptors));
    std::fflush(stdout);
  }
  // After the first ten minutes, or the first half of a shorter run.
  const double warm = std::min(600.0, std::chrono::duration<double>{duration}.count() / 2);
  const auto first = std::find_if(prints.begin(), prints.end(), [&](const footprint& p) { return p.at_s >= warm; });
  REQUIRE(first != prints.end());
  const auto most =
      std::max_element(first, prints.end(), [](const auto& a, const auto& b) { return a.resident < b.resident; });
  const double growth = static_cast<double>(most->resident) / static_cast<double>(first->resident) - 1;
  // A leak raises every sample; what comes and goes (kept connections) does not raise the least of them.
  const auto least = [](auto begin, auto end) {
    return std::min_element(begin, end, [](const auto& a, const auto& b) { return a.descriptors < b.descriptors; })
        ->descriptors;
  };
  const auto half = first + (prints.end() - first + 1) / 2;
  const auto descriptors_before = least(first, half);
  const auto descriptors = half == prints.end() ? descriptors_before : least(half, prints.end());
  for (auto* each : {&promises, &of_living})
    for (const auto& broken : each->broken_promises())
      FAIL_CHECK(broken);
  std::printf(
      "soak: %.0f s, seed %llu, %d wakes (%d drains, %d kills), %zu saves read back, %zu readies, %zu dispatches; "
      "one daemon all the time: RSS %+.1f %%, descriptors %lld, then %lld\n",
      passed(), static_cast<unsigned long long>(seed), cycle, drains, kills, promises.saves() + of_living.saves(),
      promises.readies() + of_living.readies(), promises.dispatches() + of_living.dispatches(), 100 * growth,
      static_cast<long long>(descriptors_before), static_cast<long long>(descriptors));
  CHECK(growth <= 0.05);
  CHECK(descriptors <= descriptors_before);
}
