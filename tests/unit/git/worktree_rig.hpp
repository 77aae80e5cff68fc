#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "git/jobs.hpp"
#include "rig_disk.hpp"

namespace townkeeper::test {

/// One path of a tree: what `git ls-tree` shows of it, and its bytes (of a submodule: the commit).
struct tree_path {
  std::string mode = "100644";
  std::string content = {};

  static tree_path file(std::string content) { return {"100644", std::move(content)}; }
  static tree_path executable(std::string content) { return {"100755", std::move(content)}; }
  static tree_path link(std::string target) { return {"120000", std::move(target)}; }
  static tree_path submodule(std::string commit) { return {"160000", std::move(commit)}; }
};
using tree_paths = std::map<std::string, tree_path>;

/// One entry of a raw tree object, which may be anything at all.
struct raw_tree_entry {
  std::string mode, name, id;
};

/// A rig restored from a bare repository on the same disk, and worktrees in it: the remote is changed by git's command
/// line, everything else goes through the functions under test.
class worktree_rig {
public:
  /// The remote has `main` with one commit, and so has the rig.
  worktree_rig();

  const std::filesystem::path& remote() const noexcept { return remote_; }
  const std::filesystem::path& workspace() const noexcept { return disk_.workspace(); }
  std::filesystem::path rig() const { return disk_.rig(); }
  std::filesystem::path repository() const { return disk_.repository(); }
  std::filesystem::path worktree(const std::string& agent = "a1") const { return rig() / "worktrees" / agent; }
  std::filesystem::path registration(const std::string& agent = "a1") const {
    return repository() / "worktrees" / agent;
  }

  // -- the remote -----------------------------------------------------------

  /// One more commit on a branch, whose tree is exactly `paths`. Returns its id. Takes git's `fast-import`.
  std::string commit(const std::string& branch, const tree_paths& paths, const std::string& message = "a change");

  // -- the rig --------------------------------------------------------------

  /// Restores the repository from the remote with these branches; throws when that fails. What jobs are made of
  /// afterwards.
  void fetch(std::vector<std::string> branches);

  /// A job for the agent's worktree, with the tips that the last `fetch` found.
  git::worktree_job job(const std::string& branch = "work", const std::string& agent = "a1") const;

  /// `fetch`, and then the agent's worktree.
  result<git::worktree_restored> restore(const std::string& branch = "work", const std::string& agent = "a1");
  /// The worktree alone. Throws when it fails, so that a test can look at the outcome at once.
  git::worktree_restored restored(const std::string& branch = "work", const std::string& agent = "a1");

private:
  rig_disk disk_;
  std::filesystem::path remote_;
  git::repository_restored repository_;
};

/// Writes a tree object of these bytes, unchecked; returns its id.
std::string raw_tree(const std::filesystem::path& repository, const std::vector<raw_tree_entry>& entries);

/// Writes a commit of a tree, on top of `main`; returns its id.
std::string commit_of_tree(const std::filesystem::path& repository, const std::string& tree);

/// Restores without watching.
result<git::worktree_restored> restore(const git::worktree_job& job);

/// git in a worktree, which leaves the index alone where it only looks.
std::string in(const std::filesystem::path& worktree, std::vector<std::string> arguments);

/// `git status --porcelain`, without a refreshed index being written.
std::string status_of(const std::filesystem::path& worktree);

/// What is wrong with a worktree that should be at `commit` on `branch`, by git's own word: status, HEAD, diff, index
/// against tree, fsck, registration. Empty: nothing.
std::string flaws_of(const worktree_rig& rig, const std::string& commit, const std::string& branch = "work",
                     const std::string& agent = "a1");

/// `text` somewhere in one of the lines.
bool mentions(const std::vector<std::string>& lines, const std::string& text);

} // namespace townkeeper::test
