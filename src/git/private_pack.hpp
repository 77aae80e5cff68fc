#pragma once

#include <git2.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/descriptor.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"
#include "git/private_objects.hpp"

namespace townkeeper::git {

/// A pack that is being written below `<objects>/pack` under temporary names: each object deflated by itself, since to
/// look for deltas would take longer than to write. By hand, since libgit2 writes packs through a mapping, where a full
/// disk is a SIGBUS. Nothing is synced. One that is not published leaves nothing behind, but by a crash, or where the
/// index cannot take its name: a pack that pruning removes.
class pack_file {
public:
  /// Errors of this and of all below: `disk`.
  static result<pack_file> begin(const std::filesystem::path& objects);
  pack_file(pack_file&&) = default;
  pack_file& operator=(pack_file&&) = delete;
  ~pack_file();

  /// An object that is not in it yet. All of it must begin below 2 GiB: `private_pack` sees to that.
  result<void> add(const git_oid& id, std::string_view bytes, git_object_t type);
  bool contains(const git_oid& id) const { return entries_.contains(id); }
  std::int64_t size_bytes() const noexcept { return size_bytes_; }

  /// Makes it one of the store's, pack before index. Returns the index's path.
  result<std::filesystem::path> publish();

private:
  struct entry {
    std::uint32_t offset, checksum; ///< `checksum`: CRC-32 of what lies there
  };
  explicit pack_file(std::filesystem::path directory)
      : directory_(std::move(directory)) {}
  result<descriptor> make_temporary(const char* pattern);
  result<void> append(std::string_view bytes);
  result<void> flush();
  result<std::string> seal();
  std::string index_text(std::string_view pack_hash) const;
  error failure(int errno_value) const;

  std::filesystem::path directory_;
  std::vector<std::string> temporaries_; ///< the pack's, the index's
  descriptor file_;
  std::string unwritten_;
  std::int64_t size_bytes_ = 0; ///< with what is unwritten
  std::map<git_oid, entry, oid_order> entries_;
};

/// Objects on their way into a private store, where many small ones become one pack: a file for each takes seconds on a
/// disk where many were deleted lately. Few, and large ones, become loose files, which pruning can take one by one.
class private_pack {
public:
  static constexpr std::size_t many_objects = 64;
  static constexpr std::size_t small_bytes = std::size_t{64} * 1024;

  /// `reader`: an object database that is to know the pack too. It and `store` must outlive this.
  private_pack(private_store& store, git_odb* reader)
      : store_(store)
      , reader_(reader) {}

  /// One that neither the store nor this has. In the store only after `finish`. Errors: `disk`.
  result<void> add(odb_object_handle object);
  bool contains(const git_oid& id) const;

  /// Errors: `disk`; then nothing of the pack is in the store.
  result<void> finish();

private:
  result<void> write(git_odb_object* object);

  private_store& store_;
  git_odb* reader_;
  std::map<git_oid, odb_object_handle, oid_order> held_; ///< while they are few
  std::optional<pack_file> file_;
};

} // namespace townkeeper::git
