#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "git/recovery.hpp"
#include "tests/support/worktree_picture.hpp"
#include "worktree_rig.hpp"

namespace townkeeper::test {

/// A rig with one agent's worktree on `work`, and what plain git makes of the snapshots that are taken of it.
class snapshot_rig : public worktree_rig {
public:
  /// `work` holds a few files of every kind; the worktree is restored at it.
  snapshot_rig();
  /// The same with other files.
  explicit snapshot_rig(const tree_paths& paths);

  git::snapshot_job snapshot_job() const;

  /// Takes one; throws when that fails.
  git::snapshot taken() const { return taken(snapshot_job()); }
  static git::snapshot taken(const git::snapshot_job& job);

  std::filesystem::path private_objects(const std::string& agent = "a1") const {
    return repository() / "townkeeper/recovery" / agent / "objects";
  }

  /// The file of an object that is in no pack.
  std::filesystem::path loose_object(const std::string& id) const {
    return repository() / "objects" / id.substr(0, 2) / id.substr(2);
  }

  /// git in the agent's worktree.
  std::string agent_git(std::vector<std::string> arguments) const { return in(worktree(), std::move(arguments)); }
  command_outcome try_agent_git(std::vector<std::string> arguments) const { return try_git(worktree(), arguments); }
  /// Commits of three objects each that no remote has and that lie in a pack, as after a wake.
  void commit_unpushed(int commits) const;
  /// git in the repository with the agent's private objects.
  std::string private_git(const std::vector<std::string>& arguments, const std::string& agent = "a1") const;

  /// Pushes W, and all it reaches, to a new clone of the remote that checks every object. Returns the clone.
  std::filesystem::path pushed(const git::snapshot& snapshot) const;

  /// What differs between the worktree and `git stash apply --index W` in a plain clone: status, index and files; or
  /// how git failed. Empty: nothing.
  std::string difference_in_plain_git(const git::snapshot& snapshot) const;
  /// The same against a picture of any agent's worktree, in facts of these kinds.
  std::string difference_in_plain_git(const git::snapshot& snapshot, const worktree_picture& before,
                                      const std::vector<std::string>& kinds) const;

  /// `ls-tree -r` of a revision in the repository with private objects: path → "mode id".
  std::map<std::string, std::string> tree(const std::string& revision, const std::string& agent = "a1") const;
  /// The bytes of an object in it.
  std::string bytes(const std::string& object) const;

private:
  mutable int clones_ = 0;
};

} // namespace townkeeper::test
