#include "git/file_comparison.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "git/descriptor.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{64} * 1024;

bool is_kind_of(const struct stat& st, std::uint32_t mode) noexcept {
  if (mode == mode_submodule) return S_ISDIR(st.st_mode);
  if (mode == mode_symlink) return S_ISLNK(st.st_mode);
  return S_ISREG(st.st_mode) && ((st.st_mode & S_IXUSR) != 0) == (mode == mode_executable);
}

/// True when the link's target is `expected`.
bool links_to(int directory, const char* leaf, std::string_view expected) {
  std::string target(expected.size() + 1, '\0'); // one more byte shows a longer one
  const auto n = ::readlinkat(directory, leaf, target.data(), target.size());
  return n >= 0 && std::string_view(target.data(), static_cast<std::size_t>(n)) == expected;
}

} // namespace

result<std::optional<file_stamp>> file_comparison::stamp_if_same(int directory, const char* leaf,
                                                                 const manifest_entry& entry) {
  struct stat st {};
  if (::fstatat(directory, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<file_stamp>();
    return disk_error(errno, printable(entry.path), "cannot be examined");
  }
  if (!is_kind_of(st, entry.mode)) return std::optional<file_stamp>();
  if (entry.mode == mode_submodule) return std::optional(stamp_of(st));
  auto blob = objects_.read(entry.id, GIT_OBJECT_BLOB);
  if (!blob) return blob.error();
  if (entry.mode == mode_symlink)
    return links_to(directory, leaf, (*blob)->bytes) ? std::optional(stamp_of(st)) : std::nullopt;
  const std::string_view expected =
      entry.as_it_is ? (*blob)->bytes : conversion_.to_worktree(entry, (*blob)->bytes, buffer_);
  if (static_cast<std::size_t>(st.st_size) != expected.size()) return std::optional<file_stamp>();
  auto same_bytes = holds(directory, leaf, entry, expected);
  if (!same_bytes) return same_bytes.error();
  return *same_bytes ? std::optional(stamp_of(st)) : std::nullopt;
}

result<bool> file_comparison::holds(int directory, const char* leaf, const manifest_entry& entry,
                                    std::string_view expected) {
  const descriptor fd(::openat(directory, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return disk_error(errno, printable(entry.path), "cannot be opened");
  std::array<char, chunk_bytes> chunk;
  for (;;) {
    const auto n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error(errno, printable(entry.path), "cannot be read");
    const std::string_view got(chunk.data(), static_cast<std::size_t>(n));
    if (got.empty()) return expected.empty();
    if (!expected.starts_with(got)) return false;
    expected.remove_prefix(got.size());
  }
}

} // namespace townkeeper::git
