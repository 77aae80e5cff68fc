#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/descriptor.hpp"

namespace townkeeper::git {

/// Descends into directories below a root, one component at a time and never through a symbolic link, and keeps the way
/// open for the next path nearby. At most `max_open_levels` descriptors are held, however deep the tree is.
class directory_stack {
public:
  static constexpr std::size_t max_open_levels = 64;

  enum class on_missing {
    fail,        ///< `not_found`
    create,      ///< made when absent
    must_be_new, ///< a component that is not the previous path's must not exist yet: the tree is being written for the
                 ///< first time
  };

  /// `root` must stay open for the life of the stack. The directories that are left are closed at once, or by
  /// `closing`, which must outlive the stack.
  explicit directory_stack(int root, closing_batch* closing = nullptr) noexcept
      : root_(root)
      , closing_(closing) {}

  /// A descriptor of `directory` (relative, empty for the root), valid until the next call. Errors: `not_found`,
  /// `invalid_argument` when a component is a link or a file, `corrupt` when a new one exists already, `disk`.
  result<int> enter(std::string_view directory, on_missing policy);

  /// Forgets what is open, after directories were removed or replaced.
  void leave_all() noexcept { levels_.clear(); }

private:
  struct level {
    std::string name;
    descriptor fd; ///< closed when too many levels lie below it
  };

  result<int> descriptor_of(std::size_t depth);
  void leave(std::size_t depth);
  std::string path_to(std::size_t depth) const;

  int root_;
  closing_batch* closing_;
  std::vector<level> levels_;
};

/// The part before the last slash; empty when there is none.
inline std::string_view parent_of(std::string_view path) noexcept {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

/// The part after the last slash, NUL-terminated as `path` is.
inline const char* leaf_of(const std::string& path) noexcept {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path.c_str() : path.c_str() + slash + 1;
}

} // namespace townkeeper::git
