#include "snapshot_rig.hpp"

#include <stdexcept>

#include "tests/support/worktree_picture.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

snapshot_rig::snapshot_rig()
    : snapshot_rig(tree_paths{{".gitignore", tree_path::file("*.o\n/build/\n")},
                              {"a", tree_path::file("1\n")},
                              {"b", tree_path::file("2\n")},
                              {"c", tree_path::file("3\n")},
                              {"dir/d", tree_path::file("4\n")},
                              {"dir/sub/e", tree_path::file("5\n")},
                              {"link", tree_path::link("a")},
                              {"tool", tree_path::executable("#!/bin/sh\n")}}) {}

snapshot_rig::snapshot_rig(const tree_paths& paths) {
  commit("work", paths);
  restored();
}

git::snapshot_job snapshot_rig::snapshot_job() const {
  git::snapshot_job job;
  job.rig_id = "r1";
  job.agent_id = "a1";
  job.repository = repository();
  job.worktree = worktree();
  job.branch = "work";
  job.identity = "Ada <ada@example.invalid>";
  job.agent_branches = {"work"};
  return job;
}

git::snapshot snapshot_rig::taken(const git::snapshot_job& job) {
  auto done = git::take_snapshot(job);
  if (!done) throw std::runtime_error{"the snapshot: " + to_string(done.error())};
  return std::move(*done);
}

std::string snapshot_rig::private_git(const std::vector<std::string>& arguments, const std::string& agent) const {
  const auto done = try_git(repository(), arguments, {{"GIT_ALTERNATE_OBJECT_DIRECTORIES", private_objects(agent)}});
  if (done.status != 0) throw std::runtime_error{arguments.front() + ": " + done.err};
  auto text = done.out;
  while (text.ends_with('\n'))
    text.pop_back();
  return text;
}

fs::path snapshot_rig::pushed(const git::snapshot& snapshot) const {
  const auto clone = workspace() / ("clone" + std::to_string(++clones_));
  run_git(workspace(), {"clone", "-q", remote(), clone});
  run_git(clone, {"config", "receive.fsckObjects", "true"});
  run_git(clone, {"config", "core.logAllRefUpdates", "false"});
  private_git({"push", "-q", clone, snapshot.stash_commit + ":refs/points/w"}, snapshot.agent_id);
  return clone;
}

std::string snapshot_rig::difference_in_plain_git(const git::snapshot& snapshot) const {
  return difference_in_plain_git(snapshot, describe(worktree()), {"status", "index", "file"});
}

std::string snapshot_rig::difference_in_plain_git(const git::snapshot& snapshot, const worktree_picture& before,
                                                  const std::vector<std::string>& kinds) const {
  const auto clone = pushed(snapshot);
  run_git(clone, {"checkout", "-q", "--detach", "refs/points/w^1"});
  const auto applied = try_git(clone, {"stash", "apply", "--index", "-q", "refs/points/w"});
  if (applied.status != 0) return "git stash apply: " + applied.err + applied.out;
  return differences(before, describe(clone), kinds);
}

std::map<std::string, std::string> snapshot_rig::tree(const std::string& revision, const std::string& agent) const {
  std::map<std::string, std::string> paths;
  const auto listing =
      private_git({"ls-tree", "-r", "-z", "--format=%(objectmode) %(objectname)%x09%(path)", revision}, agent);
  for (std::size_t at = 0; at < listing.size();) {
    const auto end = std::min(listing.find('\0', at), listing.size());
    const auto line = listing.substr(at, end - at);
    const auto tab = line.find('\t');
    if (tab != std::string::npos) paths.emplace(line.substr(tab + 1), line.substr(0, tab));
    at = end + 1;
  }
  return paths;
}

std::string snapshot_rig::bytes(const std::string& object) const {
  const auto done =
      try_git(repository(), {"cat-file", "blob", object}, {{"GIT_ALTERNATE_OBJECT_DIRECTORIES", private_objects()}});
  if (done.status != 0) throw std::runtime_error{"cat-file: " + done.err};
  return done.out;
}

void snapshot_rig::commit_unpushed(int commits) const {
  for (int i = 0; i < commits; ++i) {
    write(worktree() / "a", "version " + std::to_string(i) + '\n');
    agent_git({"commit", "-q", "-a", "-m", "not pushed"});
  }
  agent_git({"repack", "-q", "-a", "-d"});
}

} // namespace townkeeper::test
