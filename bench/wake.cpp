// How long a wake takes: townkeeper from the start of its process until it is ready, against git's own command line
// doing the same.
//
//   bench/wake [RUNS [RIGSxAGENTS|writer…]]      (default 5, 1x1 1x32 8x4 and the writer alone; TMPDIR says where,
//                                                 default /dev/shm)
//
// Each run of a row measures one side right after the other, on directories of their own that are removed only at the
// end. Server and client share the machine: the server's CPU time is in the clock of both. After the clock each
// worktree is checked (status, HEAD, commit count).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/measure.hpp"
#include "bench/sample_repository.hpp"
#include "git/jobs.hpp"
#include "tests/support/command.hpp"
#include "tests/support/container.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/town.hpp"

namespace townkeeper::bench {
namespace {

struct shape {
  std::uint32_t rigs, agents;
};

std::string rig_name(std::uint32_t r) {
  return "rig" + std::to_string(r);
}
std::string agent_name(std::uint32_t r, std::uint32_t a) {
  return "agent" + std::to_string(r) + "-" + std::to_string(a);
}

void fail(const std::string& why) {
  throw std::runtime_error{why};
}

shape parse_shape(const std::string& text) {
  shape s{};
  if (std::sscanf(text.c_str(), "%ux%u", &s.rigs, &s.agents) != 2 || s.rigs == 0 || s.agents == 0)
    fail(text + " is no shape: RIGSxAGENTS, as in 8x4; or writer");
  return s;
}

/// What a worktree must be, from the server.
struct expected {
  std::string tip, commits, files;
};

expected expected_of(const test::remote& server, const std::string& rig, const std::string& branch) {
  const auto repository = server.repository_path(rig);
  std::istringstream list{test::run_git(repository, {"ls-tree", "-r", "--name-only", branch})};
  std::size_t files = 0;
  for (std::string line; std::getline(list, line);)
    ++files;
  return {server.tip(rig, branch), test::run_git(repository, {"rev-list", "--count", branch}), std::to_string(files)};
}

void verify(const std::filesystem::path& worktree, const expected& want) {
  if (!test::run_git(worktree, {"status", "--porcelain"}).empty()) fail(worktree.string() + ": status is not clean");
  if (test::run_git(worktree, {"rev-parse", "HEAD"}) != want.tip) fail(worktree.string() + ": HEAD is elsewhere");
  if (test::run_git(worktree, {"rev-list", "--count", "HEAD"}) != want.commits)
    fail(worktree.string() + ": history differs");
}

/// git's own way: one clone per rig, the rigs side by side; in each, one `git worktree add` after another.
double wake_with_git(const test::remote& server, const shape& s, const std::vector<expected>& want) {
  const test::temp_dir dir{"bench-git"};
  std::ostringstream script;
  for (std::uint32_t r = 0; r < s.rigs; ++r) {
    script << "( git clone -q --no-checkout " << server.url(rig_name(r)) << " r" << r;
    for (std::uint32_t a = 0; a < s.agents; ++a)
      script << " && git -C r" << r << " worktree add -q --track -b " << sample_branch(a) << " ../w" << r << '-' << a
             << " origin/" << sample_branch(a);
    script << " || touch failed ) &\n";
  }
  script << "wait\ntest ! -e failed\n";
  test::command command{{"sh", "-c", script.str()}, dir.path(), test::git_environment()};
  command.timeout = std::chrono::minutes{10};
  const double took = seconds_of([&] { test::run(command); });
  for (std::uint32_t r = 0; r < s.rigs; ++r)
    for (std::uint32_t a = 0; a < s.agents; ++a)
      verify(dir.path() / ("w" + std::to_string(r) + "-" + std::to_string(a)), want[r * s.agents + a]);
  return took;
}

/// townkeeper: from fork to the first 200 of /readyz.
double wake_with_townkeeper(const test::town& town, const std::string& town_id, const shape& s,
                            const std::vector<expected>& want) {
  test::container_options options;
  options.api_url = town.base_url();
  options.town_id = town_id;
  options.token = town.mint(town_id, "container");
  test::container box{options};
  const double took = seconds_of([&] {
    box.start();
    if (!test::wait_until([&] { return box.get("/readyz?strict").status == 200; }, std::chrono::minutes{10}))
      fail("townkeeper did not become ready:\n" + box.log());
  });
  for (std::uint32_t r = 0; r < s.rigs; ++r)
    for (std::uint32_t a = 0; a < s.agents; ++a)
      verify(box.worktree(rig_name(r), agent_name(r, a)), want[r * s.agents + a]);
  box.terminate();
  box.wait_for_exit();
  return took;
}

void measure_wake(const shape& s, std::uint32_t runs) {
  test::remote server;
  test::town town;
  const std::string town_id = "bench";
  const test::town_admin admin{town, town_id};
  std::vector<expected> want;
  for (std::uint32_t r = 0; r < s.rigs; ++r) {
    make_sample_repository(server.repository_path(rig_name(r)), {.branches = s.agents, .seed = r + 1});
    admin.put_rig(rig_name(r), server.url(rig_name(r)));
    for (std::uint32_t a = 0; a < s.agents; ++a) {
      admin.put_agent(rig_name(r), agent_name(r, a), sample_branch(a));
      want.push_back(expected_of(server, rig_name(r), sample_branch(a)));
    }
  }
  std::vector<double> git, ours;
  for (std::uint32_t i = 0; i < runs; ++i) {
    git.push_back(wake_with_git(server, s, want));
    ours.push_back(wake_with_townkeeper(town, town_id, s, want));
  }
  const auto ratio = ratios(git, ours);
  std::printf("wake %2u rig(s) x %2u agent(s): git %6.2f s, townkeeper %6.2f s, ratio %.2f (%.2f to %.2f, %u pairs); "
              "delivered to each: %u worktrees of %s files, %s commits of history, %u refs a rig\n",
              s.rigs, s.agents, median(git), median(ours), median(ratio), *std::min_element(ratio.begin(), ratio.end()),
              *std::max_element(ratio.begin(), ratio.end()), runs, s.rigs * s.agents, want.front().files.c_str(),
              want.front().commits.c_str(), s.agents + 1);
  std::fflush(stdout);
}

// -- the writer alone -------------------------------------------------------------------------------------------------

struct plain_file {
  std::string path, content;
  mode_t mode = 0;
};

std::vector<plain_file> files_below(const std::filesystem::path& root) {
  std::vector<plain_file> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{root}) {
    struct stat s {};
    if (lstat(entry.path().c_str(), &s) != 0 || entry.path().filename() == ".git") continue;
    plain_file f{entry.path().lexically_relative(root).string(), {}, s.st_mode};
    if (S_ISREG(s.st_mode)) {
      std::ifstream in{entry.path(), std::ios::binary};
      f.content.assign(std::istreambuf_iterator<char>(in), {});
    } else if (S_ISLNK(s.st_mode)) {
      f.content = std::filesystem::read_symlink(entry.path()).string();
    }
    out.push_back(std::move(f));
  }
  return out;
}

/// Nothing but the system calls that create the same directories, files and links.
void create_plainly(const std::filesystem::path& root, const std::vector<plain_file>& files) {
  const int dir = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (const auto& f : files) {
    if (S_ISDIR(f.mode)) {
      if (mkdirat(dir, f.path.c_str(), 0777) != 0) fail("mkdir " + f.path);
    } else if (S_ISLNK(f.mode)) {
      if (symlinkat(f.content.c_str(), dir, f.path.c_str()) != 0) fail("symlink " + f.path);
    } else {
      const int fd = openat(dir, f.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, f.mode & 0777U);
      if (fd < 0 || write(fd, f.content.data(), f.content.size()) != static_cast<ssize_t>(f.content.size()))
        fail("create " + f.path);
      close(fd);
    }
  }
  close(dir);
}

/// Worktrees by the writer and plain ones take turns, one by one: what the machine does meanwhile (memory that its host
/// hands out anew, a neighbour) falls on both.
void measure_writer(std::uint32_t agents, std::uint32_t runs) {
  const test::temp_dir source{"bench-source"};
  make_sample_repository(source.path() / "sample", {.branches = agents});
  if (const auto ready = git::initialise_library({}); !ready) fail(to_string(ready.error()));
  std::vector<plain_file> same, copy_of_same;
  std::vector<double> writer, plain;
  // The first run is not measured: it says what the files are.
  for (std::uint32_t i = 0; i <= runs; ++i) {
    const test::temp_dir dir{"bench-writer"};
    git::repository_job fetch;
    fetch.rig_id = "sample";
    fetch.directory = dir.path() / "rig";
    fetch.url = (source.path() / "sample").string();
    fetch.default_branch = "main";
    fetch.urls.allow_file = true;
    for (std::uint32_t a = 0; a < agents; ++a)
      fetch.branches.push_back(sample_branch(a));
    const auto repository = git::restore_repository(fetch, [](const auto&) {});
    if (!repository) fail(to_string(repository.error()));
    const auto write_worktree = [&](std::uint32_t a) {
      git::worktree_job job;
      job.rig_id = "sample";
      job.agent_id = agent_name(0, a);
      job.repository = repository->repository;
      job.worktree = fetch.directory / "worktrees" / job.agent_id;
      job.branch = sample_branch(a);
      job.remote_tip = repository->tips.at(job.branch);
      job.ever_pushed = true;
      if (const auto done = git::restore_worktree(job, [](const auto&) {}); !done) fail(to_string(done.error()));
    };
    const auto create = [&](const std::string& parent, std::uint32_t a, const std::vector<plain_file>& files) {
      const auto root = dir.path() / parent / std::to_string(a);
      std::filesystem::create_directories(root);
      create_plainly(root, files);
    };
    // Memory that a virtual machine has given back to its host costs more than the files do, and would hide what the
    // writer costs: it is fetched before the clock runs. (From a copy, so that neither side finds its own contents in
    // the processor's cache.)
    const auto warm_memory = [&] {
      create("warm", 0, copy_of_same);
      std::filesystem::remove_all(dir.path() / "warm");
    };
    if (i == 0) {
      write_worktree(0);
      same = files_below(fetch.directory / "worktrees" / agent_name(0, 0));
      copy_of_same = same;
      continue;
    }
    writer.push_back(0);
    plain.push_back(0);
    for (std::uint32_t a = 0; a < agents; ++a)
      for (const bool is_writer : {(a + i) % 2 == 0, (a + i) % 2 == 1}) {
        warm_memory();
        (is_writer ? writer : plain).back() +=
            seconds_of([&] { is_writer ? write_worktree(a) : create("plain", a, same); });
      }
  }
  std::printf(
      "writer alone, 1 rig x %u worktrees of %zu paths, one thread: %.3f s; creating the same files plainly: %.3f s; "
      "ratio %.2f\n",
      agents, same.size(), median(writer), median(plain), median(ratios(writer, plain)));
}

} // namespace
} // namespace townkeeper::bench

int main(int argc, char** argv) {
  using namespace townkeeper::bench;
  setenv("TMPDIR", "/dev/shm", 0);
  const auto runs = argc > 1 ? static_cast<std::uint32_t>(std::max(1, std::atoi(argv[1]))) : 5U;
  try {
    std::vector<std::string> rows{"1x1", "1x32", "8x4", "writer"};
    if (argc > 2) rows.assign(argv + 2, argv + argc);
    for (const auto& row : rows)
      row == "writer" ? measure_writer(32, runs) : measure_wake(parse_shape(row), runs);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench/wake: %s\n", e.what());
    return 1;
  }
}
