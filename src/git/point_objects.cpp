#include "git/point_objects.hpp"

#include <set>

#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

/// Looks at each tree and file once.
class tree_check {
public:
  explicit tree_check(git_repository* repo)
      : repo_(repo) {}

  bool open() { return git_repository_odb(out(odb_), repo_) == 0; }
  bool exists(const git_oid& id);

private:
  /// A file that is there may be damaged.
  bool can_be_read(const git_oid& blob) {
    if (!seen_.emplace(reinterpret_cast<const char*>(blob.id), sizeof blob.id).second) return true;
    odb_object_handle object;
    return git_odb_read(out(object), odb_.get(), &blob) == 0;
  }

  git_repository* repo_;
  odb_handle odb_;
  std::set<std::string> seen_; ///< by their binary names
};

bool tree_check::exists(const git_oid& id) {
  if (!seen_.emplace(reinterpret_cast<const char*>(id.id), sizeof id.id).second) return true;
  tree_handle tree;
  if (git_tree_lookup(out(tree), repo_, &id) != 0) return false;
  for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
    const auto* entry = git_tree_entry_byindex(tree.get(), i);
    const auto& child = *git_tree_entry_id(entry);
    const auto kind = git_tree_entry_type(entry);
    if (kind == GIT_OBJECT_TREE && !exists(child)) return false;
    if (kind == GIT_OBJECT_BLOB && !can_be_read(child)) return false;
  }
  return true;
}

} // namespace

bool point_is_whole(git_repository* repository, const std::string& commit) {
  const auto id = parse_oid(commit);
  revwalk_handle walk;
  tree_check trees(repository);
  if (!id || !trees.open() || git_revwalk_new(out(walk), repository) != 0) return false;
  if (git_revwalk_push(walk.get(), &*id) != 0) return false;
  git_revwalk_hide_glob(walk.get(), "refs/remotes/*"); // where one cannot be hidden, more is looked at
  git_oid next;
  int code = 0;
  while ((code = git_revwalk_next(&next, walk.get())) == 0) {
    commit_handle found;
    if (git_commit_lookup(out(found), repository, &next) != 0) return false;
    if (!trees.exists(*git_commit_tree_id(found.get()))) return false;
  }
  return code == GIT_ITEROVER;
}

} // namespace townkeeper::git
