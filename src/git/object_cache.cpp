#include "git/object_cache.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

/// The end that makes waiters look again must come on every way out, so that no thread waits for a loader that gave up.
template <class F>
class at_exit {
public:
  explicit at_exit(F f)
      : f_(std::move(f)) {}
  at_exit(const at_exit&) = delete;
  at_exit& operator=(const at_exit&) = delete;
  ~at_exit() { f_(); }

private:
  F f_;
};

std::int64_t to_ns(const timespec& t) {
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

} // namespace

bool object_cache::key::operator==(const key& other) const noexcept {
  return store == other.store && git_oid_equal(&id, &other.id) != 0;
}

std::size_t object_cache::key_hash::operator()(const key& k) const noexcept {
  // An object's name is uniformly distributed already.
  std::uint64_t h = 0;
  std::memcpy(&h, k.id.id, sizeof h);
  h ^= k.store.inode * 0x9E3779B97F4A7C15ULL;
  return h ^ static_cast<std::uint64_t>(k.store.changed_ns);
}

object_cache& object_cache::process_wide() {
  static object_cache cache;
  return cache;
}

result<object_ref> object_cache::get(const store_id& store, const git_oid& id, const loader& load) {
  const key wanted{store, id};
  auto& s = shards_[id.id[0] % shard_count];
  {
    std::unique_lock lock(s.mutex);
    for (;;) {
      const auto [at, inserted] = s.objects.try_emplace(wanted);
      if (inserted) break;
      if (at->second) return at->second;
      s.settled.wait(lock);
    }
  }
  object_ref object;
  const at_exit settle([&] {
    {
      const std::lock_guard lock(s.mutex);
      if (object && object->bytes.size() <= max_cached_object_bytes) {
        make_room(s, object->bytes.size());
        s.objects[wanted] = object;
        s.resident.push_back(wanted);
        s.bytes += object->bytes.size();
      } else {
        s.objects.erase(wanted);
      }
    }
    s.settled.notify_all();
  });
  auto loaded = load();
  if (loaded) object = *loaded;
  return loaded;
}

void object_cache::make_room(shard& s, std::size_t wanted_bytes) {
  // Worktrees read their rig's blobs round and round in one order; dropping the least recently used would then drop
  // each blob just before it is wanted again. A random victim keeps a share of hits in proportion to the room.
  while (!s.resident.empty() && s.bytes + wanted_bytes > capacity_bytes / shard_count) {
    s.random_state ^= s.random_state << 13;
    s.random_state ^= s.random_state >> 7;
    s.random_state ^= s.random_state << 17;
    const auto position = static_cast<std::size_t>(s.random_state % s.resident.size());
    const auto victim = s.objects.find(s.resident[position]);
    s.bytes -= victim->second->bytes.size();
    s.objects.erase(victim);
    s.resident[position] = s.resident.back();
    s.resident.pop_back();
  }
}

std::size_t object_cache::size_bytes() const {
  std::size_t total = 0;
  for (const auto& s : shards_) {
    const std::lock_guard lock(s.mutex);
    total += s.bytes;
  }
  return total;
}

result<object_store> object_store::open(git_repository* repository) {
  odb_handle odb;
  if (const auto rc = git_repository_odb(out(odb), repository); rc != 0)
    return last_error(rc, git_repository_commondir(repository));
  const auto objects = std::string(git_repository_commondir(repository)) + "objects";
  struct stat directory {};
  struct stat packs {};
  if (::stat(objects.c_str(), &directory) != 0) return disk_error(errno, objects, "cannot be examined");
  if (::stat((objects + "/pack").c_str(), &packs) != 0) packs = directory;
  return object_store(repository, std::move(odb), {directory.st_dev, directory.st_ino, to_ns(packs.st_mtim)});
}

result<object_ref> object_store::read(const git_oid& id, git_object_t type) {
  auto found = object_cache::process_wide().get(id_, id, [&]() -> result<object_ref> {
    odb_object_handle object;
    if (const auto rc = git_odb_read(out(object), odb_.get(), &id); rc != 0) {
      auto failure = last_error(rc, to_hex(id));
      return error{error_code::corrupt, std::move(failure.object),
                   fmt::format("object cannot be read ({}); the repository must be fetched anew", failure.message)};
    }
    auto bytes = std::make_shared<object_bytes>();
    bytes->type = git_odb_object_type(object.get());
    bytes->bytes.assign(static_cast<const char*>(git_odb_object_data(object.get())), git_odb_object_size(object.get()));
    return object_ref(std::move(bytes));
  });
  if (found && (*found)->type != type)
    return error{error_code::corrupt, to_hex(id),
                 fmt::format("is a {}, where a {} is named", git_object_type2string((*found)->type),
                             git_object_type2string(type))};
  return found;
}

bool object_store::contains(const git_oid& id) {
  return git_odb_exists(odb_.get(), &id) != 0;
}

} // namespace townkeeper::git
