// What probes cost while the endpoint is under siege: 10,000 silent connections, 500 slowloris clients and a wake of
// 32 worktrees, all at once.
//
//   bench/siege [RUNS [CONNECTIONS]]      (default 3 and 10000; TMPDIR says where, default /dev/shm)
//
// A run measures three towns one after the other: a wake alone, and the same wake under siege with the default limit of
// connections (those over it make room for one another and come again) and with a limit that holds them all; each time
// /livez is asked on a new connection every 10 ms. Server, siege and daemon share the machine. Fails where a probe got
// a wrong answer, a wake did not converge, or what was held was not given back.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/measure.hpp"
#include "bench/sample_repository.hpp"
#include "tests/support/container.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/siege.hpp"
#include "tests/support/town.hpp"

namespace townkeeper::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t agents = 32;
constexpr std::size_t slow_clients = 500;
constexpr milliseconds between_probes{10};
constexpr milliseconds least_time{10'000}; ///< that a siege is probed, however fast the wake is
constexpr double mib = 1024 * 1024;

void fail(const std::string& why) {
  throw std::runtime_error{why};
}

/// Milliseconds that /livez took.
struct latencies {
  std::vector<double> ms;

  void probe(int port) {
    const auto got = test::probe(port, "/livez");
    if (got.status != 200) fail("/livez answered " + std::to_string(got.status));
    ms.push_back(got.took_ms);
    std::this_thread::sleep_for(between_probes);
  }
  void sort() { std::sort(ms.begin(), ms.end()); }
  double at(std::size_t percent) const { return ms[std::min(ms.size() - 1, ms.size() * percent / 100)]; }
};

/// What the daemon holds when nothing happens to it.
struct footprint {
  double resident_mib = 0;
  std::int64_t descriptors = 0;
};

/// When it has closed what is gone: at most `descriptors`, or what there still are after 20 s.
footprint at_rest(const test::container& box, std::int64_t descriptors) {
  std::this_thread::sleep_for(milliseconds{500});
  test::wait_until([&] { return box.descriptors() <= descriptors; }, std::chrono::seconds{20});
  return {static_cast<double>(box.resident_bytes()) / mib, box.descriptors()};
}

struct world {
  test::remote server;
  test::town town;
  int towns = 0;

  world() { make_sample_repository(server.repository_path("rig"), {.branches = agents}); }

  /// A container of a new town of one rig and 32 agents.
  test::container_options next_town(std::size_t max_connections) {
    test::container_options out;
    out.api_url = town.base_url();
    out.town_id = "siege" + std::to_string(++towns);
    out.token = town.mint(out.town_id, "container");
    if (max_connections > 0) out.config = R"({"http":{"max_connections":)" + std::to_string(max_connections) + "}}";
    const test::town_admin admin{town, out.town_id};
    admin.put_rig("rig", server.url("rig"));
    for (std::uint32_t a = 0; a < agents; ++a)
      admin.put_agent("rig", "agent" + std::to_string(a), sample_branch(a));
    return out;
  }
};

/// Probes until the wake is done and `least` has passed; the seconds until it was done.
double probe_wake(const test::container& box, latencies& livez, milliseconds least) {
  const int port = box.port();
  const auto begun = std::chrono::steady_clock::now();
  const auto passed = [&] { return std::chrono::steady_clock::now() - begun; };
  double ready_s = 0;
  for (int n = 0; ready_s == 0 || passed() < least; ++n) {
    livez.probe(port);
    if (ready_s > 0 || n % 5 != 0) continue;
    if (test::probe(port, "/readyz?strict").status == 200) ready_s = std::chrono::duration<double>{passed()}.count();
    if (passed() > std::chrono::minutes{5}) fail("not ready:\n" + box.log());
  }
  return ready_s;
}

void verify(const test::container& box) {
  for (std::uint32_t a = 0; a < agents; ++a)
    if (!test::run_git(box.worktree("rig", "agent" + std::to_string(a)), {"status", "--porcelain"}).empty())
      fail("agent" + std::to_string(a) + " is not clean");
}

struct alone {
  latencies idle, wake;
  double ready_s = 0;
  footprint rest;
};

alone measure_alone(world& w) {
  alone out;
  test::container box{w.next_town(0)};
  w.server.hang();
  box.start();
  w.server.resume();
  out.ready_s = probe_wake(box, out.wake, milliseconds{0});
  verify(box);
  const auto until = std::chrono::steady_clock::now() + milliseconds{5000};
  while (std::chrono::steady_clock::now() < until)
    out.idle.probe(box.port());
  out.rest = at_rest(box, std::numeric_limits<std::int64_t>::max());
  box.terminate();
  box.wait_for_exit();
  out.idle.sort();
  out.wake.sort();
  return out;
}

void measure_siege(world& w, const alone& baseline, const char* name, std::size_t connections,
                   std::size_t max_connections) {
  test::container box{w.next_town(max_connections)};
  // The wake begins when the siege is laid: until then the git server does not answer.
  w.server.hang();
  box.start();
  const test::siege_options options{
      .port = box.port(), .silent = connections, .slow = slow_clients, .opened_per_second = 1'000};
  latencies livez;
  double ready_s = 0;
  test::siege_counts seen;
  footprint most;
  {
    const test::siege siege{options};
    if (!siege.wait_until_laid(std::chrono::minutes{2})) fail("the siege could not be laid");
    w.server.resume();
    ready_s = probe_wake(box, livez, least_time);
    seen = siege.counts();
    most = {static_cast<double>(box.resident_bytes()) / mib, box.descriptors()};
  }
  verify(box);
  const auto allowed = baseline.rest.descriptors + 4; // kept connections to the town come and go
  const auto first = at_rest(box, allowed);
  {
    const test::siege again{options};
    if (!again.wait_until_laid(std::chrono::minutes{2})) fail("the siege could not be laid again");
  }
  const auto second = at_rest(box, allowed);
  livez.sort();
  std::printf(
      "  %-9s /livez p50 %.2f, p99 %.2f, max %.2f ms of %zu (p99 %.1f times that of idle, %.1f times that of the "
      "wake alone); ready after %.2f s; open at the end %zu, opened %zu, closed %zu, told why %zu\n"
      "            at the end %.0f MiB, %lld descriptors; siege lifted %.0f MiB, %lld; a second one lifted "
      "%.0f MiB, %lld\n",
      name, livez.at(50), livez.at(99), livez.ms.back(), livez.ms.size(), livez.at(99) / baseline.idle.at(99),
      livez.at(99) / baseline.wake.at(99), ready_s, seen.open, seen.opened, seen.ended, seen.answered,
      most.resident_mib, static_cast<long long>(most.descriptors), first.resident_mib,
      static_cast<long long>(first.descriptors), second.resident_mib, static_cast<long long>(second.descriptors));
  std::fflush(stdout);
  if (std::max(first.descriptors, second.descriptors) > allowed) fail("descriptors were not given back");
  box.terminate();
  box.wait_for_exit();
}

} // namespace
} // namespace townkeeper::bench

