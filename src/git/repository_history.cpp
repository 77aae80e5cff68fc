#include "git/repository_history.hpp"

#include <set>

#include "git/object_id.hpp"
#include "git/repository_refs.hpp"

namespace townkeeper::git {
namespace {

/// Counts what a repository lacks of the history and trees it should have, each object looked at once.
class completeness {
public:
  completeness(git_repository* repo, const std::function<bool()>& cancelled)
      : repo_(repo)
      , cancelled_(cancelled) {}

  bool open() { return git_repository_odb(out(odb_), repo_) == 0 && git_revwalk_new(out(walk_), repo_) == 0; }
  bool add_tip(const std::string& id);
  bool history_exists();
  bool was_cancelled() const noexcept { return was_cancelled_; }

private:
  bool tree_exists(const git_oid& id);
  bool go_on();

  git_repository* repo_;
  const std::function<bool()>& cancelled_;
  odb_handle odb_;
  revwalk_handle walk_;
  std::set<std::string> trees_; ///< by their binary names
  unsigned looked_at_ = 0;
  bool was_cancelled_ = false;
};

bool completeness::go_on() {
  constexpr unsigned ask_every = 256;
  if (++looked_at_ % ask_every == 0 && cancelled_()) was_cancelled_ = true;
  return !was_cancelled_;
}

bool completeness::tree_exists(const git_oid& id) {
  if (!trees_.emplace(reinterpret_cast<const char*>(id.id), sizeof id.id).second) return true;
  tree_handle tree;
  if (!go_on() || git_tree_lookup(out(tree), repo_, &id) != 0) return false;
  const auto count = git_tree_entrycount(tree.get());
  for (std::size_t i = 0; i < count; ++i) {
    const auto* entry = git_tree_entry_byindex(tree.get(), i);
    const auto& child = *git_tree_entry_id(entry);
    const auto kind = git_tree_entry_type(entry);
    if (kind == GIT_OBJECT_TREE && !tree_exists(child)) return false;
    if (kind == GIT_OBJECT_BLOB && git_odb_exists(odb_.get(), &child) != 1) return false;
  }
  return true;
}

bool completeness::add_tip(const std::string& id) {
  const auto tip = parse_oid(id);
  object_handle object, commit;
  if (!tip || git_object_lookup(out(object), repo_, &*tip, GIT_OBJECT_ANY) != 0) return false;
  const int code = git_object_peel(out(commit), object.get(), GIT_OBJECT_COMMIT);
  if (code == GIT_EPEEL || code == GIT_EINVALIDSPEC) return true; // a tag of a tree or a file: nobody's branch
  return code == 0 && tree_exists(*git_commit_tree_id(reinterpret_cast<const git_commit*>(commit.get()))) &&
         git_revwalk_push(walk_.get(), git_object_id(commit.get())) == 0;
}

bool completeness::history_exists() {
  git_oid id;
  int code = 0;
  while ((code = git_revwalk_next(&id, walk_.get())) == 0)
    // The walk may know a commit from the commit graph alone.
    if (!go_on() || git_odb_exists(odb_.get(), &id) != 1) return false;
  return code == GIT_ITEROVER;
}

} // namespace

result<bool> has_whole_history(git_repository* repo, const std::string& prefix,
                               const std::function<bool()>& cancelled) {
  const auto names = list_refs(repo, prefix);
  if (!names) return false;
  completeness history(repo, cancelled);
  bool whole = history.open();
  for (const auto& name : *names) {
    reference_handle ref;
    const int code = git_reference_lookup(out(ref), repo, name.c_str());
    // origin/HEAD: what it leads to is among the others, or gone from the remote.
    if (code == 0 && git_reference_type(ref.get()) == GIT_REFERENCE_SYMBOLIC) continue;
    whole = whole && history.add_tip(target_of(repo, name));
  }
  whole = whole && history.history_exists();
  if (history.was_cancelled()) return error{error_code::cancelled, git_repository_path(repo), "cancelled"};
  return whole;
}

} // namespace townkeeper::git
