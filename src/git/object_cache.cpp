#include "git/object_cache.hpp"

#include <fmt/core.h>
#include <git2/odb_backend.h>
#include <git2/sys/odb_backend.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <array>
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

/// Whether `bytes` are the object that is called `id`, by OpenSSL, which uses the processor's instructions for SHA-1:
/// libgit2 hashes with detection of collisions in plain C, as it should where objects arrive (and does, in a fetch).
bool is_named(const git_oid& id, git_object_t type, std::string_view bytes) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const auto header = fmt::format("{} {}", git_object_type2string(type), bytes.size());
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  return hash && EVP_DigestInit_ex(hash.get(), EVP_sha1(), nullptr) == 1 &&
         EVP_DigestUpdate(hash.get(), header.c_str(), header.size() + 1) == 1 &&
         EVP_DigestUpdate(hash.get(), bytes.data(), bytes.size()) == 1 &&
         EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr) == 1 &&
         std::memcmp(digest.data(), id.id, GIT_OID_SHA1_SIZE) == 0;
}

/// The object, hashed by `is_named`. Nothing where that is not easily said: then libgit2's own reading looks again for
/// packs that have come, and says what is wrong. Goes through the backends in libgit2's order and, as it does, not past
/// one that has it damaged: behind the reader of loose objects stands the one that must not see such a file.
std::shared_ptr<const object_bytes> read_quickly(git_odb* odb, const git_oid& id) {
  git_odb_backend* backend = nullptr;
  for (std::size_t i = 0; git_odb_get_backend(&backend, odb, i) == 0; ++i) {
    if (backend->read == nullptr) continue;
    void* data = nullptr;
    std::size_t size = 0;
    auto object = std::make_shared<object_bytes>();
    const auto code = backend->read(&data, &size, &object->type, backend, &id);
    if (code == GIT_ENOTFOUND || code == GIT_PASSTHROUGH) continue;
    if (code != 0) return nullptr;
    object->bytes.assign(static_cast<const char*>(data), size);
    git_odb_backend_data_free(backend, data);
    return is_named(id, object->type, object->bytes) ? object : nullptr;
  }
  return nullptr;
}

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
    if (auto sound = read_quickly(odb_.get(), id)) return object_ref(std::move(sound));
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