int main(int argc, char** argv) {
  using namespace townkeeper::bench;
  setenv("TMPDIR", "/dev/shm", 0);
  const int runs = argc > 1 ? std::max(1, std::atoi(argv[1])) : 3;
  const auto connections = static_cast<std::size_t>(argc > 2 ? std::max(1, std::atoi(argv[2])) : 10'000);
  try {
    world w;
    for (int run = 1; run <= runs; ++run) {
      double load = 0; // of the last minute: what else runs here shows in every number
      getloadavg(&load, 1);
      const auto baseline = measure_alone(w);
      std::printf("siege, run %d (load %.1f): idle /livez p50 %.2f, p99 %.2f, max %.2f ms of %zu; a wake alone p50 "
                  "%.2f, p99 %.2f, "
                  "max %.2f ms of %zu, ready after %.2f s; at rest %.0f MiB, %lld descriptors\n",
                  run, load, baseline.idle.at(50), baseline.idle.at(99), baseline.idle.ms.back(),
                  baseline.idle.ms.size(), baseline.wake.at(50), baseline.wake.at(99), baseline.wake.ms.back(),
                  baseline.wake.ms.size(), baseline.ready_s, baseline.rest.resident_mib,
                  static_cast<long long>(baseline.rest.descriptors));
      measure_siege(w, baseline, "default", connections, 0);
      measure_siege(w, baseline, "all held", connections, connections + 2 * slow_clients);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench/siege: %s\n", e.what());
    return 1;
  }
}
