#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.hpp"
#include "git/descriptor.hpp"
#include "watch/inotify.hpp"

namespace townkeeper::watch {

class watched_tree;

/// One directory of a watched tree. Its path is put together from its parents when it is needed.
struct watched_directory {
  watched_tree* tree = nullptr;
  watched_directory* parent = nullptr; ///< nothing: the root
  std::string_view name;               ///< the key below which the parent holds it
  std::map<std::string, std::unique_ptr<watched_directory>, std::less<>> children;
  int wd = -1;                 ///< minus one: not watched (yet, or ignored, or unreadable)
  std::uint32_t queued_at = 0; ///< its place in the queue of scans, from 1; 0: not in it
  bool ignored = false;        ///< known, and not looked into
  bool deep = false;           ///< when scanned: its children too, also those that stand already
  bool seen = false;           ///< by the scan that runs

  /// Relative to the root of the tree, empty for the root.
  std::string path() const;
  std::string path_of(std::string_view child) const;
};

/// Which directory a number of the kernel's means, for all trees of a hub.
struct watch_table {
  explicit watch_table(std::size_t max_watches)
      : kernel(max_watches) {}

  inotify kernel;
  std::unordered_map<int, watched_directory*> directories;
  std::uint64_t unreadable = 0; ///< directories skipped for want of permission, so far

  /// From now on `wd` means `directory`, whatever it meant before: directories move.
  void assign(int wd, watched_directory& directory);
  /// `directory` is watched no more.
  void release(watched_directory& directory, bool tell_kernel) noexcept;
};

/// What a tree says to its owner, on the hub's thread.
struct tree_observer {
  enum class entry {
    file,      ///< written, made, removed, renamed, touched
    directory, ///< made, removed, renamed
    found      ///< a file in a directory that was not watched before: nobody knows since when
  };
  /// Whether the directory, relative to the root, is part of the tree.
  std::function<bool(const std::string& directory)> descends;
  std::function<void(const watched_directory& in, std::string_view name, entry what)> changed;
  /// A whole walk ended: all directories are watched. What happened while it went on may not have been seen.
  std::function<void()> walked;
  /// Not everything is watched any more; once.
  std::function<void(const error&)> lost;
};

/// A directory with everything below it that `descends` admits, each directory watched as it appears. No symbolic link
/// is followed. Belongs to the hub's thread.
///
/// There is no gap at a new directory: it is watched first and listed then, and what the listing shows counts as found.
class watched_tree {
public:
  watched_tree(watch_table& table, std::filesystem::path root, tree_observer observer);
  watched_tree(const watched_tree&) = delete;
  watched_tree& operator=(const watched_tree&) = delete;
  ~watched_tree();

  const std::filesystem::path& root() const noexcept { return root_path_; }

  /// Has everything looked at again, from the root; `walked` says when.
  void walk();
  /// Asks again about the directories that were ignored, and walks those that are not any more.
  void reconsider();
  /// Scans up to `limit` directories. True: there are more.
  bool scan_some(std::size_t limit);
  bool has_work() const noexcept { return queued_ > 0; }

  /// What the kernel said of one of its directories.
  void take(watched_directory& directory, const inotify_event_view& event);

  const std::optional<error>& lost() const noexcept { return lost_; }
  /// After `lost`: a whole walk from scratch, which may be lost in turn.
  void try_again();

private:
  void enqueue(watched_directory& directory, bool deep);
  void dequeue(watched_directory& directory) noexcept;
  void scan(watched_directory& directory);
  bool watch(watched_directory& directory, int fd);
  void list(watched_directory& directory, git::descriptor fd, bool is_new, bool deep);
  void consider(watched_directory& parent, std::string_view name, bool deep);
  void take_directory(watched_directory& directory, const inotify_event_view& event);
  void reconsider_below(watched_directory& directory);
  void drop_child(watched_directory& parent, std::string_view name);
  void unwatch(watched_directory& directory) noexcept;
  void give_up(error reason);
  void cannot_open(watched_directory& directory, int failed);
  git::descriptor open(const watched_directory& directory) const;

  watch_table& table_;
  std::filesystem::path root_path_;
  tree_observer observer_;
  watched_directory root_;
  std::vector<watched_directory*> queue_; ///< a stack with holes: what was dropped leaves one
  std::size_t queued_ = 0;
  bool walking_ = false;
  std::optional<error> lost_;
};

} // namespace townkeeper::watch
