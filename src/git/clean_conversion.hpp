#pragma once

#include <git2.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace townkeeper::git {

/// What `git add` does to a file on its way into the repository: line endings, `$Id$`, `working-tree-encoding`
/// (gitattributes(5)), and whether a checkout would give the same bytes back. Attributes are looked up by libgit2 as
/// they stand in the worktree. External filters (`filter=lfs` and the like) are never run: those paths are taken as
/// they are. Belongs to one thread.
class clean_conversion {
public:
  /// `repository` is opened at the worktree and must outlive this. `attribute_files`: the contents of all
  /// `.gitattributes` of the worktree. `unsteady`: some of them is untracked, so that a checkout may see others.
  /// Errors: `corrupt` (configuration).
  static result<clean_conversion> open(git_repository* repository, const std::vector<std::string>& attribute_files,
                                       bool unsteady);

  /// False: no attribute and no setting changes any file on its way in or out.
  bool is_active() const noexcept { return active_; }

  /// What of the configuration decides, as text: another text, other results.
  const std::string& configuration() const noexcept { return configuration_; }

  struct actions {
    enum class text_kind { binary, text, guessed } kind = text_kind::binary;
    enum class endings { as_they_are, crlf } on_checkout = endings::as_they_are;
    bool ident = false;
    std::string encoding; ///< empty: UTF-8
    bool is_trivial() const noexcept { return kind == text_kind::binary && !ident && encoding.empty(); }
  };
  /// What is asked for a path (a regular file). Slow: ask once per path.
  actions actions_for(const std::string& path);

  struct cleaned {
    std::string_view bytes;  ///< the content git would store: the file's own, or a buffer that lives till the next call
    bool comes_back = false; ///< a checkout gives exactly the file's bytes
  };
  /// `index_blob` gives what the index has of the path; empty when it has nothing.
  cleaned to_git(const actions& wanted, std::string_view file, const std::function<std::string()>& index_blob);

private:
  clean_conversion() = default;
  std::string checked_out(const actions& wanted, std::string_view stored) const;

  git_repository* repository_ = nullptr;
  bool active_ = false, unsteady_ = false;
  bool auto_crlf_ = false, auto_input_ = false, eol_crlf_ = false;
  std::string configuration_;
  std::string buffer_;
};

} // namespace townkeeper::git
