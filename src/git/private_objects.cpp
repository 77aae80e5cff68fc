#include "git/private_objects.hpp"

#include <git2/odb_backend.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/fault_point.hpp"
#include "core/ids.hpp"
#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "git/repository_layout.hpp"
#include "git/stored_object.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr int fast_compression = 1;
constexpr int no_fsync = 0;
/// libgit2 writes to the backend of the greatest priority; its own have at most 2. A store takes two of them.
constexpr int private_priority = 100;
constexpr int priorities_of_store = 2;

result<fs::path> make_store(const fs::path& repository, const std::string& agent_id) {
  if (!is_valid_id(agent_id)) return error{error_code::invalid_argument, agent_id, "is no valid agent id"};
  const auto path = private_objects_path(repository, agent_id);
  const auto alternates = path / "info" / "alternates";
  std::error_code failed;
  if (fs::exists(alternates, failed)) return path;
  if (const int number = fault_point("private-store-made"); number != 0)
    return disk_error(number, path.native(), "cannot be made");
  if (auto done = make_directories(alternates.parent_path()); !done) return done.error();
  if (auto done = make_directories(path / "pack"); !done) return done.error();
  // For people, and for git run by hand with GIT_OBJECT_DIRECTORY.
  if (auto done = write_file(alternates, (repository / "objects").native() + '\n'); !done) return done.error();
  return path;
}

result<void> add_backend(git_odb* odb, git_odb_backend* backend, int priority, const fs::path& path) {
  const auto rc = git_odb_add_backend(odb, backend, priority);
  if (rc == 0) return {};
  backend->free(backend);
  return last_error(rc, path.native());
}

/// Loose objects first, read by our own backend and written by libgit2's.
result<void> add_store(git_odb* odb, const fs::path& path, int priority) {
  if (const auto rc = add_loose_reader(odb, path.native(), priority, damaged_object::is_removed); rc != 0)
    return last_error(rc, path.native());
  git_odb_backend* loose = nullptr;
  if (const auto rc = git_odb_backend_loose(&loose, path.c_str(), fast_compression, no_fsync, 0, 0); rc != 0)
    return last_error(rc, path.native());
  if (auto done = add_backend(odb, loose, priority, path); !done) return done;
  git_odb_backend* packs = nullptr;
  if (const auto rc = git_odb_backend_pack(&packs, path.c_str()); rc != 0) return last_error(rc, path.native());
  // Else whatever a remote names and we lack would have every agent's directory of packs listed anew.
  packs->refresh = nullptr;
  return add_backend(odb, packs, priority - 1, path);
}

result<void> add_pack(git_odb* odb, const fs::path& index) {
  git_odb_backend* pack = nullptr;
  if (const auto rc = git_odb_backend_one_pack(&pack, index.c_str()); rc != 0) return last_error(rc, index.native());
  return add_backend(odb, pack, private_priority - 1, index);
}

} // namespace

fs::path private_objects_path(const fs::path& repository, const std::string& agent_id) {
  return repository / "townkeeper" / "recovery" / agent_id / "objects";
}

result<repository_handle> open_with_private_objects(const fs::path& repository,
                                                    const std::vector<std::string>& agents) {
  repository_handle handle;
  if (const auto rc = git_repository_open_bare(out(handle), repository.c_str()); rc != 0)
    return last_error(rc, repository.native());
  odb_handle odb;
  if (const auto rc = git_odb_new(out(odb)); rc != 0) return last_error(rc, repository.native());
  int priority = private_priority + priorities_of_store * static_cast<int>(agents.size());
  for (const auto& agent : agents) {
    auto path = make_store(repository, agent);
    if (!path) return path.error();
    if (auto done = add_store(odb.get(), *path, priority); !done) return done.error();
    priority -= priorities_of_store;
  }
  const auto objects = repository / "objects";
  if (const auto rc = git_odb_add_disk_alternate(odb.get(), objects.c_str()); rc != 0)
    return last_error(rc, repository.native());
  if (const auto rc = add_loose_reader(odb.get(), objects.native(), between_packs_and_loose, damaged_object::is_error);
      rc != 0)
    return last_error(rc, repository.native());
  if (const auto rc = git_repository_set_odb(handle.get(), odb.get()); rc != 0)
    return last_error(rc, repository.native());
  return handle;
}

result<private_store> private_store::open(const fs::path& repository, const std::string& agent_id) {
  auto path = make_store(repository, agent_id);
  if (!path) return path.error();
  odb_handle odb;
  if (const auto rc = git_odb_new(out(odb)); rc != 0) return last_error(rc, path->native());
  if (auto done = add_store(odb.get(), *path, private_priority); !done) return done.error();
  return private_store(std::move(*path), std::move(odb));
}

bool private_store::contains(const git_oid& id) {
  return git_odb_exists_ext(odb_.get(), &id, GIT_ODB_LOOKUP_NO_REFRESH) != 0;
}

result<odb_object_handle> private_store::read(const git_oid& id) {
  odb_object_handle object;
  if (const auto rc = git_odb_read(out(object), odb_.get(), &id); rc != 0) return last_error(rc, "private object");
  return object;
}

result<void> private_store::take_pack(const fs::path& index, git_odb* reader) {
  for (auto* odb : {odb_.get(), reader})
    if (auto done = add_pack(odb, index); !done) return done;
  return {};
}

result<bool> private_store::link(const fs::path& objects, const git_oid& id) {
  const auto hex = to_hex(id);
  const auto from = objects / hex.substr(0, 2) / hex.substr(2);
  const auto directory = path_ / hex.substr(0, 2);
  if (::access(from.c_str(), F_OK) != 0) return false;
  if (::mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST)
    return disk_error(errno, directory.native(), "cannot be made");
  if (const int failed = fault_point("object-linked"); failed != 0)
    return disk_error(failed, directory.native(), "takes no file");
  return ::link(from.c_str(), (directory / hex.substr(2)).c_str()) == 0 || errno == EEXIST;
}

result<git_oid> private_store::put(std::string_view bytes, git_object_t type) {
  git_oid id{};
  if (const auto rc = git_odb_hash(&id, bytes.data(), bytes.size(), type); rc != 0)
    return last_error(rc, "private object");
  // Written anew it would get another time stamp, and look like a change.
  if (contains(id)) return id;
  if (looks_compressed(bytes)) {
    if (auto done = write_stored_object(path_, id, bytes, type); !done) return done.error();
    return id;
  }
  if (const int failed = fault_point("object-written"); failed != 0)
    return disk_error(failed, (path_ / to_hex(id)).native(), "cannot be written");
  git_odb_backend* backend = nullptr;
  // Straight to the backend (after our reader): git_odb_write would hash all of it once more.
  if (const auto rc = git_odb_get_backend(&backend, odb_.get(), 1); rc != 0) return last_error(rc, "private object");
  if (const auto rc = backend->write(backend, &id, bytes.data(), bytes.size(), type); rc != 0)
    return last_error(rc, "private object");
  return id;
}

} // namespace townkeeper::git
