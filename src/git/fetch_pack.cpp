#include "git/fetch_pack.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <git2/sys/errors.h>
#include <git2/sys/odb_backend.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/fetch_slots.hpp"
#include "git/git_error.hpp"
#include "git/repository_layout.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

/// Room for the bases a thin pack leaves out: libgit2 appends those through the mapping as well.
constexpr off_t thin_pack_room = off_t{16} * 1024 * 1024;
constexpr transfer_watch::clock::duration progress_every = std::chrono::milliseconds{50};

struct free_indexer {
  void operator()(git_indexer* indexer) const noexcept { git_indexer_free(indexer); }
};

/// One pack on its way in.
struct pack_receiver : git_odb_writepack {
  pack_receiver(transfer_watch& w, const transfer_observer& o, received_pack& t)
      : git_odb_writepack{}
      , watch(w)
      , observe(o)
      , total(t) {}
  pack_receiver(const pack_receiver&) = delete;
  pack_receiver& operator=(const pack_receiver&) = delete;
  ~pack_receiver() {
    indexer.reset();
    if (file >= 0) ::close(file);
    std::error_code ignored;
    if (!directory.empty()) fs::remove_all(directory, ignored);
  }

  int begin(const fs::path& objects, git_odb* odb);
  int accept(const void* data, std::size_t size, git_indexer_progress* stats);
  int finish(git_indexer_progress* stats);
  int publish();
  int report(const git_indexer_progress& stats, bool always);
  int disk_failure(const char* what, int number);

  transfer_watch& watch;
  const transfer_observer& observe;
  received_pack& total;
  fs::path objects_directory, directory;
  bool may_be_thin = true;
  std::unique_ptr<git_indexer, free_indexer> indexer;
  int file = -1;
  off_t size_bytes = 0;
  transfer_watch::clock::time_point reported{};
};

int pack_receiver::disk_failure(const char* what, int number) {
  watch.fail(error_code::disk, fmt::format("{} {}: {}", what, directory.string(), std::strerror(number)));
  git_error_set_str(GIT_ERROR_OS, what);
  return GIT_EUSER;
}

