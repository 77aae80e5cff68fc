#pragma once

#include <git2.h>

#include <string>

/// libgit2 below 1.10 reads a loose object that ends early forever (its issue 7342), and writes past the end of the
/// buffer where one holds more than its header says (7177). A container that died leaves the one, and an agent can make
/// the other. So every repository whose objects are read is opened here, and its loose objects are read by a backend of
/// our own, which stands between libgit2's packs and its loose objects.
namespace townkeeper::git {

/// As `git_repository_open_bare` and `git_repository_open_ext`: libgit2's code, and its last error. The repository's
/// own store is read safely; one that its `info/alternates` names is not.
int open_bare_repository(git_repository** out, const char* path);
int open_worktree_repository(git_repository** out, const char* path, unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH);

/// What becomes of a damaged file: an error, or (a private store's: what is in it is elsewhere too, or is written again
/// once it is missing) it goes, and is not found.
enum class damaged_object { is_error, is_removed };

/// Adds the backend for the loose objects of a directory; among backends of one priority it comes last. libgit2's own
/// have 2 for packs, 1 for loose objects. 0, or a code.
int add_loose_reader(git_odb* odb, const std::string& objects, int priority, damaged_object damaged);

inline constexpr int between_packs_and_loose = 2;

} // namespace townkeeper::git
