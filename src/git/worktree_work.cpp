#include "git/worktree_work.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "git/checkout_conversion.hpp"
#include "git/directory_stack.hpp"
#include "git/file_comparison.hpp"
#include "git/git_error.hpp"
#include "git/gitignore.hpp"
#include "git/handle.hpp"
#include "git/loose_reader.hpp"
#include "git/object_cache.hpp"
#include "git/tree_reader.hpp"
#include "git/worktree_index.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {
namespace {

constexpr std::string_view branch_prefix = "refs/heads/";

std::string_view name_of(int repository_state) noexcept {
  switch (repository_state) {
  case GIT_REPOSITORY_STATE_NONE:
    return "";
  case GIT_REPOSITORY_STATE_MERGE:
    return "a merge";
  case GIT_REPOSITORY_STATE_REVERT:
  case GIT_REPOSITORY_STATE_REVERT_SEQUENCE:
    return "a revert";
  case GIT_REPOSITORY_STATE_CHERRYPICK:
  case GIT_REPOSITORY_STATE_CHERRYPICK_SEQUENCE:
    return "a cherry-pick";
  case GIT_REPOSITORY_STATE_BISECT:
    return "a bisection";
  case GIT_REPOSITORY_STATE_APPLY_MAILBOX:
    return "an am";
  default:
    return "a rebase";
  }
}

/// Says whether files that libgit2 takes for modified are what git's checkout gives. Opened at the first doubt.
class second_look {
public:
  second_look(git_repository* repository, const std::optional<git_oid>& head, const descriptor& root)
      : repository_(repository)
      , head_(head)
      , directories_(root.get()) {}

  result<bool> is_as_checked_out(const git_index_entry& entry) {
    if (!head_) return false;
    if (!conversion_)
      if (auto opened = open(); !opened) return opened.error();
    auto directory = directories_.enter(parent_of(entry.path), directory_stack::on_missing::fail);
    if (!directory) return false;
    const manifest_entry wanted{entry.path, entry.id, entry.mode};
    auto same = file_comparison(*objects_, *conversion_).stamp_if_same(*directory, leaf_of(wanted), wanted);
    if (!same) return same.error();
    return same->has_value();
  }

private:
  result<void> open() {
    auto objects = object_store::open(repository_);
    if (!objects) return objects.error();
    objects_.emplace(std::move(*objects));
    auto tree = tree_of(repository_, *head_);
    if (!tree) return tree.error();
    auto files = read_manifest(*objects_, *tree, nullptr);
    if (!files) return files.error();
    auto conversion = checkout_conversion::open(*objects_, *head_, *files);
    if (!conversion) return conversion.error();
    conversion_.emplace(std::move(*conversion));
    return {};
  }

