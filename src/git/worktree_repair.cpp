#include "git/worktree_repair.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "core/ids.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/local_branch.hpp"
#include "git/lock_file.hpp"
#include "git/loose_reader.hpp"
#include "git/object_cache.hpp"
#include "git/object_id.hpp"
#include "git/registration.hpp"
#include "git/tree_reader.hpp"
#include "git/worktree_index.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

/// What git keeps in a registration while something is in progress there, or for checked-out submodules.
constexpr std::array<const char*, 8> signs_of_work{"MERGE_HEAD",   "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG",
                                                   "rebase-merge", "rebase-apply",     "sequencer",   "modules"};

bool exists(int directory, const char* name) {
  struct stat st {};
  return ::fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/// True when both paths lead to one directory, however they are spelled.
bool lead_to_one_directory(const fs::path& a, const fs::path& b) {
  struct stat first {};
  struct stat second {};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

bool commit_exists(git_repository* repository, const std::string& hex) {
  const auto id = parse_oid(hex);
  commit_handle commit;
  return id && git_commit_lookup(out(commit), repository, &*id) == 0;
}

bool head_makes_sense(git_repository* repository, const registration& r) {
  if (!r.head) return false;
  if (const auto branch = r.head_branch()) return is_valid_branch(*branch);
  return r.head->starts_with("ref: refs/") || commit_exists(repository, *r.head);
}

result<bool> holds_exactly(git_index* index, object_store& objects, const git_oid& commit, const cancel_flag& cancel) {
  auto tree = tree_of(objects.repository(), commit);
  if (!tree) return tree.error();
  auto files = read_manifest(objects, *tree, cancel);
  if (!files) return files.error();
  if (git_index_entrycount(index) != files->entries.size()) return false;
  for (std::size_t i = 0; i < files->entries.size(); ++i) {
    const auto* e = git_index_get_byindex(index, i);
    const auto& wanted = files->entries[i];
    if (GIT_INDEX_ENTRY_STAGE(e) != 0 || e->path != wanted.path || e->mode != wanted.mode || !same(e->id, wanted.id))
      return false;
  }
  return true;
}

class mending {
public:
  mending(const worktree_place& place, git_repository* repository, const worktree_job& job,
          const worktree_target& target)
      : place_(place)
      , repository_(repository)
      , job_(job)
      , target_(target) {}

  result<worktree_repair> run() {
    if (auto done = look_at_directory(); !done) return done.error();
    if (!root_) {
      if (auto done = clear_registration(); !done) return done.error();
      return std::move(repair_);
    }
    repair_.is_there = true;
    for (const auto step : {&mending::remove_locks, &mending::mend_registration, &mending::mend_dot_git,
                            &mending::mend_branch, &mending::mend_index})
      if (auto done = (this->*step)(); !done) return done.error();
    return std::move(repair_);
  }

private:
  /// Opens the directory if it is a worktree, or is to be one again; anything else is moved out of the way.
  result<void> look_at_directory() {
    const auto* name = place_.agent_id.c_str();
    struct stat st {};
    if (::fstatat(place_.worktrees.get(), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? result<void>() : disk_error(errno, place_.worktree.native(), "cannot be examined");
    if (!S_ISDIR(st.st_mode)) return set_aside("was no directory");
    if (::unlinkat(place_.worktrees.get(), name, AT_REMOVEDIR) == 0) return {};
    auto root = open_directory(place_.worktrees.get(), name, place_.worktree.native());
    if (!root) return root.error();

    if (::fstatat(root->get(), ".git", &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) return disk_error(errno, (place_.worktree / ".git").native(), "cannot be examined");
      if (!read_registration(place_.registrations.get(), place_.agent_id)) return set_aside("was no worktree");
    } else if (!S_ISREG(st.st_mode)) {
      return set_aside("held a repository of its own");
    } else if (const auto named = read_dot_git(root->get())) {
      if (!lead_to_one_directory(*named, place_.registration) && fs::exists(*named / "HEAD", ignored_))
        return set_aside("belonged to the repository at " + named->native());
    } else if (!read_registration(place_.registrations.get(), place_.agent_id)) {
      return set_aside("was no worktree");
    }
    root_ = std::move(*root);
    return {};
  }

  result<void> set_aside(std::string_view why) {
    auto kept = move_aside(place_);
    if (!kept) return kept.error();
    repair_.reported.push_back(
        fmt::format("what stood in the worktree's place {} and is kept at {}", why, kept->native()));
    return {};
  }

  result<void> clear_registration() {
    if (!exists(place_.registrations.get(), place_.agent_id.c_str())) return {};
    auto work = registration_holds_work(place_, repository_, job_.cancel);
    if (!work) return work.error();
    if (*work) {
      auto kept = move_registration_aside(place_);
      if (!kept) return kept.error();
      repair_.reported.push_back(fmt::format("the worktree's files were gone; git's notes on them name staged changes, "
                                             "commits or an operation in progress and are kept at {}",
                                             kept->native()));
    } else {
      auto staging = staging_directory::make(place_);
      if (!staging) return staging.error();
      if (const auto failed =
              rename_new(place_.registrations.get(), place_.agent_id.c_str(), staging->fd(), "registration");
          failed != 0)
        return disk_error(failed, place_.registration.native(), "cannot be removed");
    }
    repair_.healed.emplace_back("the worktree's directory was gone");
    return {};
  }

  result<void> remove_locks() {
    for (const auto* lock : {"index.lock", "HEAD.lock"}) {
      auto removed = remove_dead_lock(place_.registration / lock, place_.worktree);
      if (!removed) return removed.error();
      if (*removed) repair_.healed.push_back(fmt::format("{} of a dead process removed", lock));
    }
    return {};
  }

  result<void> mend_registration() {
    auto found = read_registration(place_.registrations.get(), place_.agent_id);
    if (!found) return make_registration();
    if (auto done = open_registration(); !done) return done;
    if (!head_makes_sense(repository_, *found))
      if (auto done = write("HEAD", head_content(job_.branch), "HEAD of the registration"); !done) return done;
    const auto common = read_small_file(registration_.get(), "commondir", PATH_MAX);
    if (!common ||
        !lead_to_one_directory(place_.registration / common->substr(0, common->find('\n')), place_.repository))
      if (auto done = write("commondir", commondir_content, "commondir of the registration"); !done) return done;
    if (!lead_to_one_directory(found->worktree, place_.worktree))
      if (auto done = write("gitdir", gitdir_content(place_), "gitdir of the registration"); !done) return done;
    if (!found->is_locked)
      if (auto done = write("locked", lock_reason(place_), "lock of the registration"); !done) return done;
    return {};
  }

  result<void> make_registration() {
    if (exists(place_.registrations.get(), place_.agent_id.c_str())) {
      auto kept = move_registration_aside(place_);
      if (!kept) return kept.error();
      repair_.reported.push_back(
          fmt::format("what stood in the place of git's notes was no directory and is kept at {}", kept->native()));
    }
    auto staging = staging_directory::make(place_);
    if (!staging) return staging.error();
    const auto& at = target_.local_tip ? target_.local_tip : target_.commit;
    if (::mkdirat(staging->fd(), "registration", 0777) != 0)
      return disk_error(errno, "registration", "cannot be created");
    auto made = open_directory(staging->fd(), "registration", "registration");
    if (!made) return made.error();
    if (auto done =
            write_registration(made->get(), place_, job_.branch, at ? to_hex(*at) : std::string(), std::nullopt);
        !done)
      return done;
    const auto failed = rename_new(staging->fd(), "registration", place_.registrations.get(), place_.agent_id.c_str());
    if (failed != 0) return disk_error(failed, place_.registration.native(), "cannot be put in place");
    repair_.healed.emplace_back("registration restored");
    return open_registration();
  }

  result<void> open_registration() {
    auto opened = open_directory(place_.registrations.get(), place_.agent_id.c_str(), place_.registration.native());
    if (!opened) return opened.error();
    registration_ = std::move(*opened);
    return {};
  }

  result<void> write(const char* name, std::string_view content, std::string_view what) {
    if (auto done = put_file(place_, registration_.get(), name, content); !done) return done;
    repair_.healed.push_back(fmt::format("{} restored", what));
    return {};
  }

  result<void> mend_dot_git() {
    const auto named = read_dot_git(root_.get());
    if (named && lead_to_one_directory(*named, place_.registration)) return {};
    if (auto done = put_file(place_, root_.get(), ".git", dot_git_content(place_)); !done) return done;
    repair_.healed.emplace_back(".git file restored");
    return {};
  }

  /// A branch that HEAD is on and that is not there is unborn, or was lost: HEAD's reflog tells, for an unborn branch
  /// has none.
  result<void> mend_branch() {
    const auto r = read_registration(place_.registrations.get(), place_.agent_id);
    if (target_.local_tip || !r || r->head_branch() != job_.branch) return {};
    auto last = last_head();
    if (!last) return last.error();
    auto to = *last;
    if (!to && !target_.healed.empty()) to = target_.commit; // it was there and could not be read
    if (!to && std::find(repair_.healed.begin(), repair_.healed.end(), "registration restored") != repair_.healed.end())
      to = target_.commit;
    if (!to) return {};
    if (auto done = set_branch(place_, repository_, job_.branch, *to, std::nullopt, "townkeeper: branch restored");
        !done)
      return done;
    repair_.branch_set = true;
    repair_.healed.push_back(fmt::format("branch {} set to {}, where the worktree was", job_.branch, to_hex(*to)));
    return {};
  }

  result<std::optional<git_oid>> last_head() {
    repository_handle opened;
    if (const auto rc = open_worktree_repository(out(opened), place_.worktree.c_str()); rc != 0)
      return last_error(rc, place_.worktree.native());
    git_reflog* raw = nullptr;
    if (git_reflog_read(&raw, opened.get(), "HEAD") != 0) return std::optional<git_oid>();
    const std::unique_ptr<git_reflog, free_with<git_reflog_free>> log(raw);
    const auto* entry = git_reflog_entry_byindex(log.get(), 0);
    if (entry == nullptr || !commit_exists(repository_, to_hex(*git_reflog_entry_id_new(entry))))
      return std::optional<git_oid>();
    return std::optional(*git_reflog_entry_id_new(entry));
  }

  result<void> mend_index() {
    auto index = open_index(place_);
    if (index || (index.error().code != error_code::not_found && index.error().code != error_code::corrupt))
      return index ? result<void>() : index.error();
    repository_handle opened;
    if (const auto rc = open_worktree_repository(out(opened), place_.worktree.c_str()); rc != 0)
      return last_error(rc, place_.worktree.native());
    git_oid head{};
    if (const auto rc = git_reference_name_to_id(&head, opened.get(), "HEAD"); rc != 0) {
      if (rc != GIT_ENOTFOUND) return last_error(rc, place_.worktree.native());
      if (index.error().code == error_code::not_found) return {}; // unborn, and nothing staged
      if (::renameat(registration_.get(), "index", registration_.get(), "index.broken") != 0)
        return disk_error(errno, (place_.registration / "index").native(), "cannot be moved aside");
    } else {
      auto objects = object_store::open(repository_);
      if (!objects) return objects.error();
      if (auto done = rebuild_index(place_, root_.get(), registration_.get(), *objects, head, job_.cancel); !done)
        return done;
    }
    repair_.healed.emplace_back("index rebuilt");
    return {};
  }

  const worktree_place& place_;
  git_repository* repository_;
  const worktree_job& job_;
  const worktree_target& target_;
  descriptor root_;
  descriptor registration_;
  std::error_code ignored_;
  worktree_repair repair_;
};

} // namespace

result<worktree_repair> mend_worktree(const worktree_place& place, git_repository* repository, const worktree_job& job,
                                      const worktree_target& target) {
  return mending(place, repository, job, target).run();
}

result<bool> registration_holds_work(const worktree_place& place, git_repository* repository,
                                     const cancel_flag& cancel) {
  const auto r = read_registration(place.registrations.get(), place.agent_id);
  if (!r) return true; // no directory: it is nobody's to remove
  for (const auto* sign : signs_of_work)
    if (exists(place.registrations.get(), (place.agent_id + '/' + sign).c_str())) return true;
  if (!head_makes_sense(repository, *r)) return false;
  std::optional<git_oid> head;
  if (const auto branch = r->head_branch()) {
    auto state = read_branch(repository, *branch);
    if (!state) return state.error();
    head = state->tip;
  } else if (const auto detached = parse_oid(*r->head)) {
    auto saved = is_on_remote(repository, *detached);
    if (!saved) return saved.error();
    if (!*saved) return true;
    head = *detached;
  }
  auto index = open_index(place);
  if (!index) return index.error().code != error_code::not_found;
  if (!head) return git_index_entrycount(index->get()) > 0;
  auto objects = object_store::open(repository);
  if (!objects) return objects.error();
  auto clean = holds_exactly(index->get(), *objects, *head, cancel);
  if (!clean) return clean.error();
  return !*clean;
}

} // namespace townkeeper::git
