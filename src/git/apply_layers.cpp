#include "git/apply_layers.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/manifest_difference.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

/// What means that something is in progress; ORIG_HEAD and its like stay behind when it is over.
constexpr std::array<const char*, 8> signs_of_operation{"MERGE_HEAD",   "CHERRY_PICK_HEAD", "REVERT_HEAD",
                                                        "BISECT_LOG",   "BISECT_START",     "rebase-merge",
                                                        "rebase-apply", "sequencer"};

error not_a_point(const git_oid& id, std::string_view why) {
  return {error_code::corrupt, to_hex(id), fmt::format("is no recovery point: {}", why)};
}

result<tree_handle> open_tree(git_repository* repository, const git_oid& id) {
  tree_handle tree;
  if (const auto rc = git_tree_lookup(out(tree), repository, &id); rc != 0) {
    auto failure = last_error(rc, to_hex(id));
    failure.code = error_code::corrupt;
    return failure;
  }
  return tree;
}

std::optional<git_oid> entry_of(const git_tree* tree, const char* name, git_object_t type) {
  const auto* entry = git_tree_entry_byname(tree, name);
  if (entry == nullptr || git_tree_entry_type(entry) != type) return std::nullopt;
  return *git_tree_entry_id(entry);
}

/// W with the trees of its parents.
result<void> read_stash(git_repository* repository, point_layers& layers) {
  commit_handle stash;
  if (const auto rc = git_commit_lookup(out(stash), repository, &layers.stash); rc != 0)
    return last_error(rc, to_hex(layers.stash));
  const auto parents = git_commit_parentcount(stash.get());
  if (parents < 2 || parents > 3) return not_a_point(layers.point, "its first parent is not made like a stash");
  layers.worktree_tree = *git_commit_tree_id(stash.get());
  std::array<git_oid, 3> trees{};
  for (unsigned i = 0; i < parents; ++i) {
    commit_handle parent;
    if (const auto rc = git_commit_parent(out(parent), stash.get(), i); rc != 0)
      return last_error(rc, to_hex(layers.stash));
    trees.at(i) = *git_commit_tree_id(parent.get());
  }
  layers.head_tree = trees[0];
  layers.index_tree = trees[1];
  if (parents == 3) layers.untracked_tree = trees[2];
  return {};
}

result<manifest> read_lenient(object_store& objects, const std::optional<git_oid>& tree, const cancel_flag& cancel,
                              std::vector<std::string>* refused) {
  if (!tree) return manifest{};
  return read_manifest(objects, *tree, cancel, refused);
}

/// Both lists in one, and raw bytes in place of what a filter would make of the blob.
result<void> merge(point_files& files, const manifest& raw) {
  std::map<std::string_view, const manifest_entry*> exact;
  for (const auto& entry : raw.entries)
    exact.emplace(entry.path, &entry);
  files.all.reserve(files.worktree.entries.size() + files.untracked.entries.size());
  std::merge(files.worktree.entries.begin(), files.worktree.entries.end(), files.untracked.entries.begin(),
             files.untracked.entries.end(), std::back_inserter(files.all),
             [](const auto& a, const auto& b) { return a.path < b.path; });
  const auto twice = std::adjacent_find(files.all.begin(), files.all.end(),
                                        [](const auto& a, const auto& b) { return a.path == b.path; });
  if (twice != files.all.end())
    return error{error_code::corrupt, printable(twice->path), "is tracked and untracked at once in the recovery point"};
  for (auto& entry : files.all) {
    const auto bytes = exact.find(entry.path);
    if (bytes == exact.end() || (entry.mode != mode_file && entry.mode != mode_executable)) continue;
    entry.id = bytes->second->id;
    entry.as_it_is = true;
    files.unlike_blob.emplace(entry.path);
  }
  return {};
}

} // namespace

