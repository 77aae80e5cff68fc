#include "git/local_branch.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <set>

#include "core/fault_point.hpp"
#include "git/directory_stack.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/lock_file.hpp"
#include "git/object_id.hpp"
#include "git/registration.hpp"

namespace townkeeper::git {
namespace {

struct claims {
  std::mutex mutex;
  std::set<std::string> held;
};

claims& the_claims() {
  static claims c;
  return c;
}

std::string ref_of(const std::string& branch) {
  return "refs/heads/" + branch;
}

bool commit_exists(git_repository* repository, const git_oid& id) {
  commit_handle commit;
  return git_commit_lookup(out(commit), repository, &id) == 0;
}

int write_ref(git_repository* repository, const std::string& name, const git_oid& to,
              const std::optional<git_oid>& from) {
  reference_handle ref;
  if (from) return git_reference_create_matching(out(ref), repository, name.c_str(), &to, 1, &*from, nullptr);
  return git_reference_create(out(ref), repository, name.c_str(), &to, 0, nullptr);
}

/// The names of local branches that cannot be beside `branch`: `a` and `a/b` would be one path.
result<std::vector<std::string>> branches_in_the_way(git_repository* repository, const std::string& branch) {
  std::vector<std::string> names;
  git_reference_iterator* raw = nullptr;
  if (const auto rc = git_reference_iterator_glob_new(&raw, repository, "refs/heads/*"); rc != 0)
    return last_error(rc, branch);
  const std::unique_ptr<git_reference_iterator, free_with<git_reference_iterator_free>> iterator(raw);
  const char* ref = nullptr;
  while (git_reference_next_name(&ref, iterator.get()) == 0) {
    std::string other(std::string_view(ref).substr(ref_of({}).size()));
    if (branch.starts_with(other + '/') || other.starts_with(branch + '/')) names.push_back(std::move(other));
  }
  return names;
}

/// Removes local branches that cannot be beside `branch`, each if no worktree is on it and the remote has its commits.
result<void> make_room(const worktree_place& place, git_repository* repository, const std::string& branch) {
  auto names = branches_in_the_way(repository, branch);
  if (!names) return names.error();
  for (const auto& other : *names) {
    const auto state = read_branch(repository, other);
    if (!state) return state.error();
    auto saved = state->tip ? is_on_remote(repository, *state->tip) : result<bool>(false);
    if (!saved) return saved.error();
    if (!*saved || occupant_of(place, other))
      return error{
          error_code::conflict, branch,
          fmt::format("the local branch {} is in its way and is in use or not on the remote; rename one of them",
                      other)};
    if (const auto rc = git_reference_remove(repository, ref_of(other).c_str()); rc != 0) return last_error(rc, other);
  }
  return {};
}

result<void> remove_loose_ref(const worktree_place& place, const std::string& name) {
  directory_stack directories(place.repository_dir.get());
  auto directory = directories.enter(parent_of(name), directory_stack::on_missing::fail);
  if (!directory) return directory.error().code == error_code::not_found ? result<void>() : directory.error();
  if (::unlinkat(*directory, leaf_of(name), 0) != 0 && errno != ENOENT)
    return disk_error(errno, name, "cannot be removed");
  return {};
}

} // namespace

result<branch_claim> branch_claim::take(const worktree_place& place, const std::string& branch) {
  auto key = place.repository.native() + '\0' + branch;
  auto& c = the_claims();
  const std::lock_guard lock(c.mutex);
  if (!c.held.insert(key).second)
    return error{error_code::conflict, branch,
                 "another worktree is being put on this branch; a branch belongs to one agent"};
  return branch_claim(std::move(key));
}

branch_claim::~branch_claim() {
  if (key_.empty()) return;
  auto& c = the_claims();
  const std::lock_guard lock(c.mutex);
  c.held.erase(key_);
}

std::optional<std::string> occupant_of(const worktree_place& place, const std::string& branch) {
  auto names = list_directory(place.registrations.get(), "worktrees");
  if (!names) return std::nullopt;
  for (const auto& name : *names) {
    if (name == place.agent_id) continue;
    const auto other = read_registration_on(place.registrations.get(), name, branch);
    if (!other) continue;
    struct stat st {};
    if (::lstat(other->worktree.c_str(), &st) == 0) return name;
  }
  return std::nullopt;
}

result<branch_state> read_branch(git_repository* repository, const std::string& branch) {
  branch_state state;
  git_oid id{};
  const auto rc = git_reference_name_to_id(&id, repository, ref_of(branch).c_str());
  if (rc == GIT_ENOTFOUND) return state;
  if (rc != 0) {
    state.note = fmt::format("the local branch {} could not be read ({})", branch, last_error(rc, branch).message);
  } else if (!commit_exists(repository, id)) {
    state.note = fmt::format("the local branch {} named commit {}, which is not on the disk", branch, to_hex(id));
  } else {
    state.tip = id;
  }
  return state;
}

result<void> set_branch(const worktree_place& place, git_repository* repository, const std::string& branch,
                        const git_oid& to, const std::optional<git_oid>& from, const std::string& message) {
  const auto name = ref_of(branch);
  if (const int failed = fault_point("branch-moved"); failed != 0) return disk_error(failed, name, "cannot be moved");
  // Else libgit2 copies the whole configuration to look for a name.
  auto rc = git_repository_set_ident(repository, reflog_name, reflog_email);
  if (rc == 0) rc = write_ref(repository, name, to, from);
  if (rc == GIT_ELOCKED) {
    const auto lock = place.repository / (name + ".lock");
    if (auto freed = remove_dead_lock(lock, place.worktree); !freed) return freed.error();
    rc = write_ref(repository, name, to, from);
  }
  if (rc != 0 && rc != GIT_EMODIFIED && !from) {
    const auto now = read_branch(repository, branch);
    if (!now) return now.error();
    if (now->note) {
      // It says nothing that could be lost, and libgit2 replaces no file it cannot read.
      if (auto done = remove_loose_ref(place, name); !done) return done;
      reference_handle ref;
      rc = git_reference_create(out(ref), repository, name.c_str(), &to, 1, nullptr);
    } else if (!now->tip) {
      if (auto done = make_room(place, repository, branch); !done) return done;
      rc = write_ref(repository, name, to, from);
    }
  }
  if (rc == GIT_EMODIFIED || (rc == GIT_EEXISTS && !from))
    return error{error_code::conflict, branch,
                 "the local branch moved while the worktree was being restored; it is tried again"};
  if (rc != 0) return last_error(rc, branch);
  // libgit2 writes no reflog in a bare repository, where git in a worktree of it does.
  note_in_reflog(place.repository_dir.get(), "logs/" + name,
                 reflog_line(from ? to_hex(*from) : null_oid_hex, to_hex(to), message));
  return {};
}

result<std::int64_t> count_commits(git_repository* repository, const git_oid& tip, const std::vector<git_oid>& known) {
  revwalk_handle walk;
  if (const auto rc = git_revwalk_new(out(walk), repository); rc != 0) return last_error(rc, to_hex(tip));
  if (const auto rc = git_revwalk_push(walk.get(), &tip); rc != 0) return last_error(rc, to_hex(tip));
  for (const auto& id : known)
    if (const auto rc = git_revwalk_hide(walk.get(), &id); rc != 0) return last_error(rc, to_hex(id));
  std::int64_t count = 0;
  git_oid next{};
  int rc = 0;
  while (count < max_counted_commits && (rc = git_revwalk_next(&next, walk.get())) == 0)
    ++count;
  if (rc != 0 && rc != GIT_ITEROVER) return last_error(rc, to_hex(tip));
  return count;
}

result<bool> is_reachable(git_repository* repository, const git_oid& ancestor, const git_oid& tip) {
  if (same(ancestor, tip)) return true;
  const auto rc = git_graph_descendant_of(repository, &tip, &ancestor);
  if (rc < 0) return last_error(rc, to_hex(tip));
  return rc == 1;
}

result<std::vector<git_oid>> remote_tips(git_repository* repository) {
  std::vector<git_oid> tips;
  git_reference_iterator* raw = nullptr;
  if (const auto rc = git_reference_iterator_glob_new(&raw, repository, "refs/remotes/origin/*"); rc != 0)
    return last_error(rc, "refs/remotes/origin");
  const std::unique_ptr<git_reference_iterator, free_with<git_reference_iterator_free>> iterator(raw);
  reference_handle ref;
  while (git_reference_next(out(ref), iterator.get()) == 0) {
    object_handle commit;
    if (git_reference_peel(out(commit), ref.get(), GIT_OBJECT_COMMIT) == 0)
      tips.push_back(*git_object_id(commit.get()));
  }
  return tips;
}

result<bool> is_on_remote(git_repository* repository, const git_oid& commit) {
  auto tips = remote_tips(repository);
  if (!tips) return tips.error();
  if (std::any_of(tips->begin(), tips->end(), [&](const git_oid& tip) { return same(tip, commit); })) return true;
  if (tips->empty()) return false;
  const auto rc = git_graph_reachable_from_any(repository, &commit, tips->data(), tips->size());
  if (rc < 0) return last_error(rc, to_hex(commit));
  return rc == 1;
}

} // namespace townkeeper::git
