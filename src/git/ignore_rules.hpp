#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace townkeeper::git {

/// Which directories of a worktree need not be looked into, as git has it: .gitignore files, the repository's
/// info/exclude, core.excludesFile; and what is tracked or included all the same. Thread-safe (one question at a time);
/// the first question opens the repository (libgit2 must be initialised, see `initialise_library`).
class ignore_rules {
public:
  /// `include`: patterns (gitignore(5)) of ignored files to save all the same.
  ignore_rules(std::filesystem::path worktree, std::vector<std::string> include);
  ignore_rules(const ignore_rules&) = delete;
  ignore_rules& operator=(const ignore_rules&) = delete;
  ~ignore_rules();

  /// `directory` is relative to the worktree, in bytes, without a slash at its end. False where anything below it is
  /// tracked or may match `include`, in the `.git` of a nested repository, and where the rules cannot be read: it is
  /// better to look in vain. (With an index that cannot be read the rules alone decide: nothing can be saved then.)
  bool is_ignored(const std::string& directory);

  /// The next question reads rules and index afresh. Costs nothing until then.
  void reload();

private:
  struct state;
  const std::filesystem::path worktree_;
  const std::vector<std::string> include_;
  std::unique_ptr<state> state_;
};

} // namespace townkeeper::git
