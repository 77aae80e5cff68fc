#include "git/snapshot_index.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t max_index_bytes = std::size_t{1} << 30;
constexpr int max_index_reads = 3;

/// The one entry that stands for a path in the index commit: its stage 2, else 3, else 1 where it is unmerged; nothing
/// for intent-to-add, as `git write-tree` has it.
const index_entry* speaker_of(const std::vector<index_entry>& entries, std::size_t begin, std::size_t end) {
  const index_entry* best = nullptr;
  const auto rank = [](int stage) { return stage == 2 ? 0 : stage == 3 ? 1 : 2; };
  for (auto i = begin; i < end; ++i) {
    const auto& e = entries[i];
    if (e.stage == 0) return e.intent_to_add ? nullptr : &e;
    if (best == nullptr || rank(e.stage) < rank(best->stage)) best = &e;
  }
  return best;
}

class head_comparison {
public:
  head_comparison(const index_image& index, git_odb* objects, const cancel_flag& cancel, staged_changes& into)
      : entries_(index.entries())
      , objects_(objects)
      , cancel_(cancel)
      , into_(into) {}

  result<void> run(const std::optional<git_oid>& head_tree, const cached_tree* cache) {
    return compare(head_tree, {0, entries_.size()}, {}, cache);
  }

private:
  result<void> compare(const std::optional<git_oid>& tree, entry_range range, const std::string& prefix,
                       const cached_tree* cache) {
    if (is_cancelled(cancel_)) return cancelled_error(prefix);
    if (tree && cache != nullptr && cache->id && same(*cache->id, *tree) && cache->entries == range.end - range.begin)
      return {};
    odb_object_handle object;
    std::map<std::string_view, tree_item> theirs;
    if (tree) {
      auto read = read_tree_object(objects_, *tree);
      if (!read) return read.error();
      object = std::move(*read);
      auto lines = parse_tree(
          {static_cast<const char*>(git_odb_object_data(object.get())), git_odb_object_size(object.get())}, *tree);
      if (!lines) return lines.error();
      for (const auto& line : *lines)
        theirs.emplace(line.name, line.item);
    }
    const auto ours = children_of(entries_, range, prefix.size());
    std::set<std::string_view> directories;
    for (const auto& child : ours)
      if (child.is_directory) directories.insert(child.name);
    for (const auto& child : ours) {
      // While unmerged, a path may bear the name of a directory: a tree has room for one, the stages for both.
      if (!child.is_directory && directories.contains(child.name)) {
        ++into_.conflicts;
        continue;
      }
      const auto there = theirs.find(child.name);
      const auto* known = there == theirs.end() ? nullptr : &there->second;
      auto done =
          child.is_directory ? compare_directory(child, known, prefix, cache) : compare_path(child, known, prefix);
      if (!done) return done;
    }
    for (const auto& child : ours)
      theirs.erase(child.name);
    for (const auto& [name, item] : theirs)
      if (auto gone = note_gone(prefix + std::string(name), item, true); !gone) return gone;
    return {};
  }

  result<void> compare_directory(const index_child& child, const tree_item* known, const std::string& prefix,
                                 const cached_tree* cache) {
    const auto path = prefix + std::string(child.name);
    const bool is_tree = known != nullptr && known->mode == mode_directory;
    if (known != nullptr && !is_tree)
      if (auto gone = note_gone(path, *known, true); !gone) return gone;
    const cached_tree* below = nullptr;
    if (cache != nullptr)
      for (const auto& each : cache->children)
        if (each.name == child.name) below = &each;
    return compare(is_tree ? std::optional(known->id) : std::nullopt, {child.begin, child.end}, path + '/', below);
  }

  result<void> compare_path(const index_child& child, const tree_item* known, const std::string& prefix) {
    const auto path = prefix + std::string(child.name);
    const auto* entry = speaker_of(entries_, child.begin, child.end);
    const bool conflicted = entries_[child.begin].stage != 0;
    if (conflicted) ++into_.conflicts;
    if (known != nullptr && known->mode == mode_directory) {
      if (auto gone = note_gone(path, *known, entry == nullptr); !gone) return gone;
      known = nullptr;
    }
    if (entry == nullptr) {
      if (known != nullptr) return note_gone(path, *known, true);
      return {};
    }
    if (known != nullptr && canonical_mode(known->mode) == entry->mode && same(known->id, entry->id)) return {};
    if (!conflicted) ++into_.staged;
    into_.changes.push_back({path, tree_item{entry->id, entry->mode}});
    return {};
  }

  /// A path of HEAD that the index lacks. `removes`: nothing of the index takes its place.
  result<void> note_gone(const std::string& path, const tree_item& item, bool removes) {
    if (removes) into_.changes.push_back({path, std::nullopt});
    if (item.mode != mode_directory) {
      ++into_.staged;
      return {};
    }
    auto object = read_tree_object(objects_, item.id);
    if (!object) return object.error();
    auto lines = parse_tree(
        {static_cast<const char*>(git_odb_object_data(object->get())), git_odb_object_size(object->get())}, item.id);
    if (!lines) return lines.error();
    for (const auto& line : *lines)
      if (auto done = note_gone(path + '/' + std::string(line.name), line.item, false); !done) return done;
    return {};
  }

  const std::vector<index_entry>& entries_;
  git_odb* objects_;
  const cancel_flag& cancel_;
  staged_changes& into_;
};

