#include "git/snapshot_layers.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "git/descriptor.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"
#include "git/snapshot_nested.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

using kind = content_outcome::kind;

/// The commit a checked-out submodule is at; nothing: it is not checked out, or cannot be read.
std::optional<git_oid> submodule_head(const snapshot_job& job, const std::string& path) {
  repository_handle repository;
  git_oid id{};
  if (git_repository_open_ext(out(repository), (job.worktree / path).c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr) !=
          0 ||
      git_reference_name_to_id(&id, repository.get(), "HEAD") != 0)
    return std::nullopt;
  return id;
}

class layer_reading {
public:
  layer_reading(const walk_result& walk, const index_image& index, content_reader& contents, const snapshot_job& job,
                int root)
      : walk_(walk)
      , entries_(index.entries())
      , contents_(contents)
      , job_(job)
      , root_(root) {}

  result<worktree_layers> run() {
    layers_.left_out = walk_.left_out;
    for (const auto& found : walk_.changed)
      if (auto done = take_tracked(found); !done) return done.error();
    for (const auto& found : walk_.unchanged)
      if (auto done = check_unchanged(found); !done) return done.error();
    for (const auto* entry : walk_.gone)
      note_gone(*entry);
    for (const auto* entry : walk_.submodules)
      take_submodule(*entry);
    layers_.has_untracked = !walk_.untracked.empty() || !walk_.nested.empty();
    for (const auto& found : walk_.untracked)
      if (auto done = take_untracked(found); !done) return done.error();
    for (const auto& path : walk_.nested)
      if (auto done = take_nested(path); !done) return done.error();
    return std::move(layers_);
  }

private:
  static bool stands_for_itself(const index_entry& entry) { return entry.stage == 0 && !entry.intent_to_add; }

  void count(const index_entry& entry) {
    if (!entry.assume_unchanged && !entry.skip_worktree) ++layers_.modified;
  }

  result<void> take_tracked(const found_path& found) {
    if (is_cancelled(job_.cancel)) return cancelled_error(job_.agent_id);
    const auto& entry = *found.entry;
    auto outcome = contents_.read(found);
    if (!outcome) return outcome.error();
    if (outcome->what == kind::vanished) {
      note_gone(entry);
      return {};
    }
    if (outcome->what == kind::left_out) {
      count(entry);
      layers_.left_out.push_back({found.path, outcome->reason});
      return {};
    }
    note_raw(found.path, *outcome);
    const bool as_indexed = same(outcome->item.id, entry.id) && outcome->item.mode == entry.mode;
    if (as_indexed && stands_for_itself(entry)) {
      if (!outcome->has_other_size) return {};
      layers_.has_other_sizes = true;
      count(entry);
      return {};
    }
    count(entry);
    layers_.worktree.push_back({found.path, outcome->item});
    return {};
  }

  result<void> check_unchanged(const found_path& found) {
    auto outcome = contents_.check_unchanged(found);
    if (!outcome) return outcome.error();
    note_raw(found.path, *outcome);
    return {};
  }

  void note_raw(const std::string& path, const content_outcome& outcome) {
    if (outcome.raw) layers_.extras.push_back({"raw/" + path, tree_item{*outcome.raw, outcome.item.mode}});
  }

  void note_gone(const index_entry& entry) {
    count(entry);
    // An unmerged path may bear the name of a directory that is there.
    if (entry.stage == 0 || !is_directory_of_index(entry.path))
      layers_.worktree.push_back({std::string(entry.path), std::nullopt});
  }

  bool is_directory_of_index(std::string_view path) const {
    const auto prefix = std::string(path) + '/';
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), prefix,
                                     [](const index_entry& e, const std::string& wanted) { return e.path < wanted; });
    return at != entries_.end() && at->path.starts_with(prefix);
  }

  void take_submodule(const index_entry& entry) {
    const std::string path(entry.path);
    const auto head = submodule_head(job_, path);
    if (head && (!same(*head, entry.id) || entry.stage != 0)) {
      count(entry);
      layers_.worktree.push_back({path, tree_item{*head, mode_submodule}});
    }
    if (head) layers_.left_out.push_back({path, "is a checked-out submodule: commit and push what is in it"});
  }

  result<void> take_untracked(const found_path& found) {
    if (is_cancelled(job_.cancel)) return cancelled_error(job_.agent_id);
    if (job_.without_untracked) {
      layers_.left_out.push_back({found.path, "is untracked, and the remote refused the point with such files"});
      return {};
    }
    if (static_cast<std::int64_t>(layers_.untracked.size()) >= job_.limits.untracked_files) {
      layers_.left_out.push_back(
          {found.path, fmt::format("is beyond the limit of {} untracked files", job_.limits.untracked_files)});
      return {};
    }
    auto outcome = contents_.read(found);
    if (!outcome) return outcome.error();
    if (outcome->what == kind::left_out) layers_.left_out.push_back({found.path, outcome->reason});
    if (outcome->what != kind::read) return {};
    note_raw(found.path, *outcome);
    layers_.untracked.push_back({found.path, outcome->item});
    return {};
  }

  result<void> take_nested(const std::string& path) {
    if (job_.without_untracked) {
      layers_.left_out.push_back({path + "/.git", "is untracked, and the remote refused the point with such files"});
      return {};
    }
    auto changes = read_nested_repository(root_, path, contents_, layers_.left_out, job_.cancel);
    if (!changes) return changes.error();
    layers_.extras.insert(layers_.extras.end(), std::make_move_iterator(changes->begin()),
                          std::make_move_iterator(changes->end()));
    return {};
  }

  const walk_result& walk_;
  const std::vector<index_entry>& entries_;
  content_reader& contents_;
  const snapshot_job& job_;
  int root_;
  worktree_layers layers_;
};

} // namespace

result<worktree_layers> read_worktree_layers(const walk_result& walk, const index_image& index,
                                             content_reader& contents, const snapshot_job& job, int root) {
  return layer_reading(walk, index, contents, job, root).run();
}

} // namespace townkeeper::git