result<point_layers> read_layers(object_store& objects, const git_oid& point) {
  auto* repository = objects.repository();
  point_layers layers;
  layers.point = point;
  commit_handle commit;
  if (const auto rc = git_commit_lookup(out(commit), repository, &point); rc != 0) {
    auto failure = last_error(rc, to_hex(point));
    if (rc == GIT_ENOTFOUND) failure.code = error_code::recovery_point_missing;
    return failure;
  }
  if (git_commit_parentcount(commit.get()) == 0) return not_a_point(point, "it has no parent");
  layers.stash = *git_commit_parent_id(commit.get(), 0);
  if (auto done = read_stash(repository, layers); !done) return done.error();

  auto root = open_tree(repository, *git_commit_tree_id(commit.get()));
  if (!root) return root.error();
  if (!entry_of(root->get(), "meta.json", GIT_OBJECT_BLOB)) return not_a_point(point, "its tree holds no meta.json");
  layers.raw_index = entry_of(root->get(), "raw-index", GIT_OBJECT_BLOB);
  layers.operation = entry_of(root->get(), "operation", GIT_OBJECT_TREE);
  layers.raw = entry_of(root->get(), "raw", GIT_OBJECT_TREE);
  layers.nested = entry_of(root->get(), "nested", GIT_OBJECT_TREE);
  if (const auto stages = entry_of(root->get(), "stages", GIT_OBJECT_TREE)) {
    auto tree = open_tree(repository, *stages);
    if (!tree) return tree.error();
    for (std::size_t i = 0; i < layers.stages.size(); ++i)
      layers.stages.at(i) = entry_of(tree->get(), std::to_string(i + 1).c_str(), GIT_OBJECT_TREE);
  }
  return layers;
}

result<point_files> read_files(object_store& objects, const point_layers& layers, const cancel_flag& cancel) {
  point_files files;
  std::vector<std::string> also_refused; // of trees that put nothing on the disk
  manifest raw;
  for (const auto& [into, tree, refused] :
       {std::tuple{&files.worktree, std::optional(layers.worktree_tree), &files.refused},
        std::tuple{&files.untracked, layers.untracked_tree, &files.refused},
        std::tuple{&files.index, std::optional(layers.index_tree), &also_refused},
        std::tuple{&files.head, std::optional(layers.head_tree), &also_refused},
        std::tuple{&raw, layers.raw, &also_refused}}) {
    auto read = read_lenient(objects, tree, cancel, refused);
    if (!read) return read.error();
    *into = std::move(*read);
  }
  if (auto done = merge(files, raw); !done) return done.error();
  return files;
}

point_changes changes_in(const point_files& files) {
  point_changes changes;
  const auto staged = difference(files.head, files.index);
  const auto unstaged = difference(files.index, files.worktree);
  std::set<std::string_view> paths;
  for (const auto* entry : staged.removed)
    paths.insert(entry->path);
  for (const auto& w : staged.written)
    paths.insert(w.entry->path);
  changes.staged.assign(paths.begin(), paths.end());
  std::set<std::string_view> modified;
  for (const auto& w : unstaged.written)
    modified.insert(w.entry->path);
  for (const auto* entry : unstaged.removed)
    if (!modified.contains(entry->path)) changes.deleted.emplace_back(entry->path);
  changes.modified.assign(modified.begin(), modified.end());
  for (const auto& entry : files.untracked.entries)
    changes.untracked.emplace_back(entry.path);
  return changes;
}

std::int64_t point_changes::count() const {
  std::set<std::string_view> paths;
  for (const auto* list : {&staged, &modified, &deleted, &untracked})
    paths.insert(list->begin(), list->end());
  return static_cast<std::int64_t>(paths.size());
}

result<bool> holds_uncommitted(object_store& objects, const point_layers& layers) {
  if (!same(layers.worktree_tree, layers.index_tree) || !same(layers.index_tree, layers.head_tree)) return true;
  if (layers.untracked_tree) {
    auto tree = open_tree(objects.repository(), *layers.untracked_tree);
    if (!tree) return tree.error();
    if (git_tree_entrycount(tree->get()) > 0) return true;
  }
  // Bytes that only a filter tells from the commit's own are none: git calls such a file unchanged.
  if (layers.nested) return true;
  if (std::any_of(layers.stages.begin(), layers.stages.end(), [](const auto& s) { return s.has_value(); })) return true;
  if (!layers.operation) return false;
  auto tree = open_tree(objects.repository(), *layers.operation);
  if (!tree) return tree.error();
  return std::any_of(signs_of_operation.begin(), signs_of_operation.end(),
                     [&](const char* sign) { return git_tree_entry_byname(tree->get(), sign) != nullptr; });
}

} // namespace townkeeper::git
