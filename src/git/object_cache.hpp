#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <git2.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {

/// One object's bytes, inflated and hash-verified.
struct object_bytes {
  git_object_t type = GIT_OBJECT_INVALID;
  std::string bytes;
};
using object_ref = std::shared_ptr<const object_bytes>;

/// Tells one state of one object directory from another: a repository that was cloned anew, or has fetched since, is a
/// new store, so that the cache never answers for an object the disk no longer has.
struct store_id {
  std::uint64_t device = 0, inode = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const store_id&, const store_id&) = default;
};

/// Inflated blobs and trees for the whole process, so that the worktrees of one rig inflate each object once between
/// them. At most `capacity_bytes` are kept; who asks for an object that another thread is inflating waits for it.
/// Thread-safe.
class object_cache {
public:
  static constexpr std::size_t capacity_bytes = std::size_t{64} * 1024 * 1024;
  static constexpr std::size_t shard_count = 8;
  /// A larger object would push out too much; it is inflated for each worktree.
  static constexpr std::size_t max_cached_object_bytes = std::size_t{4} * 1024 * 1024;

  using loader = std::function<result<object_ref>()>;

  static object_cache& process_wide();

  result<object_ref> get(const store_id& store, const git_oid& id, const loader& load);

  std::size_t size_bytes() const;

private:
  struct key {
    store_id store;
    git_oid id{};
    bool operator==(const key& other) const noexcept;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept;
  };
  struct shard {
    mutable std::mutex mutex;
    std::condition_variable settled;
    boost::unordered_flat_map<key, object_ref, key_hash> objects; ///< null while a thread is inflating it
    std::vector<key> resident;                                    ///< the keys whose object is there, in no order
    std::size_t bytes = 0;
    std::uint64_t random_state = 0x9E3779B97F4A7C15ULL;
  };

  static void make_room(shard& s, std::size_t wanted_bytes);

  std::array<shard, shard_count> shards_;
};

/// The objects of one repository as one job sees them. Belongs to one thread.
class object_store {
public:
  /// `repository` must outlive the store. Errors as `last_error` gives them.
  static result<object_store> open(git_repository* repository);

  /// The object, through the cache; `corrupt` when it is missing, unreadable, not what its name says or of another
  /// type.
  result<object_ref> read(const git_oid& id, git_object_t type);

  /// True when the object is there; its content is not read.
  bool contains(const git_oid& id);

  git_repository* repository() const noexcept { return repository_; }

private:
  object_store(git_repository* repository, odb_handle odb, store_id id)
      : repository_(repository)
      , odb_(std::move(odb))
      , id_(id) {}

  git_repository* repository_;
  odb_handle odb_;
  store_id id_;
};

} // namespace townkeeper::git
