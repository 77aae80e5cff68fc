#include "git/remote_history.hpp"

#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {

namespace {

result<std::set<std::string>> walk_from(git_repository* repository, const advertisement& remote,
                                        const std::vector<git_oid>& tips, bool with_points) {
  std::set<std::string> lacking;
  odb_handle odb;
  revwalk_handle walk;
  int code = git_repository_odb(out(odb), repository);
  if (code == 0) code = git_revwalk_new(out(walk), repository);
  if (code < 0) return object_error(code, git_repository_path(repository));
  for (const auto& tip : tips)
    if (git_odb_exists(odb.get(), &tip) == 1) git_revwalk_push(walk.get(), &tip);
  std::set<std::string> hidden;
  for (const auto& [ref, hex] : remote.refs) {
    if (!with_points && ref.starts_with(point_namespace)) continue;
    const auto id = parse_oid(hex);
    // A tag of a tree or a file has no history.
    if (id && hidden.insert(hex).second && git_odb_exists(odb.get(), &*id) == 1) git_revwalk_hide(walk.get(), &*id);
  }
  git_oid next;
  while ((code = git_revwalk_next(&next, walk.get())) == 0)
    lacking.insert(to_hex(next));
  if (code != GIT_ITEROVER) return object_error(code, git_repository_path(repository));
  return lacking;
}

} // namespace

result<std::set<std::string>> commits_the_remote_lacks(git_repository* repository, const advertisement& remote,
                                                       const std::vector<git_oid>& tips) {
  auto lacking = walk_from(repository, remote, tips, true);
  // An older point may name what the repository has no more.
  if (!lacking && lacking.error().code == error_code::corrupt) return walk_from(repository, remote, tips, false);
  return lacking;
}

} // namespace townkeeper::git
