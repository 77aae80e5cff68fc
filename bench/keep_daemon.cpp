#include <signal.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/keep.hpp"
#include "bench/measure.hpp"
#include "tests/support/container.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/town.hpp"

namespace townkeeper::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t files = 5'000;
const std::string town_id = "bench";

std::string agent_name(std::uint32_t a) {
  return "agent" + std::to_string(a);
}

/// A server and a town with one rig of so many agents, and containers of it one after another.
class sample_town {
public:
  explicit sample_town(std::uint32_t agents)
      : agents_(agents) {
    server_.make_repository("api", {.empty = true});
    make_small_files(server_.repository_path("api"), files);
    admin_.put_rig("api", server_.url("api"));
    for (std::uint32_t a = 0; a < agents; ++a) {
      const auto branch = "work/" + agent_name(a);
      test::run_git(server_.repository_path("api"), {"branch", branch, "main"});
      admin_.put_agent("api", agent_name(a), branch);
    }
  }

  /// A container that has restored everything.
  std::unique_ptr<test::container> wake(const std::string& protect) const {
    test::container_options options;
    options.api_url = town_.base_url();
    options.town_id = town_id;
    options.token = town_.mint(town_id, "container");
    options.config = "{\"protect\":{" + protect + "}}";
    auto box = std::make_unique<test::container>(options);
    box->start();
    if (!test::wait_until([&] { return box->get("/readyz?strict").status == 200; }, std::chrono::minutes{5}))
      fail("townkeeper did not become ready:\n" + box->log());
    return box;
  }

  /// What the agent's newest point of any epoch has of a path; empty: nothing.
  std::string saved(std::uint32_t agent, const std::string& path) const {
    const auto repository = server_.repository_path("api");
    const auto ref =
        test::run_git(repository, {"for-each-ref", "--sort=-version:refname", "--count=1", "--format=%(refname)",
                                   "refs/townkeeper/" + town_id + "/" + agent_name(agent)});
    return ref.empty() ? ref : test::try_git(repository, {"cat-file", "blob", ref + ":worktree/" + path}).out;
  }

  std::uint32_t agents() const { return agents_; }

private:
  std::uint32_t agents_;
  test::remote server_;
  test::town town_;
  test::town_admin admin_{town_, town_id};
};

/// Seconds all threads of a process have run so far (schedstat of proc(5): nanoseconds).
double cpu_seconds(pid_t process) {
  double sum = 0;
  for (const auto& thread : fs::directory_iterator{"/proc/" + std::to_string(process) + "/task"}) {
    std::ifstream in{thread.path() / "schedstat"};
    double ran_ns = 0;
    if (in >> ran_ns) sum += ran_ns / 1e9;
  }
  return sum;
}

double resident_mib(pid_t process) {
  std::ifstream in{"/proc/" + std::to_string(process) + "/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  fail("no VmRSS");
}

struct idle_cost {
  double cpu_percent = 0, resident = 0;
};

idle_cost idle_cost_of(const sample_town& town, const std::string& protect) {
  constexpr std::chrono::seconds settling{30}, watched{10};
  const auto box = town.wake(protect);
  const auto process = box->process()->pid();
  std::this_thread::sleep_for(settling);
  const double before = cpu_seconds(process);
  const double took = seconds_of([&] { std::this_thread::sleep_for(watched); });
  const idle_cost cost{100 * (cpu_seconds(process) - before) / took, resident_mib(process)};
  box->terminate();
  box->wait_for_exit();
  return cost;
}

} // namespace

void measure_idle() {
  constexpr std::uint32_t worktrees = 16;
  const sample_town town{worktrees};
  const auto without = idle_cost_of(town, R"("enabled":false)");
  const auto with = idle_cost_of(town, "");
  std::printf("watching %u idle worktrees of %u files for 10 s: %.2f %% of a core (%.2f %% without; limit: 1 %% more), "
              "%.1f MiB resident (%.1f MiB without: %+.1f, limit 60)\n",
              worktrees, files, with.cpu_percent, without.cpu_percent, with.resident, without.resident,
              with.resident - without.resident);
  std::fflush(stdout);
}

void measure_drain(std::uint32_t runs) {
  constexpr std::uint32_t agents = 8, changed = 50;
  const sample_town town{agents};
  std::vector<double> took;
  for (std::uint32_t run = 0; run < runs; ++run) {
    const auto line = "changed in run " + std::to_string(run);
    // Nothing is saved before the signal comes.
    const auto box = town.wake(R"("quiet":"1m","latest":"10m")");
    for (std::uint32_t a = 0; a < agents; ++a)
      for (std::uint32_t i = 0; i < changed; ++i)
        append(box->worktree("api", agent_name(a)) / small_file(i * (files / changed)), line);
    took.push_back(seconds_of([&] {
      box->terminate();
      if (box->wait_for_exit() != 0) fail("something was not saved:\n" + box->log());
    }));
    for (std::uint32_t a = 0; a < agents; ++a)
      if (!town.saved(a, small_file(0)).ends_with(line + '\n')) fail(agent_name(a) + " was not saved");
  }
  std::printf("drain of %u agents x %u files, %u changed each: %.2f s from SIGTERM to exit (%.2f to %.2f, %u runs; "
              "limit 3 s)\n",
              agents, files, changed, median(took), *std::min_element(took.begin(), took.end()),
              *std::max_element(took.begin(), took.end()), runs);
  std::fflush(stdout);
}

} // namespace townkeeper::bench
