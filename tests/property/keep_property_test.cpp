// What an agent left in its worktree comes back bit for bit after its disk is lost: random states, saved, wiped and
// restored through the git layer alone.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>

#include "git/recovery.hpp"
#include "keep_states.hpp"
#include "tests/support/remote.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t agents_per_rig = 8;

struct agent {
  std::string id, branch;
  std::uint64_t seed = 0;
  made_state done;
  worktree_picture before;
  std::string ref() const { return "refs/townkeeper/t1/" + id + "/1"; }
  std::string report() const { return id + ": " + report_of(seed, done); }
};

void make_library_ready() {
  static const auto ready = git::initialise_library({});
  if (!ready) throw std::runtime_error{to_string(ready.error())};
}

/// One rig on a disk that can be lost, with a remote that stays.
class lost_rig {
public:
  lost_rig(remote& server, const std::string& name, const std::vector<std::uint64_t>& seeds)
      : server_(server)
      , name_(name) {
    make_library_ready();
    std::vector<std::string> branches;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      agents_.push_back({"a" + std::to_string(i), "work/" + std::to_string(i), seeds[i], {}, {}});
      branches.push_back(agents_.back().branch);
    }
    server_.make_repository(name_, {.empty = true});
    seed_history(server_.repository_path(name_), branches);
  }

  std::vector<agent>& agents() { return agents_; }
  fs::path worktree(const agent& a) const { return disk_.path() / "worktrees" / a.id; }
  fs::path remote_path() const { return server_.repository_path(name_); }

  void restore_repository() {
    git::repository_job job;
    job.rig_id = "r1";
    job.directory = disk_.path();
    job.url = server_.url(name_);
    job.default_branch = "main";
    for (const auto& a : agents_) {
      job.branches.push_back(a.branch);
      job.agent_branches.insert(a.branch);
      job.points.push_back({a.id, "refs/townkeeper/t1/" + a.id + "/", {}});
    }
    auto done = git::restore_repository(job, {});
    if (!done) throw std::runtime_error{"the repository: " + to_string(done.error())};
    repository_ = std::move(*done);
  }

  result<git::worktree_restored> restore(const agent& a) {
    git::worktree_job job;
    job.rig_id = "r1";
    job.agent_id = a.id;
    job.repository = repository_.repository;
    job.worktree = worktree(a);
    job.branch = a.branch;
    job.remote_tip = repository_.tips.at(a.branch);
    job.ever_pushed = true;
    if (const auto point = repository_.points.find(a.id); point != repository_.points.end()) {
      if (!point->second) return point->second.error();
      job.point = *point->second;
    }
    return git::restore_worktree(job, {});
  }

  result<git::snapshot> take(const agent& a) const {
    git::snapshot_job job;
    job.rig_id = "r1";
    job.agent_id = a.id;
    job.repository = repository_.repository;
    job.worktree = worktree(a);
    job.branch = a.branch;
    job.identity = "An Agent <agent@example.invalid>";
    for (const auto& other : agents_)
      job.agent_branches.insert(other.branch);
    return git::take_snapshot(job);
  }

  result<std::vector<git::pushed_point>> push(std::vector<git::push_item> items) const {
    git::push_job job;
    job.rig_id = "r1";
    job.repository = repository_.repository;
    job.url = server_.url(name_);
    job.epoch = 1;
    job.seq = std::make_shared<std::atomic<std::int64_t>>(0);
    job.saved_at = "2026-01-01T00:00:00Z";
    job.items = std::move(items);
    return git::push_points(job);
  }

  void lose_disk() { fs::remove_all(disk_.path() / "worktrees"), fs::remove_all(disk_.path() / "repo.git"); }

private:
  remote& server_;
  std::string name_;
  temp_dir disk_{"lost"};
  std::vector<agent> agents_;
  git::repository_restored repository_;
};

void save(lost_rig& rig) {
  std::vector<git::push_item> items;
  for (const auto& a : rig.agents()) {
    INFO(a.report());
    auto taken = rig.take(a);
    REQUIRE(taken);
    CHECK(taken->left_out.empty());
    items.push_back({std::move(*taken), a.ref(), "drain", true});
  }
  const auto pushed = rig.push(std::move(items));
  REQUIRE(pushed);
  REQUIRE(pushed->size() == rig.agents().size());
  for (const auto& p : *pushed)
    REQUIRE(p.point);
}

void round(remote& server, const std::string& name, const std::vector<std::uint64_t>& seeds) {
  lost_rig rig{server, name, seeds};
  rig.restore_repository();
  for (auto& a : rig.agents()) {
    REQUIRE(rig.restore(a));
    a.done = make_state(rig.worktree(a), a.seed);
  }
  // Afterwards: stashes, tags and branches of one are seen by all.
  for (auto& a : rig.agents())
    a.before = describe(rig.worktree(a));
  save(rig);
  for (const auto& a : rig.agents()) {
    INFO(a.report());
    CHECK(differences(a.before, describe(rig.worktree(a))) == "");
    CHECK(flaws_of_plain_recovery(rig.remote_path(), a.ref(), a.before) == "");
  }
  rig.lose_disk();
  rig.restore_repository();
  for (const auto& a : rig.agents()) {
    INFO(a.report());
    const auto restored = rig.restore(a);
    CHECK(restored);
  }
  for (const auto& a : rig.agents()) {
    INFO(a.report());
    if (fs::exists(rig.worktree(a))) CHECK(differences(a.before, describe(rig.worktree(a))) == "");
  }
  const auto sound = try_git(rig.worktree(rig.agents()[0]), {"fsck", "--no-dangling"});
  INFO(sound.err << sound.out);
  CHECK(sound.status == 0);
}

} // namespace

TEST_CASE("random states of worktrees come back bit for bit after the disk is lost") {
  remote server;
  const auto seeds = seeds_of_states(40);
  for (std::size_t first = 0; first < seeds.size(); first += agents_per_rig) {
    const auto last = std::min(first + agents_per_rig, seeds.size());
    round(server, "r" + std::to_string(first),
          {seeds.begin() + static_cast<std::ptrdiff_t>(first), seeds.begin() + static_cast<std::ptrdiff_t>(last)});
  }
}
