#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "git/descriptor.hpp"

namespace townkeeper::watch {

/// One event of the kernel's; see inotify(7). `name` is valid during the call only.
struct inotify_event_view {
  int wd = -1;
  std::uint32_t mask = 0;
  std::string_view name;
};

/// The kernel's side: directories by number, and what happens in them. Belongs to one thread.
class inotify {
public:
  /// Where the kernel has no room for one, `open_errno` says why and nothing can be added.
  explicit inotify(std::size_t max_watches);

  int fd() const noexcept { return fd_.get(); }
  int open_errno() const noexcept { return open_errno_; }
  std::size_t watches() const noexcept { return watches_; }

  /// Watches the open directory itself, whatever its path becomes. Its number (the same for the same directory), or
  /// minus errno.
  int add(int directory);
  /// Counts down; the kernel is told unless it forgot the directory by itself.
  void remove(int wd, bool tell_kernel) noexcept;
  /// `wd` was handed out newly, not known before: counts up.
  void counted() noexcept { ++watches_; }

  /// Hands on what is queued, one buffer of it; how many events that was.
  std::size_t read(const std::function<void(const inotify_event_view&)>& f);

private:
  git::descriptor fd_;
  int open_errno_ = 0;
  std::size_t max_watches_, watches_ = 0;
  alignas(8) std::array<char, 64 * 1024> buffer_{};
};

} // namespace townkeeper::watch
