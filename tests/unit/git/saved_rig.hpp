#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "git/recovery.hpp"
#include "rig_disk.hpp"
#include "tests/support/remote.hpp"

namespace townkeeper::test {

/// One rig with a remote that takes points, and agents whose moments are made by git's command line.
class saved_rig {
public:
  /// The remote has `main`, and a branch `gt/<agent>` for each agent; the disk has them all and a worktree each.
  explicit saved_rig(std::vector<std::string> agents = {"a1"}, const std::string& name = "app");

  remote server;
  rig_disk disk;
  std::string name;
  std::vector<std::string> agents;

  std::filesystem::path repository() const { return disk.repository(); }
  std::filesystem::path worktree(const std::string& agent = "a1") const { return disk.rig() / "worktrees" / agent; }
  std::filesystem::path served() const { return server.repository_path(name); }
  std::string ref(const std::string& agent = "a1", std::int64_t epoch = 3) const;

  /// In the agent's worktree, with git's command line.
  std::string git(const std::vector<std::string>& arguments, const std::string& agent = "a1") const;
  void put(const std::string& path, const std::string& content, const std::string& agent = "a1") const;

  /// The moment of the agent's worktree, made by git's plumbing in the private store (docs/recovery.md).
  git::snapshot take(const std::string& agent = "a1") const;

  /// A job of epoch `epoch` for these agents' moments now.
  git::push_job push_job(const std::vector<std::string>& of, std::int64_t epoch = 3) const;
  git::push_job push_job() const { return push_job(agents); }

  /// Pushes the moment of one agent and expects the remote to take it.
  town::recovery_point save(const std::string& agent = "a1", std::int64_t epoch = 3) const;

  git::delete_job delete_job(const std::map<std::string, std::string>& refs) const;

  /// A job that looks for the agents' points; with what the town knows.
  git::repository_job wake_job(const std::map<std::string, town::recovery_point>& recorded = {}) const;
  void lose_disk() const;

  /// The commit a ref names on the remote; empty: none.
  std::string on_remote(const std::string& ref) const { return id_of(served(), ref); }

  std::shared_ptr<std::atomic<std::int64_t>> seq = std::make_shared<std::atomic<std::int64_t>>(0);
};

/// Installs a hook on the remote's repository.
void install_hook(const std::filesystem::path& repository, const std::string& name, const std::string& script);

/// A clone that has fetched this one ref and nothing else.
std::filesystem::path clone_of_ref(const std::filesystem::path& into, const std::filesystem::path& from,
                                   const std::string& ref);

} // namespace townkeeper::test
