#include "git/snapshot_walk.hpp"

#include <dirent.h>
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "git/descriptor.hpp"
#include "git/gitignore.hpp"
#include "git/handle.hpp"
#include "git/path_rules.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

/// One open descriptor a level: deeper directories are left out, by name.
constexpr std::size_t max_depth = 256;

struct close_dir {
  void operator()(DIR* stream) const noexcept { ::closedir(stream); }
};

std::int64_t nanoseconds(const struct timespec& t) noexcept {
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

bool by_name(const index_child& a, const index_child& b) noexcept {
  return a.name < b.name;
}

/// One directory on the way down. Whether the rules ignore it is asked for at the first untracked name in it: most
/// directories have none.
struct level {
  const level* parent = nullptr; ///< nothing: the root
  std::string path;              ///< with a slash at its end; of the root empty
  std::size_t depth = 0;
  mutable std::optional<bool> ignored;
};

class walker {
public:
  walker(const index_moment& index, git_repository* rules, const include_patterns& include, const cancel_flag& cancel)
      : index_(index)
      , entries_(index.image.entries())
      , rules_(rules)
      , exact_rules_(rules)
      , trusts_mode_(trusts_file_mode(rules))
      , include_(include)
      , cancel_(cancel) {}

  result<walk_result> run(int root) {
    descriptor own(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!own) return disk_error(errno, "worktree", "cannot be opened");
    const level top{nullptr, {}, 0, false};
    if (auto done = enter(std::move(own), top, {0, entries_.size()}); !done) return done.error();
    const auto by_path = [](const auto& a, const auto& b) { return a.path < b.path; };
    std::sort(out_.untracked.begin(), out_.untracked.end(), by_path);
    std::sort(out_.nested.begin(), out_.nested.end());
    return std::move(out_);
  }

private:
  /// Looks at everything in one directory.
  result<void> enter(descriptor directory, const level& here, entry_range range) {
    const auto& path = here.path;
    if (is_cancelled(cancel_)) return cancelled_error(path);
    const auto fd = directory.get();
    const std::unique_ptr<DIR, close_dir> stream(::fdopendir(fd));
    if (!stream) return cannot_read(path, range, errno);
    directory.release(); // closedir closes it
    auto tracked = tracked_below(range, path.size());
    std::vector<bool> seen_children(tracked.size(), false);
    for (;;) {
      errno = 0;
      const auto* found = ::readdir(stream.get());
      if (found == nullptr) {
        if (errno != 0) return cannot_read(path, unseen(tracked, seen_children), errno);
        break;
      }
      const std::string_view name = found->d_name;
      if (name == "." || name == "..") continue;
      if (name == ".git") {
        note_dot_git(fd, here);
        continue;
      }
      if (auto done = look_at(fd, here, found->d_name, tracked, seen_children); !done) return done;
    }
    for (std::size_t i = 0; i < tracked.size(); ++i)
      if (!seen_children[i]) note_gone(tracked[i]);
    return {};
  }

  result<void> look_at(int fd, const level& here, const char* leaf, const std::vector<index_child>& tracked,
                       std::vector<bool>& seen_children) {
    const std::string_view name(leaf);
    struct stat st {};
    if (::fstatat(fd, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) leave_out(here.path + leaf, "cannot be examined", errno);
      return {};
    }
    const bool is_directory = S_ISDIR(st.st_mode);
    auto at = std::lower_bound(tracked.begin(), tracked.end(), index_child{name, 0, 0, false}, by_name);
    const index_child* as_path = nullptr;
    const index_child* as_directory = nullptr;
    for (; at != tracked.end() && at->name == name; ++at) {
      const bool fits = at->is_directory == is_directory || is_submodule(*at);
      if (fits) seen_children[static_cast<std::size_t>(at - tracked.begin())] = true;
      if (fits && at->is_directory) as_directory = &*at;
      if (fits && !at->is_directory) as_path = &*at;
    }
    if (as_path != nullptr && is_submodule(*as_path)) {
      if (is_directory)
        out_.submodules.push_back(&entries_[as_path->begin]);
      else
        out_.gone.push_back(&entries_[as_path->begin]);
      if (is_directory) return {};
      as_path = nullptr;
    }
    const auto full = here.path + leaf;
    if (is_directory) return look_at_directory(fd, here, full, leaf, as_directory);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
      // A socket or FIFO: git does not see it, and a tracked path in its place counts as gone.
      if (as_path != nullptr) {
        out_.gone.push_back(&entries_[as_path->begin]);
        out_.left_out.push_back({full, "is neither a file nor a link"});
      }
      return {};
    }
    if (as_path != nullptr)
      note_tracked(full, entries_[as_path->begin], st);
    else
      note_untracked(here, full, name, st);
    return {};
  }

  result<void> look_at_directory(int fd, const level& here, const std::string& full, const char* leaf,
                                 const index_child* tracked) {
    level below{&here, full + '/', here.depth + 1, std::nullopt};
    entry_range range;
    if (tracked != nullptr) {
      range = {tracked->begin, tracked->end};
    } else {
      if (is_ignored(below) && !include_.may_match_below(full)) return {};
      if (auto good = check_entry_name(leaf, entry_kind::directory, full); !good) {
        out_.left_out.push_back({full, good.error().message});
        return {};
      }
    }
    if (below.depth > max_depth) return cannot_read(below.path, range, ENAMETOOLONG);
    descriptor directory(::openat(fd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return cannot_read(below.path, range, errno);
    return enter(std::move(directory), below, range);
  }

  /// What lies in an ignored directory is ignored, whatever is said of it: git never looks there.
  bool is_ignored(const level& directory) {
    if (!directory.ignored) directory.ignored = is_ignored(*directory.parent) || rules_ignore(directory.path);
    return *directory.ignored;
  }

  bool is_submodule(const index_child& child) const noexcept {
    return !child.is_directory && entries_[child.begin].mode == mode_submodule;
  }

  void note_tracked(const std::string& full, const index_entry& entry, const struct stat& st) {
    const auto mode = index_mode(seen(st), &entry, trusts_mode_);
    const auto written = std::pair(index_.written_s, index_.written_ns);
    const bool trusted = entry.stage == 0 && !entry.intent_to_add && mode == entry.mode &&
                         stamp_of(st) == entry.stamp && std::pair(entry.stamp.mtime_s, entry.stamp.mtime_ns) < written;
    (trusted ? out_.unchanged : out_.changed).push_back({full, seen(st), &entry});
  }

  void note_untracked(const level& here, const std::string& full, std::string_view name, const struct stat& st) {
    if ((is_ignored(here) || rules_ignore(full)) && !include_.matches(full, false)) return;
    const auto kind = S_ISLNK(st.st_mode) ? entry_kind::symlink : entry_kind::file;
    if (auto good = check_entry_name(name, kind, full); !good) {
      out_.left_out.push_back({full, good.error().message});
      return;
    }
    out_.untracked.push_back({full, seen(st), nullptr});
  }

  /// A repository inside the worktree, which is no submodule: what it is made of must be saved by itself.
  void note_dot_git(int fd, const level& here) {
    const auto& path = here.path;
    if (path.empty() || (is_ignored(here) && !include_.matches(path.substr(0, path.size() - 1), true))) return;
    struct stat st {};
    if (::fstatat(fd, ".git", &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (S_ISDIR(st.st_mode) && ::fstatat(fd, ".git/HEAD", &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    out_.nested.push_back(path.substr(0, path.size() - 1));
  }

  void note_gone(const index_child& child) {
    for (auto i = child.begin; i < child.end; ++i)
      if (i == child.begin || entries_[i].path != entries_[i - 1].path) out_.gone.push_back(&entries_[i]);
  }

  /// The directory cannot be read: what is tracked in it is taken as the index has it.
  result<void> cannot_read(const std::string& path, entry_range range, int number) {
    if (number == ENOENT) {
      note_gone({{}, range.begin, range.end, true});
      return {};
    }
    if (path.empty()) return disk_error(number, "worktree", "cannot be read");
    leave_out(path, "cannot be read", number);
    for (auto i = range.begin; i < range.end; ++i)
      if (i == range.begin || entries_[i].path != entries_[i - 1].path) out_.unreadable.push_back(&entries_[i]);
    return {};
  }

  /// From the first child that was not seen to the end: a directory that fails midway fails for all of them.
  static entry_range unseen(const std::vector<index_child>& tracked, const std::vector<bool>& seen_children) {
    entry_range range;
    for (std::size_t i = 0; i < tracked.size(); ++i) {
      if (seen_children[i]) continue;
      if (range.end == 0) range.begin = tracked[i].begin;
      range.begin = std::min(range.begin, tracked[i].begin);
      range.end = std::max(range.end, tracked[i].end);
    }
    return range;
  }

  void leave_out(const std::string& path, std::string_view what, int number) {
    out_.left_out.push_back({path, fmt::format("{}: {}", what, std::generic_category().message(number))});
  }

  /// `path` ends in a slash where it is a directory.
  bool rules_ignore(const std::string& path) {
    int ignored = 0;
    // What cannot be told is not ignored, nor what the two do not agree on: it is better to save too much.
    return git_ignore_path_is_ignored(&ignored, rules_, path.c_str()) == 0 && ignored != 0 &&
           exact_rules_.is_ignored(path);
  }

  std::vector<index_child> tracked_below(entry_range range, std::size_t prefix) const {
    auto out = children_of(entries_, range, prefix);
    std::sort(out.begin(), out.end(), by_name);
    return out;
  }

  const index_moment& index_;
  const std::vector<index_entry>& entries_;
  git_repository* rules_;
  gitignore exact_rules_;
  bool trusts_mode_;
  const include_patterns& include_;
  const cancel_flag& cancel_;
  walk_result out_;
};

} // namespace

seen_stat seen(const struct stat& st) noexcept {
  return {st.st_dev, st.st_ino, st.st_mode, st.st_size, nanoseconds(st.st_mtim), nanoseconds(st.st_ctim)};
}

std::uint32_t index_mode(const seen_stat& stat, const index_entry* entry, bool trusts_mode) noexcept {
  if (stat.is_link()) return mode_symlink;
  const bool entry_decides =
      !trusts_mode && entry != nullptr && (entry->mode == mode_file || entry->mode == mode_executable);
  if (entry_decides) return entry->mode;
  return (stat.mode & S_IXUSR) != 0 ? mode_executable : mode_file;
}

bool trusts_file_mode(git_repository* repository) noexcept {
  config_handle config;
  int trusts = 1;
  if (git_repository_config_snapshot(out(config), repository) != 0) return true;
  return git_config_get_bool(&trusts, config.get(), "core.filemode") != 0 || trusts != 0;
}

result<walk_result> walk_worktree(int root, const index_moment& index, git_repository* rules,
                                  const include_patterns& include, const cancel_flag& cancel) {
  return walker(index, rules, include, cancel).run(root);
}

} // namespace townkeeper::git
