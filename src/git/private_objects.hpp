#pragma once

#include <git2.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/handle.hpp"

/// The private object store of each agent, `<repository>/townkeeper/recovery/<agentId>/objects`: what recovery points
/// are made of. It knows the repository's objects as its alternate, never the other way round, so that an agent's
/// `git gc` neither sees nor removes what is in it.
namespace townkeeper::git {

inline std::string_view bytes_of(git_odb_object* object) {
  return {static_cast<const char*>(git_odb_object_data(object)), git_odb_object_size(object)};
}

std::filesystem::path private_objects_path(const std::filesystem::path& repository, const std::string& agent_id);

/// Opens the bare repository so that it reads its own objects and the private stores of `agents` (one that does not
/// exist yet is made), and writes loose objects to the first one's. Of the private packs it sees those that are there
/// now. `agents` must not be empty. Belongs to one thread. Errors: `invalid_argument` (an id), `disk`, and as
/// `last_error`.
result<repository_handle> open_with_private_objects(const std::filesystem::path& repository,
                                                    const std::vector<std::string>& agents);

/// Writes objects into one agent's store, each at most once; what the repository has is written all the same, because
/// the agent's next `git gc` may remove it there. Not synced to the disk: an object must only live until it is pushed.
/// Belongs to one thread.
class private_store {
public:
  /// Makes the directory when it is missing. Errors as `open_with_private_objects`.
  static result<private_store> open(const std::filesystem::path& repository, const std::string& agent_id);

  result<git_oid> put(std::string_view bytes, git_object_t type);

  /// Makes a loose object of another store on the same file system one of this store as well, without a copy: the file
  /// never changes, and stays when the other name of it goes. False: there is no such file, or it cannot be linked.
  result<bool> link(const std::filesystem::path& objects, const git_oid& id);

  /// True when the store itself has it.
  bool contains(const git_oid& id);

  /// The inflated object of the store itself; `not_found`, `corrupt`.
  result<odb_object_handle> read(const git_oid& id);

  git_odb* odb() const noexcept { return odb_.get(); }
  const std::filesystem::path& path() const noexcept { return path_; }

  /// A pack was added to the store, of this index: it is read from now on, here and by `reader`.
  result<void> take_pack(const std::filesystem::path& index, git_odb* reader);

private:
  private_store(std::filesystem::path path, odb_handle odb)
      : path_(std::move(path))
      , odb_(std::move(odb)) {}
  std::filesystem::path path_;
  odb_handle odb_; ///< of the store alone
};

} // namespace townkeeper::git
