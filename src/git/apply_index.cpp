#include "git/apply_index.hpp"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <vector>

#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

/// A path that git would refuse to put into an index must not come to one by way of a point.
bool is_acceptable(std::string_view path, std::uint32_t mode) {
  for (std::size_t at = 0; at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const auto kind = end < path.size()        ? entry_kind::directory
                      : mode == mode_symlink   ? entry_kind::symlink
                      : mode == mode_submodule ? entry_kind::submodule
                                               : entry_kind::file;
    if (!check_entry_name(path.substr(at, end - at), kind, path)) return false;
    at = end + 1;
  }
  return true;
}

/// libgit2 reads an index only from a file: one that no directory knows.
result<index_handle> parse_index(const std::string& bytes) {
  const descriptor file(::memfd_create("index", MFD_CLOEXEC));
  if (!file) return disk_error(errno, "raw-index", "cannot be given a place in memory");
  if (const auto failed = write_all(file.get(), bytes); failed != 0)
    return disk_error(failed, "raw-index", "cannot be written to memory");
  index_handle index;
  const auto path = fmt::format("/proc/self/fd/{}", file.get());
  if (const auto rc = git_index_open(out(index), path.c_str()); rc != 0) {
    auto failure = last_error(rc, "raw-index");
    failure.code = failure.message.find("mandatory extension") != std::string::npos ? error_code::unsupported
                                                                                    : error_code::corrupt;
    return failure;
  }
  return index;
}

class index_builder {
public:
  explicit index_builder(const written_files& written)
      : written_(written) {}

  void add(const manifest_entry& entry, int stage = 0) {
    add({entry.path, entry.id, entry.mode, stamp_for(entry.path, entry.id, entry.mode, stage), stage});
  }

  void add(const git_index_entry& e) {
    const auto stage = GIT_INDEX_ENTRY_STAGE(&e);
    if (!is_acceptable(e.path, e.mode)) return;
    index_record record{e.path, e.id, e.mode, stamp_for(e.path, e.id, e.mode, stage), stage};
    record.assume_unchanged = (e.flags & GIT_INDEX_ENTRY_VALID) != 0;
    record.skip_worktree = (e.flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) != 0;
    record.intent_to_add = (e.flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD) != 0;
    // Where a filter would give other bytes, git tells by the size it remembers whether it looks at the content at all.
    if (record.stamp == file_stamp{} && stage == 0 && is_unlike_blob(e)) record.stamp.size = other_size(e);
    add(record);
  }

  result<point_index> finish(std::span<const manifest_tree> trees) {
    std::stable_sort(records_.begin(), records_.end(), [](const index_record& a, const index_record& b) {
      const auto order = a.path.compare(b.path);
      return order != 0 ? order < 0 : a.stage < b.stage;
    });
    auto bytes = serialise_index(records_, trees);
    if (!bytes) return bytes.error();
    return point_index{std::move(*bytes), records_.size()};
  }

private:
  void add(const index_record& record) { records_.push_back(record); }

  file_stamp stamp_for(std::string_view path, const git_oid& id, std::uint32_t mode, int stage) const {
    const auto found = stage == 0 ? written_.find(path) : written_.end();
    if (found == written_.end()) return {};
    const auto& file = *found->second.entry;
    return !file.as_it_is && file.mode == mode && same(file.id, id) ? found->second.stamp : file_stamp{};
  }

  bool is_unlike_blob(const git_index_entry& e) const {
    const auto found = written_.find(e.path);
    return found != written_.end() && found->second.entry->as_it_is;
  }
  /// The size the entry had, unless it is the file's.
  std::uint32_t other_size(const git_index_entry& e) const {
    return e.file_size == written_.find(e.path)->second.stamp.size ? 0 : e.file_size;
  }

  const written_files& written_;
  std::vector<index_record> records_;
};

} // namespace

result<point_index> index_of_point(object_store& objects, const point_layers& layers, const point_files& files,
                                   const written_files& written, const cancel_flag& cancel) {
  index_builder builder(written);
  if (layers.raw_index) {
    auto blob = objects.read(*layers.raw_index, GIT_OBJECT_BLOB);
    if (!blob) return blob.error();
    auto index = parse_index((*blob)->bytes);
    if (!index) return index.error();
    bool intent_to_add = false;
    for (std::size_t i = 0, count = git_index_entrycount(index->get()); i < count; ++i) {
      const auto* entry = git_index_get_byindex(index->get(), i);
      intent_to_add = intent_to_add || (entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD) != 0;
      builder.add(*entry);
    }
    // Such an entry names the empty blob, which no tree of the point does.
    git_oid empty{};
    if (const auto rc = intent_to_add ? git_blob_create_from_buffer(&empty, objects.repository(), "", 0) : 0; rc != 0)
      return last_error(rc, "the empty blob");
    return builder.finish({});
  }
  std::array<manifest, 3> stages;
  std::set<std::string_view> unmerged;
  std::vector<std::string> refused; // named already, where the files are read
  for (std::size_t i = 0; i < stages.size(); ++i) {
    if (!layers.stages.at(i)) continue;
    auto read = read_manifest(objects, *layers.stages.at(i), cancel, &refused);
    if (!read) return read.error();
    stages.at(i) = std::move(*read);
    for (const auto& entry : stages.at(i).entries) {
      unmerged.insert(entry.path);
      builder.add(entry, static_cast<int>(i) + 1);
    }
  }
  for (const auto& entry : files.index.entries)
    if (!unmerged.contains(entry.path)) builder.add(entry);
  if (unmerged.empty()) return builder.finish(files.index.trees);
  return builder.finish({});
}

} // namespace townkeeper::git
