#include "git/loose_reader.hpp"

#include <fcntl.h>
#include <git2/odb_backend.h>
#include <git2/sys/errors.h>
#include <git2/sys/odb_backend.h>
#include <unistd.h>
#define ZLIB_CONST // its input is const
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "git/descriptor.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

/// `<type> <size>` and a NUL: the longest type is `commit`, and a size has at most 19 digits.
constexpr std::size_t max_header_bytes = 32;
/// Deflate makes nothing smaller than by 1032 (zlib's technical notes): a header that says more is wrong.
constexpr std::size_t max_ratio = 1032;

struct loose_reader : git_odb_backend {
  std::string objects;
  damaged_object damaged = damaged_object::is_error;

  std::string path_of(const git_oid& id) const {
    const auto hex = to_hex(id);
    return objects + '/' + hex.substr(0, 2) + '/' + hex.substr(2);
  }
};

int damage(const git_oid& id, const char* what) {
  git_error_set_str(GIT_ERROR_ODB, ("loose object " + to_hex(id) + " " + what).c_str());
  return GIT_ERROR;
}

class inflating {
public:
  explicit inflating(std::string_view bytes) noexcept
      : left_(bytes)
      , is_open_(inflateInit(&stream_) == Z_OK) {}
  inflating(const inflating&) = delete;
  inflating& operator=(const inflating&) = delete;
  ~inflating() {
    if (is_open_) inflateEnd(&stream_);
  }

  /// Fills `to` as far as the stream goes. False: it is no stream, or ends before its end.
  bool read(char* to, std::size_t size, std::size_t& got) noexcept {
    got = 0;
    while (is_open_ && !is_over_ && got < size) {
      const auto step = std::min<std::size_t>(size - got, std::numeric_limits<uInt>::max());
      stream_.next_out = reinterpret_cast<Bytef*>(to + got);
      stream_.avail_out = static_cast<uInt>(step);
      refill();
      const auto code = inflate(&stream_, Z_NO_FLUSH);
      got += step - stream_.avail_out;
      is_over_ = code == Z_STREAM_END;
      if (code != Z_OK && !is_over_) return false;
    }
    return is_open_;
  }
  /// Nothing more comes, and all is as its checksum says.
  bool ends_here() noexcept {
    char one = 0;
    std::size_t got = 0;
    return read(&one, 1, got) && got == 0 && is_over_;
  }

private:
  void refill() noexcept {
    if (stream_.avail_in > 0) return;
    const auto step = std::min<std::size_t>(left_.size(), std::numeric_limits<uInt>::max());
    stream_.next_in = reinterpret_cast<const Bytef*>(left_.data());
    stream_.avail_in = static_cast<uInt>(step);
    left_.remove_prefix(step);
  }

  z_stream stream_{};
  std::string_view left_;
  bool is_open_, is_over_ = false;
};

struct loose_header {
  git_object_t type = GIT_OBJECT_INVALID;
  std::size_t size = 0, header_bytes = 0;
};

std::optional<loose_header> parse_header(std::string_view text) {
  const auto space = text.find(' '), end = text.find('\0');
  if (space == std::string_view::npos || end == std::string_view::npos || space > end) return std::nullopt;
  loose_header out;
  out.type = git_object_string2type(std::string(text.substr(0, space)).c_str());
  const auto digits = text.substr(space + 1, end - space - 1);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), out.size);
  out.header_bytes = end + 1;
  if (git_object_typeisloose(out.type) == 0 || parsed.ec != std::errc{} || parsed.ptr != digits.data() + digits.size())
    return std::nullopt;
  return out;
}

int read_object(void** data, std::size_t* size, git_object_t* type, git_odb_backend* backend, const git_oid* id) {
  const auto path = static_cast<loose_reader*>(backend)->path_of(*id);
  const auto file = read_small_file(AT_FDCWD, path.c_str(), std::numeric_limits<std::size_t>::max());
  if (!file && file.error().code == error_code::not_found) return GIT_ENOTFOUND;
  if (!file) {
    git_error_set_str(file.error().code == error_code::corrupt ? GIT_ERROR_ODB : GIT_ERROR_OS,
                      to_string(file.error()).c_str());
    return GIT_ERROR;
  }
  inflating stream(*file);
  std::array<char, max_header_bytes> first{};
  std::size_t got = 0;
  if (!stream.read(first.data(), first.size(), got)) return damage(*id, "is cut off or no zlib stream");
  const auto header = parse_header({first.data(), got});
  if (!header) return damage(*id, "has no header");
  const auto begun = got - header->header_bytes;
  if (header->size < begun || header->size / max_ratio > file->size()) return damage(*id, "has not the stated size");
  auto* bytes = static_cast<char*>(git_odb_backend_data_alloc(backend, header->size + 1));
  if (bytes == nullptr) return GIT_ERROR;
  std::copy_n(first.data() + header->header_bytes, begun, bytes);
  bytes[header->size] = '\0'; // as libgit2's own backends do
  if (!stream.read(bytes + begun, header->size - begun, got) || got != header->size - begun || !stream.ends_here()) {
    git_odb_backend_data_free(backend, bytes);
    return damage(*id, "is cut off, or has not the stated size");
  }
  *data = bytes;
  *size = header->size;
  *type = header->type;
  return 0;
}

/// Nothing of a private store is ever half-written under its own name.
int remove_damaged(const loose_reader& reader, const git_oid& id) {
  return ::unlink(reader.path_of(id).c_str()) == 0 || errno == ENOENT ? GIT_ENOTFOUND : GIT_ERROR;
}

/// libgit2 is C: nothing is thrown through it.
int read_loose(void** data, std::size_t* size, git_object_t* type, git_odb_backend* backend,
               const git_oid* id) noexcept {
  try {
    const auto code = read_object(data, size, type, backend, id);
    const auto& reader = *static_cast<loose_reader*>(backend);
    const auto* why = git_error_last();
    if (code != GIT_ERROR || why->klass != GIT_ERROR_ODB || reader.damaged == damaged_object::is_error) return code;
    return remove_damaged(reader, *id);
  } catch (const std::exception&) { // no memory
    git_error_set_oom();
    return GIT_ERROR;
  }
}

void free_reader(git_odb_backend* backend) noexcept {
  delete static_cast<loose_reader*>(backend);
}

/// Closes a repository that could not be made safe.
int guarded(git_repository** opened, int code) {
  if (code != 0) return code;
  odb_handle odb;
  code = git_repository_odb(out(odb), *opened);
  if (code == 0)
    code = add_loose_reader(odb.get(), std::string(git_repository_commondir(*opened)) + "objects",
                            between_packs_and_loose, damaged_object::is_error);
  if (code != 0) {
    git_repository_free(*opened);
    *opened = nullptr;
  }
  return code;
}

} // namespace

int add_loose_reader(git_odb* odb, const std::string& objects, int priority, damaged_object damaged) {
  auto reader = std::make_unique<loose_reader>();
  if (const int code = git_odb_init_backend(reader.get(), GIT_ODB_BACKEND_VERSION); code != 0) return code;
  reader->objects = objects;
  reader->damaged = damaged;
  reader->read = &read_loose;
  reader->free = &free_reader;
  const int code = git_odb_add_backend(odb, reader.get(), priority);
  if (code == 0) static_cast<void>(reader.release()); // the store's now
  return code;
}

int open_bare_repository(git_repository** out, const char* path) {
  return guarded(out, git_repository_open_bare(out, path));
}

int open_worktree_repository(git_repository** out, const char* path, unsigned flags) {
  return guarded(out, git_repository_open_ext(out, path, flags, nullptr));
}

} // namespace townkeeper::git
