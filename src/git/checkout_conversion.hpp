#pragma once

#include <git2.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/object_cache.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {

/// What checkout does to a blob on its way to the disk: line endings, `$Id$`, `working-tree-encoding`
/// (gitattributes(5)). Attributes are looked up by libgit2 in the commit itself, `info/attributes`, the user's and the
/// system's files; the conversions are written here because libgit2 expands only the first `$Id$` of a file and knows
/// no encodings, and then git would not find the same bytes. External filters are never run. Belongs to one thread.
class checkout_conversion {
public:
  /// Reads configuration and attribute files once. `commit` is the one whose tree `files` is; `files` and `objects` are
  /// used only during this call. Errors: `corrupt` when an attributes file cannot be read.
  static result<checkout_conversion> open(object_store& objects, const git_oid& commit, const manifest& files);

  /// The bytes the file gets: `blob` itself, or `buffer` filled with the converted bytes. What could not be done is
  /// remembered for `reports`. For regular files only.
  std::string_view to_worktree(const manifest_entry& entry, std::string_view blob, std::string& buffer);

  /// What the agent should know, one sentence each: LFS pointers, filters not run, encodings not known.
  std::vector<std::string> reports() const;

private:
  enum class line_endings { as_they_are, crlf, crlf_when_text };
  struct actions {
    line_endings endings = line_endings::as_they_are;
    bool ident = false;
    std::string encoding; ///< empty: UTF-8, as in the repository
    std::string filter;   ///< the driver's name
  };
  struct occurrence {
    std::size_t count = 0;
    std::string first_path;
    void note(std::string_view path);
  };

  checkout_conversion() = default;
  actions actions_for(const manifest_entry& entry);
  void note_filter(const std::string& driver, std::string_view path);

  git_repository* repository_ = nullptr;
  git_oid commit_{};
  bool active_ = false;                                   ///< false: no attribute and no setting asks for anything
  bool auto_crlf_ = false;                                ///< core.autocrlf = true
  bool auto_any_ = false;                                 ///< core.autocrlf = true or input
  bool eol_crlf_ = false;                                 ///< what `text` without `eol` means
  std::set<std::string, std::less<>> configured_filters_; ///< drivers that have a command
  occurrence lfs_;
  std::map<std::string, occurrence> filters_not_run_;
  std::map<std::string, occurrence> encodings_not_known_;
};

} // namespace townkeeper::git
