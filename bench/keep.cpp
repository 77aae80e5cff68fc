// What saving costs: a snapshot of one worktree in which 50 files were changed, against git's plumbing commands making
// the same layout (docs/recovery.md); how much a push carries when one line changes beside large untracked files; what
// it costs to watch idle worktrees; and how long a container takes to save everything when it is told to end.
//
//   bench/keep [RUNS [ROW…]]   (default 7 and all of snapshot, push, idle and drain; TMPDIR says where, default
//                               /dev/shm)
//
// Each run changes the same 50 paths anew and measures both sides, one right after the other, in turns first and
// second. After the clock the trees of both points are compared: they must be the same.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/keep.hpp"
#include "bench/measure.hpp"
#include "git/recovery.hpp"
#include "tests/support/plain_point.hpp"
#include "tests/support/remote.hpp"

namespace townkeeper::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t changed_files = 40, untracked_files = 10;

/// A rig with one agent's worktree at `main`'s commit, on a disk of its own.
class sample_rig {
public:
  sample_rig(test::remote& server, const std::string& name, std::uint32_t files)
      : server_(server)
      , url_(server.url(name)) {
    if (const auto ready = git::initialise_library({}); !ready) fail(to_string(ready.error()));
    server.make_repository(name, {.empty = true});
    make_small_files(server.repository_path(name), files);
    test::run_git(server.repository_path(name), {"branch", "work", "main"});
    git::repository_job fetch;
    fetch.rig_id = "r1";
    fetch.directory = dir_.path() / "rig";
    fetch.url = url_;
    fetch.default_branch = "main";
    fetch.branches = {"work"};
    const auto repository = git::restore_repository(fetch, {});
    if (!repository) fail(to_string(repository.error()));
    repository_ = repository->repository;
    git::worktree_job job;
    job.rig_id = "r1";
    job.agent_id = "a1";
    job.repository = repository_;
    job.worktree = worktree();
    job.branch = "work";
    job.remote_tip = repository->tips.at("work");
    job.ever_pushed = true;
    if (const auto done = git::restore_worktree(job, {}); !done) fail(to_string(done.error()));
  }

  fs::path worktree() const { return dir_.path() / "rig" / "worktrees" / "a1"; }
  fs::path scratch() const { return dir_.path() / "scratch"; }

  git::snapshot take() const {
    git::snapshot_job job;
    job.rig_id = "r1";
    job.agent_id = "a1";
    job.repository = repository_;
    job.worktree = worktree();
    job.branch = "work";
    job.identity = "An Agent <agent@example.invalid>";
    job.agent_branches = {"work"};
    auto taken = git::take_snapshot(job);
    if (!taken) fail(to_string(taken.error()));
    if (!taken->left_out.empty()) fail("left out: " + taken->left_out.front().path);
    return std::move(*taken);
  }

  /// Bytes sent.
  std::int64_t push(git::snapshot taken) {
    git::push_job job;
    job.rig_id = "r1";
    job.repository = repository_;
    job.url = url_;
    job.epoch = 1;
    job.seq = seq_;
    job.saved_at = "2026-01-01T00:00:00Z";
    job.items.push_back({std::move(taken), "refs/townkeeper/bench/a1/1", "manual", true});
    const auto pushed = git::push_points(job);
    if (!pushed) fail(to_string(pushed.error()) + "\n" + server_.log());
    if (!pushed->front().point) fail(to_string(pushed->front().point.error()) + "\n" + server_.log());
    return pushed->front().sent_bytes;
  }

  /// The three trees of a stash commit, by git's word.
  std::string trees_of(const std::string& stash, const fs::path& objects) const {
    const auto shown = test::try_git(
        repository_, {"rev-parse", stash + "^{tree}", stash + "^2^{tree}", stash + "^3^{tree}"},
        {{"GIT_OBJECT_DIRECTORY", objects}, {"GIT_ALTERNATE_OBJECT_DIRECTORIES", repository_ / "objects"}});
    if (shown.status != 0) fail("the point cannot be read: " + shown.err);
    return shown.out;
  }
  fs::path private_objects() const { return repository_ / "townkeeper" / "recovery" / "a1" / "objects"; }

private:
  test::remote& server_;
  std::string url_;
  test::temp_dir dir_{"bench-keep"};
  fs::path repository_;
  std::shared_ptr<std::atomic<std::int64_t>> seq_ = std::make_shared<std::atomic<std::int64_t>>(0);
};

