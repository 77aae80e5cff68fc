#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/private_closure.hpp"
#include "git/private_listing.hpp"
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

constexpr std::chrono::minutes look_again_after{10};

/// Where each object of the store lies: in one of the packs, or (nullptr) alone. In one block, as it is made again and
/// again while everything else lives on.
class object_places {
public:
  struct placed {
    git_oid id{};
    const listed_pack* pack = nullptr;
  };

  /// Of an object with several places the first counts.
  explicit object_places(std::vector<placed> all = {})
      : sorted_(std::move(all)) {
    std::stable_sort(sorted_.begin(), sorted_.end(),
                     [](const placed& a, const placed& b) { return oid_order{}(a.id, b.id); });
    const auto is_same = [](const placed& a, const placed& b) { return same(a.id, b.id); };
    sorted_.erase(std::unique(sorted_.begin(), sorted_.end(), is_same), sorted_.end());
  }

  std::size_t size() const noexcept { return sorted_.size(); }
  const placed& operator[](std::size_t i) const { return sorted_[i]; }
  /// Its number, below `size`.
  std::optional<std::size_t> find(const git_oid& id) const {
    const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), id,
                                     [](const placed& a, const git_oid& b) { return oid_order{}(a.id, b); });
    if (at == sorted_.end() || !same(at->id, id)) return std::nullopt;
    return static_cast<std::size_t>(at - sorted_.begin());
  }

private:
  std::vector<placed> sorted_;
};
using pack_contents = std::map<const listed_pack*, std::vector<git_oid>>;

/// What was left by the last look would be left again, until much has come or the young have aged. In bytes less counts
/// as much: a full disk takes no save, and without a save nothing is pruned.
bool is_due(const std::optional<store_look>& last, const store_look& now) {
  if (now.objects < few_objects && now.bytes < few_bytes) return false;
  if (!last || now.at - last->at >= look_again_after) return true;
  return now.objects >= std::max(few_objects, 2 * last->objects) || now.bytes >= last->bytes + few_bytes;
}

/// What the roots reach within the store: an object that is elsewhere reaches nothing here. A pack of which one object
/// is reached stays, and so all of it does, with what that reaches. `places`: all that is in the store, since to ask
/// the disk for every name in every tree takes seconds of an agent's snapshots.
class reachability {
public:
  reachability(private_store& store, const object_places& places, const pack_contents& packs)
      : store_(store)
      , places_(places)
      , packs_(packs)
      , reached_(places.size()) {}

  void add(const git_oid& id) {
    const auto place = places_.find(id);
    if (!place || !reach(*place)) return;
    if (const auto* pack = places_[*place].pack; pack != nullptr) add_pack(pack);
  }

  void add_pack(const listed_pack* pack) {
    if (!reached_packs_.insert(pack).second) return;
    for (const auto& id : packs_.at(pack))
      if (const auto place = places_.find(id)) reach(*place);
  }

  bool has(const git_oid& id) const {
    const auto place = places_.find(id);
    return place && reached_[*place];
  }
  bool has(const listed_pack& pack) const { return reached_packs_.contains(&pack); }

  /// Errors: `corrupt`; then nothing may be removed.
  result<void> run() {
    while (!pending_.empty()) {
      const auto& id = places_[pending_.back()].id;
      pending_.pop_back();
      std::size_t size = 0;
      git_object_t type = GIT_OBJECT_INVALID;
      if (const auto rc = git_odb_read_header(&size, &type, store_.odb(), &id); rc != 0)
        return last_error(rc, to_hex(id));
      if (type == GIT_OBJECT_BLOB) continue;
      auto object = store_.read(id);
      if (!object) return object.error();
      const auto bytes = bytes_of(object->get());
      if (type == GIT_OBJECT_TREE) {
        auto lines = parse_tree(bytes, id);
        if (!lines) return lines.error();
        for (const auto& line : *lines)
          if (line.item.mode != mode_submodule) add(line.item.id);
      } else {
        add_named(bytes);
      }
    }
    return {};
  }

private:
  /// False: it was before.
  bool reach(std::size_t place) {
    if (reached_[place]) return false;
    reached_[place] = true;
    pending_.push_back(place);
    return true;
  }
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
  const object_places& places_;
  const pack_contents& packs_;
  std::vector<bool> reached_; ///< by its number in `places_`
  std::set<const listed_pack*> reached_packs_;
  std::vector<std::size_t> pending_;
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

class pruning {
public:
  pruning(private_store& store, const descriptor& directory)
      : store_(store)
      , directory_(directory) {}

