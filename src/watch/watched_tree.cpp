#include "watch/watched_tree.hpp"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace townkeeper::watch {
namespace {

/// Longer paths git cannot name either.
constexpr std::size_t max_path_bytes = 4096;

struct close_dir {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};

bool is_directory(int parent, const dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
  struct stat st {};
  return ::fstatat(parent, entry.d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

error no_room(int failed, const std::filesystem::path& root) {
  if (failed == ENOSPC)
    return {error_code::unavailable, root.string(),
            "the kernel watches no more directories; raise fs.inotify.max_user_watches"};
  if (failed == EMFILE || failed == ENFILE)
    return {error_code::unavailable, root.string(),
            "no descriptors to watch it with; raise the limit of open files (ulimit -n) or "
            "fs.inotify.max_user_instances"};
  return {error_code::unavailable, root.string(),
          "cannot be watched: " + std::generic_category().message(failed) + "; it is looked at by polling"};
}

} // namespace

std::string watched_directory::path() const {
  if (parent == nullptr) return {};
  return parent->path_of(name);
}

std::string watched_directory::path_of(std::string_view child) const {
  std::vector<std::string_view> names{child};
  for (const auto* at = this; at->parent != nullptr; at = at->parent)
    names.push_back(at->name);
  std::reverse(names.begin(), names.end());
  std::string out;
  for (const auto each : names) {
    if (!out.empty()) out += '/';
    out += each;
  }
  return out;
}

void watch_table::assign(int wd, watched_directory& directory) {
  if (directory.wd == wd) return;
  release(directory, true);
  auto& holder = directories[wd];
  if (holder == nullptr)
    kernel.counted();
  else
    holder->wd = -1;
  holder = &directory;
  directory.wd = wd;
}

void watch_table::release(watched_directory& directory, bool tell_kernel) noexcept {
  if (directory.wd < 0) return;
  kernel.remove(directory.wd, tell_kernel);
  directories.erase(std::exchange(directory.wd, -1));
}

watched_tree::watched_tree(watch_table& table, std::filesystem::path root, tree_observer observer)
    : table_(table)
    , root_path_(std::move(root))
    , observer_(std::move(observer)) {
  root_.tree = this;
}

watched_tree::~watched_tree() {
  unwatch(root_);
}

// -- walking ----------------------------------------------------------------------------------------------------------

void watched_tree::walk() {
  if (lost_) return;
  walking_ = true;
  enqueue(root_, true);
}

void watched_tree::try_again() {
  lost_.reset();
  unwatch(root_);
  walk();
}

void watched_tree::reconsider() {
  if (!lost_) reconsider_below(root_);
}

void watched_tree::reconsider_below(watched_directory& directory) {
  for (auto& [name, child] : directory.children) {
    if (!child->ignored) {
      reconsider_below(*child);
    } else if (observer_.descends(child->path())) {
      child->ignored = false;
      walking_ = true;
      enqueue(*child, true);
    }
  }
}

bool watched_tree::scan_some(std::size_t limit) {
  while (limit > 0 && !queue_.empty()) {
    auto* next = queue_.back();
    queue_.pop_back();
    if (next == nullptr) continue;
    next->queued_at = 0;
    --queued_;
    scan(*next);
    --limit;
  }
  if (has_work()) return true;
  queue_.clear();
  if (std::exchange(walking_, false) && !lost_) observer_.walked();
  return has_work();
}

void watched_tree::enqueue(watched_directory& directory, bool deep) {
  if (lost_) return;
  directory.deep = directory.deep || deep;
  if (directory.queued_at != 0) return;
  queue_.push_back(&directory);
  directory.queued_at = static_cast<std::uint32_t>(queue_.size());
  ++queued_;
}

void watched_tree::dequeue(watched_directory& directory) noexcept {
  if (directory.queued_at == 0) return;
  queue_[std::exchange(directory.queued_at, 0) - 1] = nullptr;
  --queued_;
}

git::descriptor watched_tree::open(const watched_directory& directory) const {
  constexpr int step = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                last = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  std::vector<const watched_directory*> way;
  for (const auto* at = &directory; at->parent != nullptr; at = at->parent)
    way.push_back(at);
  git::descriptor fd(::open(root_path_.c_str(), way.empty() ? last : step));
  for (; fd && !way.empty(); way.pop_back())
    fd = git::descriptor(::openat(fd.get(), std::string(way.back()->name).c_str(), way.size() == 1 ? last : step));
  return fd;
}

void watched_tree::scan(watched_directory& directory) {
  const int before = directory.wd;
  const bool deep = std::exchange(directory.deep, false);
  auto fd = open(directory);
  if (!fd) return cannot_open(directory, errno);
  if (watch(directory, fd.get())) list(directory, std::move(fd), directory.wd != before, deep);
}

bool watched_tree::watch(watched_directory& directory, int fd) {
  const int wd = table_.kernel.add(fd);
  if (wd < 0) {
    cannot_open(directory, -wd);
    return false;
  }
  table_.assign(wd, directory);
  return true;
}

void watched_tree::cannot_open(watched_directory& directory, int failed) {
  switch (failed) {
  case ENOENT:
  case ENOTDIR:
  case ELOOP:
    // Gone again, or something else by now; the parent's own events say what.
    if (directory.parent == nullptr)
      return give_up({error_code::not_found, root_path_.string(), "is no directory (any more), and cannot be watched"});
    return drop_child(*directory.parent, directory.name);
  case EACCES:
  case EPERM:
    ++table_.unreadable;
    if (directory.parent == nullptr) return give_up(no_room(failed, root_path_));
    return unwatch(directory);
  default:
    return give_up(no_room(failed, root_path_));
  }
}

void watched_tree::list(watched_directory& directory, git::descriptor fd, bool is_new, bool deep) {
  for (auto& [name, child] : directory.children)
    child->seen = false;
  const int number = fd.get();
  const std::unique_ptr<DIR, close_dir> stream(::fdopendir(number));
  if (!stream) return cannot_open(directory, errno);
  fd.release(); // closedir closes it
  while (const auto* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (is_directory(number, *entry))
      consider(directory, name, deep);
    else if (is_new)
      observer_.changed(directory, name, tree_observer::entry::found);
  }
  std::vector<std::string> gone;
  for (auto& [name, child] : directory.children)
    if (!child->seen) gone.push_back(name);
  for (const auto& name : gone)
    drop_child(directory, name);
}

/// Of a directory that stands there now.
void watched_tree::consider(watched_directory& parent, std::string_view name, bool deep) {
  auto found = parent.children.find(name);
  if (found != parent.children.end() && !deep) {
    found->second->seen = true;
    if (!found->second->ignored && found->second->wd < 0) enqueue(*found->second, true);
    return;
  }
  const auto path = parent.path_of(name);
  const bool ignored = path.size() > max_path_bytes || !observer_.descends(path);
  if (found == parent.children.end()) {
    found = parent.children.emplace(name, std::make_unique<watched_directory>()).first;
    found->second->tree = this;
    found->second->parent = &parent;
    found->second->name = found->first;
  }
  auto& child = *found->second;
  child.seen = true;
  child.ignored = ignored;
  if (ignored)
    unwatch(child);
  else
    enqueue(child, true);
}

// -- what the kernel says ---------------------------------------------------------------------------------------------

void watched_tree::take(watched_directory& directory, const inotify_event_view& event) {
  if ((event.mask & IN_IGNORED) != 0) table_.release(directory, false);
  if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0) {
    // Of any other directory the parent tells.
    if (directory.parent == nullptr)
      give_up({error_code::not_found, root_path_.string(), "was removed or moved, and is not watched any more"});
    return;
  }
  if (event.name.empty()) return;
  if ((event.mask & IN_ISDIR) != 0) return take_directory(directory, event);
  observer_.changed(directory, event.name, tree_observer::entry::file);
}

void watched_tree::take_directory(watched_directory& directory, const inotify_event_view& event) {
  const auto known = directory.children.find(event.name);
  const bool was_ignored = known != directory.children.end() && known->second->ignored;
  if ((event.mask & IN_ATTRIB) != 0) {
    // It may be readable now.
    if (known != directory.children.end() && !was_ignored && known->second->wd < 0) enqueue(*known->second, true);
    return;
  }
  if ((event.mask & IN_CREATE) == 0) drop_child(directory, event.name);
  bool counts = !was_ignored;
  if ((event.mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
    consider(directory, event.name, true);
    counts = !directory.children.find(event.name)->second->ignored;
  }
  if (counts) observer_.changed(directory, event.name, tree_observer::entry::directory);
}

// -- ending -----------------------------------------------------------------------------------------------------------

void watched_tree::drop_child(watched_directory& parent, std::string_view name) {
  const auto found = parent.children.find(name);
  if (found == parent.children.end()) return;
  unwatch(*found->second);
  parent.children.erase(found);
}

/// Forgets everything below as well.
void watched_tree::unwatch(watched_directory& directory) noexcept {
  for (auto& [name, child] : directory.children)
    unwatch(*child);
  directory.children.clear();
  dequeue(directory);
  table_.release(directory, true);
}

void watched_tree::give_up(error reason) {
  if (lost_) return;
  lost_ = std::move(reason);
  for (auto* each : queue_)
    if (each != nullptr) each->queued_at = 0;
  queue_.clear();
  queued_ = 0;
  walking_ = false;
  observer_.lost(*lost_);
}

} // namespace townkeeper::watch
