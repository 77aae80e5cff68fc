#pragma once

#include <git2.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "git/gitignore_wildcard.hpp"

namespace townkeeper::git {

/// One line of a pattern file.
struct gitignore_pattern {
  std::string text; ///< without `!`, and without the slash at either end
  bool negative = false, directories_only = false;
  bool anchored = false;   ///< holds a slash: matches paths from the file's directory on, not names
  std::size_t literal = 0; ///< so much of an anchored one holds no wildcard
};

/// The patterns of a file's bytes, in its order.
std::vector<gitignore_pattern> parse_gitignore(std::string_view bytes);

/// What git's rules (gitignore(5)) say of a worktree's paths: core.excludesFile, the repository's info/exclude, and the
/// .gitignore of each directory on the way. libgit2 drops a negated pattern that undoes a rule of a file higher
/// up, so what it takes for ignored must be ignored here too. Whether a path is tracked is not looked at. Files are
/// read once. Belongs to one thread, like the repository.
class gitignore {
public:
  /// `repository` is opened at the worktree and must live as long. What cannot be read ignores nothing.
  explicit gitignore(git_repository* repository);

  /// `path` is relative to the worktree; it ends in a slash where it is a directory.
  bool is_ignored(std::string_view path);

  /// Forgets all that was read.
  void reload();

private:
  struct directory {
    const directory* parent = nullptr; ///< nothing: the root
    std::size_t length = 0;            ///< of its path, with the slash at its end
    bool ignored = false;              ///< and so is all that is in it
    std::vector<gitignore_pattern> patterns;
  };

  const directory& enter(std::string_view path);
  bool decide(const directory& parent, std::string_view path, bool is_directory) const;

  git_repository* repository_;
  std::string worktree_; ///< with a slash at its end
  letter_case letters_ = letter_case::exact;
  std::vector<gitignore_pattern> of_repository_, of_user_;
  std::unordered_map<std::string, directory> directories_; ///< by path, with the slash at its end
};

} // namespace townkeeper::git