  /// Errors: `disk`.
  result<store_look> look();
  /// Errors: `disk`, `corrupt`, `invalid_argument` (a root); of what goes, `memory` knows nothing any more.
  result<store_look> run(const std::vector<std::string>& roots, closure_memory& memory);

private:
  result<void> read_packs(); ///< those that can be read; the others go with what nobody needs
  result<void> remove(const std::string& file);
  result<void> remove_pack(const listed_pack& pack);

  private_store& store_;
  const descriptor& directory_;
  const std::int64_t now_s_ = std::time(nullptr);
  store_listing listing_;
  object_places places_;
  pack_contents packs_;
};

result<store_look> pruning::look() {
  auto listing = list_store(directory_, now_s_);
  if (!listing) return listing.error();
  listing_ = std::move(*listing);
  for (const auto& each : listing_.leftovers)
    if (auto done = remove(each); !done) return done.error();
  return store_look{listing_.objects(), listing_.bytes(), std::chrono::steady_clock::now()};
}

result<void> pruning::read_packs() {
  std::vector<object_places::placed> all;
  all.reserve(listing_.objects());
  for (const auto& each : listing_.packs) {
    auto ids = objects_of_pack(store_.path() / (each.stem + ".idx"));
    if (!ids && ids.error().code != error_code::corrupt) return ids.error();
    // A power cut leaves such; what it held is written again when it is needed.
    if (!ids || ids->empty() || !store_.contains(ids->front())) continue;
    for (const auto& id : *ids)
      all.push_back({id, &each});
    packs_.emplace(&each, std::move(*ids));
  }
  for (const auto& each : listing_.loose)
    all.push_back({each.id, nullptr});
  places_ = object_places(std::move(all));
  return {};
}

result<void> pruning::remove(const std::string& file) {
  if (const int failed = fault_point("private-object-pruned"); failed != 0)
    return disk_error(failed, (store_.path() / file).native(), "cannot be removed");
  if (::unlinkat(directory_.get(), file.c_str(), 0) == 0 || errno == ENOENT) return {};
  return disk_error(errno, (store_.path() / file).native(), "cannot be removed");
}

/// Index first: without it a pack is nobody's.
result<void> pruning::remove_pack(const listed_pack& pack) {
  for (const auto* suffix : {".idx", ".rev", ".pack"})
    if (auto done = remove(pack.stem + suffix); !done) return done;
  return {};
}

result<store_look> pruning::run(const std::vector<std::string>& roots, closure_memory& memory) {
  if (auto done = read_packs(); !done) return done.error();
  reachability needed(store_, places_, packs_), young(store_, places_, packs_);
  for (const auto& hex : roots) {
    const auto id = parse_oid(hex);
    if (!id) return id.error();
    needed.add(*id);
  }
  // What is kept for being young keeps its history too: a commit whose parents are gone is in the way of every walk.
  for (const auto& each : listing_.loose)
    if (each.bytes < small_bytes && now_s_ - each.modified_s < young_seconds) young.add(each.id);
  for (const auto& each : listing_.packs)
    if (now_s_ - each.modified_s < young_seconds && packs_.contains(&each)) young.add_pack(&each);
  for (auto* each : {&needed, &young})
    if (auto done = each->run(); !done) return done.error();
  memory.keep_only([&](const git_oid& id) { return needed.has(id); });
  store_look left{0, 0, std::chrono::steady_clock::now()};
  for (const auto& each : listing_.loose) {
    if (needed.has(each.id) || (each.bytes < small_bytes && young.has(each.id))) {
      ++left.objects;
      left.bytes += each.bytes;
    } else if (auto done = remove(each.file()); !done) {
      return done.error();
    }
  }
  for (const auto& each : listing_.packs) {
    if (needed.has(each) || young.has(each)) {
      left.objects += each.objects;
      left.bytes += each.bytes;
    } else if (auto done = remove_pack(each); !done) {
      return done.error();
    }
  }
  return left;
}

} // namespace

result<void> prune_private_objects(const fs::path& repository, const std::string& agent_id,
                                   const std::vector<std::string>& keep) {
  const auto memory = snapshot_memory::of(repository, agent_id);
  const std::lock_guard no_snapshot_meanwhile(memory->in_use);
  auto store = private_store::open(repository, agent_id);
  if (!store) return store.error();
  const auto directory = open_directory(AT_FDCWD, store->path().c_str(), store->path().native());
  if (!directory) return directory.error();
  pruning prune(*store, *directory);
  const auto found = prune.look();
  if (!found) return found.error();
  if (!is_due(memory->looked, *found)) return {};
  memory->looked = *found; // also where it fails: it would fail again
  auto roots = keep;
  if (memory->last) add_roots_of(*memory->last, roots);
  const auto left = prune.run(roots, memory->closure);
  if (!left) return left.error();
  memory->looked = *left;
  return {};
}

} // namespace townkeeper::git