/// The indexer makes its file read-only (0444, as packs are), which only root opens for writing all the same: its mode
/// is lifted for that moment. Returns the descriptor, or -1 with errno set.
int open_read_only_file(const fs::path& path) {
  const descriptor reading(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct stat made {};
  if (!reading || ::fstat(reading.get(), &made) != 0 || ::fchmod(reading.get(), made.st_mode | S_IWUSR) != 0) return -1;
  const int writing = ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  const int failed = errno;
  ::fchmod(reading.get(), made.st_mode);
  errno = failed;
  return writing;
}

int on_progress(const git_indexer_progress* stats, void* receiver) {
  return static_cast<pack_receiver*>(receiver)->report(*stats, false);
}

int pack_receiver::begin(const fs::path& objects, git_odb* odb) {
  objects_directory = objects;
  directory = objects / temporary_name("tmp_objdir-townkeeper");
  if (const int failed = fault_point("fetch-directory-made"); failed != 0) return disk_failure("cannot make", failed);
  if (::mkdir(directory.c_str(), 0755) != 0) return disk_failure("cannot make", errno);
  git_indexer_options options = GIT_INDEXER_OPTIONS_INIT;
  options.progress_cb = on_progress;
  options.progress_cb_payload = this;
  git_indexer* made = nullptr;
  if (const int code = git_indexer_new(&made, directory.c_str(), 0, odb, &options); code < 0) return code;
  indexer.reset(made);
  std::error_code failure;
  for (const auto& entry :
       fs::directory_iterator(directory, failure)) // the indexer's own temporary, the only file here
    file = open_read_only_file(entry.path());
  return file >= 0 ? 0 : disk_failure("cannot open the pack in", failure ? failure.value() : errno);
}

int pack_receiver::accept(const void* data, std::size_t size, git_indexer_progress* stats) {
  if (watch.ended()) return GIT_EUSER;
  if (const int failed = fault_point("pack-written"); failed != 0)
    return disk_failure("cannot write the pack in", failed);
  const auto* bytes = static_cast<const char*>(data);
  for (std::size_t done = 0; done < size;) {
    const auto written = ::pwrite(file, bytes + done, size - done, size_bytes + static_cast<off_t>(done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return disk_failure("cannot write the pack in", written < 0 ? errno : ENOSPC);
    done += static_cast<std::size_t>(written);
  }
  size_bytes += static_cast<off_t>(size);
  const int code = git_indexer_append(indexer.get(), data, size, stats);
  if (stats->total_objects > 0) watch.pack_flows();
  return code;
}

int pack_receiver::finish(git_indexer_progress* stats) {
  if (may_be_thin && ::fallocate(file, FALLOC_FL_KEEP_SIZE, size_bytes, thin_pack_room) != 0 && errno != EOPNOTSUPP)
    return disk_failure("no room to complete the pack in", errno);
  if (const int failed = fault_point("pack-indexed"); failed != 0)
    return disk_failure("cannot index the pack in", failed);
  auto& slots = fetch_slots::resolving();
  if (!slots.take([this] { return watch.ended(); })) return GIT_EUSER;
  const int code = git_indexer_commit(indexer.get(), stats);
  slots.put_back();
  if (code < 0) return code;
  report(*stats, true);
  total.bytes += static_cast<std::int64_t>(stats->received_bytes);
  total.objects += static_cast<std::int64_t>(stats->total_objects);
  return publish();
}

int pack_receiver::publish() {
  const std::string name = std::string("pack-") + git_indexer_name(indexer.get());
  std::error_code failure;
  const auto final_size = fs::file_size(directory / (name + ".pack"), failure);
  if (failure) return disk_failure("cannot see the pack in", failure.value());
  if (::ftruncate(file, static_cast<off_t>(final_size)) != 0) return disk_failure("cannot trim the pack in", errno);
  indexer.reset();
  for (const char* suffix : {".pack", ".idx"}) {
    const auto to = objects_directory / "pack" / (name + suffix);
    if (const int failed = fault_point("pack-renamed"); failed != 0)
      return disk_failure("cannot publish the pack from", failed);
    if (::rename((directory / (name + suffix)).c_str(), to.c_str()) != 0)
      return disk_failure("cannot publish the pack from", errno);
  }
  return 0;
}

int pack_receiver::report(const git_indexer_progress& stats, bool always) {
  const auto now = transfer_watch::clock::now();
  if (always || now - reported >= progress_every) {
    reported = now;
    if (watch.ended()) return GIT_EUSER;
    if (observe)
      observe({total.bytes + static_cast<std::int64_t>(stats.received_bytes),
               total.objects + static_cast<std::int64_t>(stats.received_objects),
               total.objects + static_cast<std::int64_t>(stats.total_objects), true});
  }
  return 0;
}

/// The backend: it can receive packs and nothing else.
struct receiving_backend : git_odb_backend {
  receiving_backend(fs::path objects_path, bool thin, transfer_watch& w, const transfer_observer& o, received_pack& t)
      : git_odb_backend{}
      , objects(std::move(objects_path))
      , may_be_thin(thin)
      , watch(w)
      , observe(o)
      , total(t) {}

  fs::path objects;
  bool may_be_thin;
  transfer_watch& watch;
  const transfer_observer& observe;
  received_pack& total;
};

pack_receiver& receiver_of(git_odb_writepack* pack) noexcept {
  return *static_cast<pack_receiver*>(pack);
}

int begin_pack(git_odb_writepack** out, git_odb_backend* backend, git_odb* odb, git_indexer_progress_cb, void*) {
  auto& self = *static_cast<receiving_backend*>(backend);
  auto receiver = std::make_unique<pack_receiver>(self.watch, self.observe, self.total);
  receiver->backend = backend;
  receiver->may_be_thin = self.may_be_thin;
  receiver->append = [](git_odb_writepack* pack, const void* data, size_t size, git_indexer_progress* stats) {
    return receiver_of(pack).accept(data, size, stats);
  };
  receiver->commit = [](git_odb_writepack* pack, git_indexer_progress* stats) {
    return receiver_of(pack).finish(stats);
  };
  receiver->free = [](git_odb_writepack* pack) { delete &receiver_of(pack); };
  if (const int code = receiver->begin(self.objects, odb); code < 0) return code;
  *out = receiver.release();
  return 0;
}

} // namespace

result<void> receive_packs(git_repository* repo, bool may_be_thin, transfer_watch& watch,
                           const transfer_observer& observe, received_pack& total) {
  constexpr int before_all_others = 1000;
  odb_handle odb;
  if (const int code = git_repository_odb(out(odb), repo); code < 0) return last_error(code, watch.job().rig_id);
  auto backend = std::make_unique<receiving_backend>(fs::path(git_repository_path(repo)) / "objects", may_be_thin,
                                                     watch, observe, total);
  backend->version = GIT_ODB_BACKEND_VERSION;
  backend->writepack = begin_pack;
  backend->free = [](git_odb_backend* self) { delete static_cast<receiving_backend*>(self); };
  if (const int code = git_odb_add_backend(odb.get(), backend.get(), before_all_others); code < 0)
    return last_error(code, watch.job().rig_id);
  static_cast<void>(backend.release()); // the object database's now
  return {};
}

} // namespace townkeeper::git
