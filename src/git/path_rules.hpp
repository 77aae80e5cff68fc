#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

/// Which names of a tree may reach the disk. The rules are git's own for a repository that may be opened on any system
/// (`core.protectHFS` and `core.protectNTFS`, git-config(1)). Control characters are written, as git writes them: an
/// agent's file of such a name is its work as any other. Whatever shows a path shows it by `printable`.
namespace townkeeper::git {

enum class entry_kind { file, symlink, directory, submodule };

/// The longest path below the worktree, in bytes: one less than Linux's PATH_MAX, beyond which git could not examine
/// the file.
inline constexpr std::size_t max_path_length = 4095;

/// True for every spelling under which some file system would find `.git`: any case, with code points HFS+ ignores, the
/// NTFS short name `git~1`, trailing dots and spaces, an alternate stream (`.git::$INDEX_ALLOCATION`), behind a
/// backslash.
bool is_dot_git(std::string_view name) noexcept;

/// The same for `.gitmodules`, which must not be a symbolic link (CVE-2018-11235's rule).
bool is_dot_gitmodules(std::string_view name) noexcept;

/// Checks one name of a tree. `path` (of which `name` is the last part) is what the error names. `invalid_argument`:
/// empty, `.`, `..`, with a slash or NUL, a spelling of `.git`, a `.gitmodules` that is a link, or too long a path.
result<void> check_entry_name(std::string_view name, entry_kind kind, std::string_view path);

/// `text` with control characters shown as `\xNN`, so that a hostile name cannot forge a log line or an error.
std::string printable(std::string_view text);

} // namespace townkeeper::git
