#include "git/worktree_index.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "git/checkout_conversion.hpp"
#include "git/directory_stack.hpp"
#include "git/file_comparison.hpp"
#include "git/git_error.hpp"
#include "git/tree_reader.hpp"
#include "git/worktree_target.hpp"

namespace townkeeper::git {
namespace {

/// libgit2 says `unsupported mandatory extension: 'link'`; the four letters are gitformat-index's.
std::string_view feature_in(std::string_view message) noexcept {
  if (message.find("'link'") != std::string_view::npos) return "a split index; `git update-index --no-split-index`";
  if (message.find("'sdir'") != std::string_view::npos) return "a sparse index; `git sparse-checkout disable`";
  return "an index extension that is not known here; `git update-index --force-write-index` with a plain git";
}

std::pair<std::uint32_t, std::uint32_t> time_of(std::int64_t seconds, std::int64_t nanoseconds) noexcept {
  return {static_cast<std::uint32_t>(seconds), static_cast<std::uint32_t>(nanoseconds)};
}

file_stamp index_stamp(const git_index_entry& e) noexcept {
  return {static_cast<std::uint32_t>(e.ctime.seconds),
          e.ctime.nanoseconds,
          static_cast<std::uint32_t>(e.mtime.seconds),
          e.mtime.nanoseconds,
          e.dev,
          e.ino,
          e.uid,
          e.gid,
          e.file_size};
}

} // namespace

result<index_handle> open_index(const worktree_place& place) {
  const auto path = place.registration / "index";
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return error{error_code::not_found, path.native(), "does not exist"};
    return disk_error(errno, path.native(), "cannot be examined");
  }
  if (!S_ISREG(st.st_mode)) return error{error_code::corrupt, path.native(), "is no regular file"};
  index_handle index;
  if (const auto rc = git_index_open(out(index), path.c_str()); rc != 0) {
    auto failure = last_error(rc, path.native());
    if (failure.message.find("mandatory extension") != std::string::npos)
      return error{error_code::unsupported, place.agent_id,
                   fmt::format("the worktree has {} in it makes it readable again", feature_in(failure.message))};
    if (failure.code != error_code::disk) failure.code = error_code::corrupt;
    return failure;
  }
  return index;
}

result<stamped_paths> trustworthy_stamps(const worktree_place& place, git_index* index) {
  const auto path = place.registration / "index";
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return disk_error(errno, path.native(), "cannot be examined");
  const auto written = time_of(st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  stamped_paths stamps;
  const auto count = git_index_entrycount(index);
  for (std::size_t i = 0; i < count; ++i) {
    const auto* e = git_index_get_byindex(index, i);
    if (GIT_INDEX_ENTRY_STAGE(e) != 0) continue;
    const auto stamp = index_stamp(*e);
    if (std::pair(stamp.mtime_s, stamp.mtime_ns) < written) stamps.emplace_hint(stamps.end(), e->path, stamp);
  }
  return stamps;
}

result<void> rebuild_index(const worktree_place& place, int worktree, int registration, object_store& objects,
                           const git_oid& commit, const cancel_flag& cancel) {
  auto tree = tree_of(objects.repository(), commit);
  if (!tree) return tree.error();
  auto files = read_manifest(objects, *tree, cancel);
  if (!files) return files.error();
  auto conversion = checkout_conversion::open(objects, commit, *files);
  if (!conversion) return conversion.error();
  file_comparison comparison(objects, *conversion);
  directory_stack directories(worktree);
  std::vector<index_record> records;
  records.reserve(files->entries.size());
  for (const auto& entry : files->entries) {
    if (is_cancelled(cancel)) return cancelled_error(place.agent_id);
    file_stamp stamp;
    if (auto directory = directories.enter(parent_of(entry.path), directory_stack::on_missing::fail)) {
      auto same = comparison.stamp_if_same(*directory, leaf_of(entry), entry);
      if (!same) return same.error();
      stamp = same->value_or(file_stamp{});
    } else if (directory.error().code == error_code::disk) {
      return directory.error();
    }
    records.push_back({entry.path, entry.id, entry.mode, stamp});
  }
  auto index = serialise_index(records, files->trees);
  if (!index) return index.error();
  // The old one may name staged blobs that somebody wants to look for.
  if (::renameat(registration, "index", registration, "index.broken") != 0 && errno != ENOENT)
    return disk_error(errno, (place.registration / "index").native(), "cannot be moved aside");
  return replace_file(registration, "index", *index);
}

} // namespace townkeeper::git
