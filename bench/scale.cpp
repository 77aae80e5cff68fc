// What a large wake costs: 64 rigs x 4 agents and 1 rig x 256 agents. Prints seconds until ready, the daemon's peak
// resident memory, its most threads, and how long /livez took meanwhile.
//
//   bench/scale      (TMPDIR says where, default /dev/shm)
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/measure.hpp"
#include "bench/sample_repository.hpp"
#include "tests/support/container.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/town.hpp"

namespace townkeeper::bench {
namespace {

/// A line of /proc/<pid>/status, its number.
long status_value(pid_t pid, const std::string& key) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::stol(line.substr(key.size() + 1));
  return 0;
}

void measure(std::uint32_t rigs, std::uint32_t agents, const sample_shape& shape) {
  test::remote server;
  test::town town;
  const std::string town_id = "scale";
  const test::town_admin admin{town, town_id};
  make_sample_repository(server.repository_path("rig0"), shape);
  for (std::uint32_t r = 0; r < rigs; ++r) {
    const auto rig = "rig" + std::to_string(r);
    if (r > 0)
      test::run_git("/", {"clone", "-q", "--bare", server.repository_path("rig0").string(),
                          server.repository_path(rig).string()});
    admin.put_rig(rig, server.url(rig));
    for (std::uint32_t a = 0; a < agents; ++a)
      admin.put_agent(rig, "agent" + std::to_string(r) + "-" + std::to_string(a), sample_branch(a));
  }
  test::container_options options;
  options.api_url = town.base_url();
  options.town_id = town_id;
  options.token = town.mint(town_id, "container");
  test::container box{options};
  std::vector<double> livez_ms;
  long threads = 0;
  const double took = seconds_of([&] {
    box.start();
    const bool ready = test::wait_until(
        [&] {
          threads = std::max(threads, status_value(box.process()->pid(), "Threads"));
          livez_ms.push_back(1000 * seconds_of([&] {
                               if (box.get("/livez").status != 200) throw std::runtime_error{"/livez is not 200"};
                             }));
          return box.get("/readyz?strict").status == 200;
        },
        std::chrono::minutes{10});
    if (!ready) throw std::runtime_error{"not ready:\n" + box.log()};
  });
  std::sort(livez_ms.begin(), livez_ms.end());
  for (std::uint32_t r = 0; r < rigs; ++r)
    for (std::uint32_t a = 0; a < agents; ++a) {
      const auto worktree =
          box.worktree("rig" + std::to_string(r), "agent" + std::to_string(r) + "-" + std::to_string(a));
      if (!test::run_git(worktree, {"status", "--porcelain"}).empty())
        throw std::runtime_error{worktree.string() + " is not clean"};
    }
  std::printf("scale %2u rig(s) x %3u agents, %u files each: ready after %.2f s; peak RSS %.0f MiB; at most %ld "
              "threads; /livez p50 "
              "%.2f ms, p99 %.2f ms, max %.2f ms of %zu\n",
              rigs, agents, shape.files, took, static_cast<double>(status_value(box.process()->pid(), "VmHWM")) / 1024,
              threads, livez_ms[livez_ms.size() / 2], livez_ms[livez_ms.size() * 99 / 100], livez_ms.back(),
              livez_ms.size());
  std::fflush(stdout);
  box.terminate();
  box.wait_for_exit();
}

} // namespace
} // namespace townkeeper::bench

int main() {
  setenv("TMPDIR", "/dev/shm", 0);
  try {
    townkeeper::bench::measure(64, 4, {.files = 500, .commits = 100, .branches = 4});
    townkeeper::bench::measure(1, 256, {.files = 500, .commits = 100, .branches = 256});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench/scale: %s\n", e.what());
    return 1;
  }
}