void measure_snapshot(test::remote& server, std::uint32_t files, std::uint32_t runs) {
  sample_rig rig{server, "rig" + std::to_string(files), files};
  std::vector<double> git, ours;
  for (std::uint32_t run = 0; run < runs; ++run) {
    for (std::uint32_t i = 0; i < changed_files; ++i)
      append(rig.worktree() / small_file(i * (files / changed_files)), "changed in run " + std::to_string(run));
    for (std::uint32_t i = 0; i < untracked_files; ++i)
      append(rig.worktree() / "new" / std::to_string(i), "new in run " + std::to_string(run));
    std::string point, stash;
    const auto with_git = [&] {
      git.push_back(seconds_of([&] { point = test::plain_point(rig.worktree(), {.objects = rig.scratch()}); }));
    };
    const auto with_us = [&] { ours.push_back(seconds_of([&] { stash = rig.take().stash_commit; })); };
    if (run % 2 == 0) {
      with_git();
      with_us();
    } else {
      with_us();
      with_git();
    }
    if (rig.trees_of(point + "^1", rig.scratch()) != rig.trees_of(stash, rig.private_objects()))
      fail("the two points hold different trees");
  }
  const auto ratio = ratios(git, ours);
  std::printf(
      "snapshot of %u changed and %u new among %6u files: git's plumbing %7.1f ms, townkeeper %6.1f ms, ratio %.1f "
      "(%.1f to %.1f, %u pairs)\n",
      changed_files, untracked_files, files, 1000 * median(git), 1000 * median(ours), median(ratio),
      *std::min_element(ratio.begin(), ratio.end()), *std::max_element(ratio.begin(), ratio.end()), runs);
  std::fflush(stdout);
}

/// Beside so many untracked files of so many bytes that do not compress.
void measure_push(test::remote& server, std::uint32_t large_files, std::size_t bytes) {
  constexpr double mebibyte = 1024 * 1024;
  sample_rig rig{server, "noise" + std::to_string(large_files), 500};
  std::string noise(bytes, '\0');
  std::uint64_t state = 1;
  for (std::uint32_t i = 0; i < large_files; ++i) {
    for (char& c : noise) // a linear congruential generator (Knuth, MMIX)
      c = static_cast<char>((state = state * 6364136223846793005ULL + 1442695040888963407ULL) >> 56U);
    const auto file = rig.worktree() / "large" / std::to_string(i % 50) / std::to_string(i);
    fs::create_directories(file.parent_path());
    if (!(std::ofstream{file, std::ios::binary} << noise).flush()) fail("cannot write " + file.string());
  }
  std::int64_t first = 0, second = 0;
  git::snapshot taken;
  const double first_taken_s = seconds_of([&] { taken = rig.take(); });
  const double first_s = seconds_of([&] { first = rig.push(std::move(taken)); });
  append(rig.worktree() / small_file(7), "one more line");
  const double second_taken_s = seconds_of([&] { taken = rig.take(); });
  const double second_s = seconds_of([&] { second = rig.push(std::move(taken)); });
  std::printf("push beside %5u untracked files of %4.0f KiB: snapshot %.2f s, push of %.1f MiB %.2f s; after one "
              "changed line snapshot %.3f s, push of %.1f KiB %.3f s (limit 1024 KiB)\n",
              large_files, static_cast<double>(bytes) / 1024, first_taken_s, static_cast<double>(first) / mebibyte,
              first_s, second_taken_s, static_cast<double>(second) / 1024, second_s);
  std::fflush(stdout);
  if (static_cast<double>(second) >= mebibyte) fail("one changed line took more than 1 MiB");
}

} // namespace

std::string small_file(std::uint32_t n) {
  return "src/part" + std::to_string(n % 40) + "/unit" + std::to_string(n / 40 % 25) + "/file" + std::to_string(n);
}

void make_small_files(const fs::path& repository, std::uint32_t files) {
  std::ostringstream stream;
  stream << "commit refs/heads/main\ncommitter Sample <sample@example.invalid> 1700000000 +0000\ndata 5\nfirst\n";
  for (std::uint32_t n = 0; n < files; ++n) {
    std::string content;
    for (std::uint32_t line = 0; line < 10 + n % 40; ++line)
      content += "line " + std::to_string(line) + " of file " + std::to_string(n) + "\n";
    stream << "M 100644 inline " << small_file(n) << "\ndata " << content.size() << '\n' << content << '\n';
  }
  stream << "done\n";
  test::run_git(repository, {"fast-import", "--quiet", "--force", "--done"}, stream.str());
}

void append(const fs::path& file, const std::string& line) {
  fs::create_directories(file.parent_path());
  std::ofstream out{file, std::ios::binary | std::ios::app};
  if (!(out << line << '\n').flush()) fail("cannot write " + file.string());
}

} // namespace townkeeper::bench

int main(int argc, char** argv) {
  using namespace townkeeper::bench;
  setenv("TMPDIR", "/dev/shm", 0);
  const auto runs = argc > 1 ? static_cast<std::uint32_t>(std::max(1, std::atoi(argv[1]))) : 7U;
  const std::vector<std::string> rows{argv + std::min(argc, 2), argv + argc};
  const auto wanted = [&](const char* row) {
    return rows.empty() || std::find(rows.begin(), rows.end(), row) != rows.end();
  };
  try {
    townkeeper::test::remote server;
    if (wanted("snapshot")) measure_snapshot(server, 5'000, runs);
    if (wanted("snapshot")) measure_snapshot(server, 50'000, runs);
    if (wanted("push")) measure_push(server, 100, std::size_t{1} << 20U);
    if (wanted("push")) measure_push(server, 20'000, std::size_t{5} << 10U);
    if (wanted("idle")) measure_idle();
    if (wanted("drain")) measure_drain(std::min(runs, 3U));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench/keep: %s\n", e.what());
    return 1;
  }
}