  git_repository* repository_;
  std::optional<git_oid> head_;
  directory_stack directories_;
  std::optional<object_store> objects_;
  std::optional<checkout_conversion> conversion_;
};

result<void> read_head(git_repository* repository, worktree_work& work) {
  reference_handle head;
  if (const auto rc = git_reference_lookup(out(head), repository, "HEAD"); rc != 0) return last_error(rc, "HEAD");
  if (const auto* target = git_reference_symbolic_target(head.get())) {
    const std::string_view ref(target);
    work.branch = ref.starts_with(branch_prefix) ? ref.substr(branch_prefix.size()) : ref;
  }
  git_oid id{};
  const auto rc = git_reference_name_to_id(&id, repository, "HEAD");
  if (rc == 0) work.head = id;
  if (rc != 0 && rc != GIT_ENOTFOUND) return last_error(rc, "HEAD");
  return {};
}

bool is_in_use(int root, const std::string& submodule) {
  struct stat st {};
  return ::fstatat(root, (submodule + "/.git").c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

void read_entries(git_index* index, int root, worktree_work& work) {
  work.entries = git_index_entrycount(index);
  for (std::size_t i = 0; i < work.entries; ++i) {
    const auto* e = git_index_get_byindex(index, i);
    if ((e->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) != 0) work.sparse = true;
    if (e->mode == mode_submodule && is_in_use(root, e->path)) work.submodules_in_use.emplace_back(e->path);
  }
}

/// Whether what libgit2 takes for ignored is not, or holds something that is not. `path` ends in a slash where it is a
/// directory. What cannot be read counts as work.
bool is_overlooked(git_repository* repository, gitignore& rules, const std::string& path) {
  namespace fs = std::filesystem;
  if (rules.is_ignored(path)) return false;
  if (!path.ends_with('/')) return true;
  const std::string root = git_repository_workdir(repository);
  std::error_code failed;
  fs::recursive_directory_iterator at(root + path, failed);
  for (; !failed && at != fs::recursive_directory_iterator(); at.increment(failed)) {
    if (at->path().filename() == ".git") return true; // a repository of its own
    const auto found = at->path().native().substr(root.size());
    const auto kind = at->symlink_status(failed).type();
    if (failed) break;
    if (kind == fs::file_type::directory) {
      if (rules.is_ignored(found + '/')) at.disable_recursion_pending();
    } else if ((kind == fs::file_type::regular || kind == fs::file_type::symlink) && !rules.is_ignored(found)) {
      return true;
    }
  }
  return static_cast<bool>(failed);
}

result<void> count_changes(git_repository* repository, git_index* index, second_look& look, worktree_work& work) {
  git_status_options options{};
  options.version = GIT_STATUS_OPTIONS_VERSION;
  options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
  // No UPDATE_INDEX: an intact worktree is not written to.
  options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_INCLUDE_IGNORED |
                  GIT_STATUS_OPT_INCLUDE_UNREADABLE | GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
  gitignore rules(repository);
  status_list_handle list;
  if (const auto rc = git_status_list_new(out(list), repository, &options); rc != 0) return last_error(rc, "status");
  const auto count = git_status_list_entrycount(list.get());
  for (std::size_t i = 0; i < count; ++i) {
    const auto* change = git_status_byindex(list.get(), i);
    const unsigned status = change->status;
    constexpr unsigned in_index = GIT_STATUS_INDEX_NEW | GIT_STATUS_INDEX_MODIFIED | GIT_STATUS_INDEX_DELETED |
                                  GIT_STATUS_INDEX_RENAMED | GIT_STATUS_INDEX_TYPECHANGE;
    if (status == GIT_STATUS_WT_MODIFIED && index != nullptr) {
      const auto* entry = git_index_get_bypath(index, change->index_to_workdir->old_file.path, 0);
      if (entry != nullptr && entry->mode != mode_submodule) {
        auto same = look.is_as_checked_out(*entry);
        if (!same) return same.error();
        if (*same) continue;
      }
    }
    if ((status & GIT_STATUS_CONFLICTED) != 0) {
      ++work.conflicts;
    } else if (status == GIT_STATUS_WT_NEW) {
      ++work.untracked;
    } else if (status == GIT_STATUS_IGNORED) {
      if (is_overlooked(repository, rules, change->index_to_workdir->new_file.path)) ++work.untracked;
    } else if ((status & in_index) != 0) {
      ++work.staged;
    } else if (status != GIT_STATUS_CURRENT) {
      ++work.modified;
    }
  }
  return {};
}

} // namespace

bool worktree_work::is_uncommitted() const noexcept {
  return !operation.empty() || conflicts + staged + modified + untracked > 0;
}

std::string worktree_work::described() const {
  std::vector<std::string> parts;
  if (!operation.empty()) parts.push_back(operation + " in progress");
  const auto add = [&](std::size_t count, std::string_view one, std::string_view many) {
    if (count > 0) parts.push_back(fmt::format("{} {}", count, count == 1 ? one : many));
  };
  add(conflicts, "conflicted file", "conflicted files");
  add(staged, "staged change", "staged changes");
  add(modified, "modified or deleted file", "modified or deleted files");
  add(untracked, "untracked path", "untracked paths");
  return fmt::format("{}", fmt::join(parts, ", "));
}

result<worktree_work> inspect_work(const worktree_place& place) {
  repository_handle repository;
  if (const auto rc = open_worktree_repository(out(repository), place.worktree.c_str()); rc != 0)
    return last_error(rc, place.worktree.native());
  auto root = open_directory(place.worktrees.get(), place.agent_id.c_str(), place.worktree.native());
  if (!root) return root.error();
  auto index = open_index(place);
  if (!index && index.error().code != error_code::not_found) return index.error();

  worktree_work work;
  if (auto done = read_head(repository.get(), work); !done) return done.error();
  work.operation = name_of(git_repository_state(repository.get()));
  if (index) read_entries(index->get(), root->get(), work);
  second_look look(repository.get(), work.head, *root);
  if (auto done = count_changes(repository.get(), index ? index->get() : nullptr, look, work); !done)
    return done.error();
  return work;
}

} // namespace townkeeper::git
