#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace townkeeper::git {

/// `protect.include`: patterns (gitignore(5)) of ignored files that are to be saved all the same. The last pattern that
/// matches a path decides, `!` takes it out again; a pattern that matches a directory takes all that is in it.
class include_patterns {
public:
  explicit include_patterns(const std::vector<std::string>& patterns);

  bool is_empty() const noexcept { return patterns_.empty(); }

  /// `path` is relative to the worktree, without a slash at its end.
  bool matches(std::string_view path, bool is_directory) const;

  /// Whether an ignored directory must be entered: it matches, or a pattern with a slash inside names something below
  /// it. A pattern without one (`.env`) finds files of directories that are entered anyway: no `node_modules` is
  /// searched for it.
  bool may_match_below(std::string_view directory) const;

private:
  struct pattern {
    std::string text;
    bool negative = false, directories_only = false;
    bool anchored = false; ///< holds a slash: is matched from the root
  };
  static bool matches(const pattern& p, std::string_view path, bool is_directory);

  std::vector<pattern> patterns_;
};

/// gitignore(5): `*` and `?` match no slash, `**` between slashes matches any number of directories.
bool wildcard_match(std::string_view pattern, std::string_view path);

} // namespace townkeeper::git
