#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "worktree_states.hpp"

namespace townkeeper::test {

/// Path as a line of a report: control characters, `%` and what is not ASCII as `%XX`.
std::string printable(const std::string& path);

/// Changes files as an editor or a build would, without git. Never follows a link out of its way, never makes an empty
/// directory (no point could hold it).
class random_edits {
public:
  /// `tracked`: paths of the index, which most edits are about. What it does is added to `done`.
  random_edits(std::filesystem::path worktree, std::vector<std::string> tracked, dice& random, made_state& done,
               bool with_control_characters = false);

  /// One edit of a random kind.
  void once();
  /// Another line, or other bytes, in a regular file; false when the path is none.
  bool append(const std::string& path);
  /// A new file at a path that nothing has; empty when there was no room for it.
  std::string add_file();
  void write(const std::string& path, const std::string& content);

  /// Paths that are no longer what they were, in the order of first touch; may be gone, never directories.
  const std::vector<std::string>& touched() const noexcept { return touched_; }
  /// True when something is there, and everything above it is a directory and no link.
  bool exists(const std::string& path) const;
  bool is_regular(const std::string& path) const;
  /// True when every directory above it is one, or is absent.
  bool is_reachable(const std::string& path) const;

private:
  void touch(const std::string& path, const std::string& how);
  std::string free_path();
  std::string tracked_path();
  void remove(const std::string& path);

  void change_mode();
  void rename();
  void replace_by_link();
  void replace_by_directory();
  void replace_directory_by_file();
  void convert();
  void ignored_file();
  void change_rules();

  std::filesystem::path root_;
  std::vector<std::string> tracked_, touched_;
  std::set<std::string> seen_;
  dice& random_;
  made_state& done_;
  bool with_control_characters_;
};

} // namespace townkeeper::test
