#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/private_closure.hpp"
#include "git/private_objects.hpp"
#include "git/recovery.hpp"
#include "git/snapshot_memory.hpp"
#include "git/tree_builder.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

/// Below both of these nothing is looked at any closer.
constexpr std::size_t few_objects = 2000;
constexpr std::int64_t few_bytes = std::int64_t{64} * 1024 * 1024;
/// A small object may be of a point that is being sealed or pushed at this moment; a large one is worth its space.
constexpr std::int64_t small_bytes = std::int64_t{64} * 1024;
constexpr std::int64_t young_seconds = 600;

struct loose_object {
  std::string directory, name; ///< two digits, and the other 38
  git_oid id{};
  std::int64_t bytes = 0, modified_s = 0;
};

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

result<std::vector<loose_object>> list_loose(const descriptor& store, const fs::path& path) {
  std::vector<loose_object> out;
  auto directories = list_directory(store.get(), path.native());
  if (!directories) return directories.error();
  for (const auto& each : *directories) {
    if (each.size() != 2 || !is_hex(each)) continue;
    auto directory = open_directory(store.get(), each.c_str(), each);
    if (!directory) continue;
    auto names = list_directory(directory->get(), each);
    if (!names) return names.error();
    for (auto& name : *names) {
      struct stat st {};
      const auto id = parse_oid(each + name);
      if (!id || ::fstatat(directory->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
      out.push_back({each, std::move(name), *id, st.st_size, st.st_mtim.tv_sec});
    }
  }
  return out;
}

/// What the roots reach within the store: an object that is elsewhere reaches nothing here. `present`: all that is in
/// the store, since to ask the disk for every name in every tree takes seconds of an agent's snapshots.
class reachability {
public:
  reachability(private_store& store, const oid_set& present)
      : store_(store)
      , present_(present) {}

  void add(const git_oid& id) {
    if (present_.contains(id) && !reached_.contains(id)) {
      reached_.insert(id);
      pending_.push_back(id);
    }
  }

  /// Errors: `corrupt`; then nothing may be removed.
  result<oid_set> run() {
    while (!pending_.empty()) {
      const auto id = pending_.front();
      pending_.pop_front();
      std::size_t size = 0;
      git_object_t type = GIT_OBJECT_INVALID;
      if (const auto rc = git_odb_read_header(&size, &type, store_.odb(), &id); rc != 0)
        return last_error(rc, to_hex(id));
      if (type == GIT_OBJECT_BLOB) continue;
      auto object = store_.read(id);
      if (!object) return object.error();
      const std::string_view bytes(static_cast<const char*>(git_odb_object_data(object->get())),
                                   git_odb_object_size(object->get()));
      if (type == GIT_OBJECT_TREE) {
        auto lines = parse_tree(bytes, id);
        if (!lines) return lines.error();
        for (const auto& line : *lines)
          if (line.item.mode != mode_submodule) add(line.item.id);
      } else {
        add_named(bytes);
      }
    }
    return std::move(reached_);
  }

private:
  /// The ids in the header of a commit or tag.
  void add_named(std::string_view text) {
    const auto header = text.substr(0, text.find("\n\n"));
    for (std::size_t at = 0; at < header.size();) {
      const auto end = std::min(header.find('\n', at), header.size());
      const auto line = header.substr(at, end - at);
      at = end + 1;
      const auto space = line.find(' ');
      if (space == std::string_view::npos) continue;
      if (const auto id = parse_oid(line.substr(space + 1))) add(*id);
    }
  }

  private_store& store_;
  const oid_set& present_;
  oid_set reached_;
  std::deque<git_oid> pending_;
};

/// All that the point of this snapshot will name.
void add_roots_of(const snapshot& s, std::vector<std::string>& roots) {
  roots.insert(roots.end(), {s.stash_commit, s.extras_tree});
  for (const auto& id : {s.branch_commit, s.head.commit})
    if (id) roots.push_back(*id);
  for (const auto* named : {&s.operation_ids, &s.rig_refs})
    for (const auto& [name, id] : *named)
      roots.push_back(id);
  roots.insert(roots.end(), s.stash.begin(), s.stash.end());
}

} // namespace

result<void> prune_private_objects(const fs::path& repository, const std::string& agent_id,
                                   const std::vector<std::string>& keep) {
  const auto memory = snapshot_memory::of(repository, agent_id);
  const std::lock_guard no_snapshot_meanwhile(memory->in_use);
  auto store = private_store::open(repository, agent_id);
  if (!store) return store.error();
  const auto path = private_objects_path(repository, agent_id);
  auto directory = open_directory(AT_FDCWD, path.c_str(), path.native());
  if (!directory) return directory.error();
  auto objects = list_loose(*directory, path);
  if (!objects) return objects.error();
  std::int64_t bytes = 0;
  for (const auto& each : *objects)
    bytes += each.bytes;
  if (objects->size() < few_objects && bytes < few_bytes) return {};

  oid_set present;
  for (const auto& each : *objects)
    present.insert(each.id);
  reachability needed(*store, present);
  auto roots = keep;
  if (memory->last) add_roots_of(*memory->last, roots);
  for (const auto& hex : roots) {
    auto id = parse_oid(hex);
    if (!id) return id.error();
    needed.add(*id);
  }
  auto reached = needed.run();
  if (!reached) return reached.error();
  // What is kept for being young keeps its history too: a commit whose parents are gone is in the way of every walk.
  const auto now = std::int64_t{std::time(nullptr)};
  reachability young(*store, present);
  for (const auto& each : *objects)
    if (each.bytes < small_bytes && now - each.modified_s < young_seconds) young.add(each.id);
  auto reached_by_young = young.run();
  if (!reached_by_young) return reached_by_young.error();
  memory->closure.keep_only(*reached);
  for (const auto& each : *objects) {
    if (reached->contains(each.id)) continue;
    if (each.bytes < small_bytes && reached_by_young->contains(each.id)) continue;
    const auto file = each.directory + '/' + each.name;
    if (const int failed = fault_point("private-object-pruned"); failed != 0)
      return disk_error(failed, (path / file).native(), "cannot be removed");
    if (::unlinkat(directory->get(), file.c_str(), 0) != 0 && errno != ENOENT)
      return disk_error(errno, (path / file).native(), "cannot be removed");
  }
  return {};
}

} // namespace townkeeper::git