/// Why a staged content cannot be part of a point; empty when it was brought into the store.
result<std::string> bring(git_odb* objects, private_store& store, const tree_item& item,
                          const recovery_limits& limits) {
  if (item.mode == mode_submodule || store.contains(item.id)) return std::string();
  std::size_t size = 0;
  git_object_t type = GIT_OBJECT_INVALID;
  if (git_odb_read_header(&size, &type, objects, &item.id) != 0 || type != GIT_OBJECT_BLOB)
    return std::string("its staged content is gone from the repository; `git add` it again");
  if (static_cast<std::int64_t>(size) > limits.file_bytes)
    return fmt::format("its staged content has {} bytes, more than the limit of {} for one file", size,
                       limits.file_bytes);
  odb_object_handle object;
  if (const auto rc = git_odb_read(out(object), objects, &item.id); rc != 0)
    return std::string("its staged content cannot be read; `git add` it again");
  auto id = store.put({static_cast<const char*>(git_odb_object_data(object.get())), size}, GIT_OBJECT_BLOB);
  if (!id) return id.error();
  return std::string();
}

result<void> bring_all(std::vector<tree_change>& changes, std::size_t prefix, git_odb* objects, private_store& store,
                       const recovery_limits& limits, std::vector<town::left_out_file>& left_out) {
  std::vector<tree_change> kept;
  kept.reserve(changes.size());
  for (auto& change : changes) {
    if (change.becomes) {
      auto why = bring(objects, store, *change.becomes, limits);
      if (!why) return why.error();
      if (!why->empty()) {
        left_out.push_back({change.path.substr(prefix), std::move(*why)});
        continue;
      }
    }
    kept.push_back(std::move(change));
  }
  changes = std::move(kept);
  return {};
}

} // namespace

std::vector<index_child> children_of(const std::vector<index_entry>& entries, entry_range range, std::size_t prefix) {
  std::vector<index_child> out;
  for (auto i = range.begin; i < range.end;) {
    const auto rest = entries[i].path.substr(prefix);
    const auto slash = rest.find('/');
    index_child child{rest.substr(0, slash), i, i + 1, slash != std::string_view::npos};
    if (child.is_directory) {
      child.end = end_of_directory(entries, i, range.end, entries[i].path.substr(0, prefix + slash + 1));
    } else {
      while (child.end < range.end && entries[child.end].path == entries[i].path)
        ++child.end;
    }
    out.push_back(child);
    i = child.end;
  }
  return out;
}

std::size_t end_of_directory(const std::vector<index_entry>& entries, std::size_t begin, std::size_t end,
                             std::string_view prefix) {
  const auto first = entries.begin() + static_cast<std::ptrdiff_t>(begin);
  const auto last = entries.begin() + static_cast<std::ptrdiff_t>(end);
  const auto found =
      std::partition_point(first, last, [prefix](const index_entry& e) { return e.path.starts_with(prefix); });
  return static_cast<std::size_t>(found - entries.begin());
}

result<index_moment> read_index_stamp(int registration, const std::string& path) {
  index_moment moment;
  struct stat st {};
  if (::fstatat(registration, "index", &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return moment;
    return disk_error(errno, path, "cannot be examined");
  }
  const auto stamp = stamp_of(st);
  moment.written_s = stamp.mtime_s;
  moment.written_ns = stamp.mtime_ns;
  moment.inode = st.st_ino;
  moment.size = st.st_size;
  moment.changed_ns = std::int64_t{st.st_ctim.tv_sec} * 1'000'000'000 + st.st_ctim.tv_nsec;
  return moment;
}

result<index_moment> read_index_moment(int registration, const std::string& path) {
  for (int attempt = 1;; ++attempt) {
    auto moment = read_index_stamp(registration, path);
    if (!moment || moment->inode == 0) return moment;
    auto bytes = read_small_file(registration, "index", max_index_bytes);
    auto after = read_index_stamp(registration, path);
    if (!after) return after.error();
    const bool last = attempt == max_index_reads;
    if (!last && !moment->same_file(*after)) continue;
    if (!bytes) {
      if (bytes.error().code == error_code::not_found) return index_moment{};
      return bytes.error();
    }
    auto image = index_image::parse(std::move(*bytes), path);
    if (!image) {
      if (!last && image.error().code == error_code::corrupt) continue;
      return image.error();
    }
    moment->image = std::move(*image);
    return moment;
  }
}

result<staged_changes> compare_index_with_head(const index_image& index, git_odb* objects,
                                               const std::optional<git_oid>& head_tree, private_store& store,
                                               const recovery_limits& limits, const cancel_flag& cancel) {
  staged_changes out;
  head_comparison comparison(index, objects, cancel, out);
  if (auto done = comparison.run(head_tree, index.trees()); !done) return done.error();
  for (const auto& e : index.entries()) {
    out.has_flags = out.has_flags || e.assume_unchanged || e.skip_worktree || e.intent_to_add;
    if (e.stage != 0) out.stages.push_back({fmt::format("stages/{}/{}", e.stage, e.path), tree_item{e.id, e.mode}});
  }
  constexpr std::size_t stage_prefix = std::string_view("stages/1/").size();
  if (auto done = bring_all(out.changes, 0, objects, store, limits, out.left_out); !done) return done.error();
  if (auto done = bring_all(out.stages, stage_prefix, objects, store, limits, out.left_out); !done) return done.error();
  return out;
}

} // namespace townkeeper::git
