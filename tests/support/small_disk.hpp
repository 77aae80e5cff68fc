#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace townkeeper::test {

/// A disk of a stated size (tmpfs) at a directory, which can be filled, made read-only and freed again. It is mounted
/// in a mount namespace of the calling thread's own and of the processes it forks from then on: nobody else sees it,
/// and it goes with them, whatever happens. Needs root (CAP_SYS_ADMIN). Use from one thread.
class small_disk {
public:
  /// Why there can be none here; nothing: there can. A test that cannot have one is to be skipped with this reason.
  static std::optional<std::string> why_not();

  /// Throws `std::system_error`.
  small_disk(std::filesystem::path at, std::int64_t size_bytes);
  ~small_disk();
  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;

  std::int64_t free_bytes() const;
  /// Takes what is free but for so many bytes, in a file of its own at the root of the disk.
  void fill(std::int64_t leave_bytes = 0) const;
  /// Gives it back.
  void free_again() const;
  /// From now on for everybody; a file that is open for writing keeps it from becoming read-only, which is retried for
  /// a while (EBUSY). Throws `std::system_error` when it stays so.
  void set_read_only(bool read_only) const;
  /// Removes everything on it.
  void wipe() const;

private:
  std::filesystem::path at_;
};

} // namespace townkeeper::test
