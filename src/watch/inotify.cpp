#include "watch/inotify.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace townkeeper::watch {
namespace {

/// Reading changes nothing and is not seen. IN_CLOSE_WRITE beside IN_MODIFY: what was written through a mapping is not
/// told otherwise.
constexpr std::uint32_t wanted_events = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY |
                                        IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

} // namespace

inotify::inotify(std::size_t max_watches)
    : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC))
    , open_errno_(fd_ ? 0 : errno)
    , max_watches_(max_watches) {}

int inotify::add(int directory) {
  if (!fd_) return -open_errno_;
  // By descriptor: no path is resolved, and what the name means meanwhile does not matter.
  const auto path = "/proc/self/fd/" + std::to_string(directory);
  if (watches_ >= max_watches_) return -ENOSPC;
  const int wd = ::inotify_add_watch(fd_.get(), path.c_str(), wanted_events | IN_ONLYDIR);
  return wd < 0 ? -errno : wd;
}

void inotify::remove(int wd, bool tell_kernel) noexcept {
  if (tell_kernel) ::inotify_rm_watch(fd_.get(), wd);
  if (watches_ > 0) --watches_;
}

std::size_t inotify::read(const std::function<void(const inotify_event_view&)>& f) {
  const auto got = ::read(fd_.get(), buffer_.data(), buffer_.size());
  std::size_t count = 0;
  for (std::size_t at = 0; got > 0 && at < static_cast<std::size_t>(got); ++count) {
    inotify_event head{};
    std::memcpy(&head, buffer_.data() + at, sizeof head);
    const char* name = buffer_.data() + at + sizeof head;
    f({head.wd, head.mask, head.len == 0 ? std::string_view() : std::string_view(name, ::strnlen(name, head.len))});
    at += sizeof head + head.len;
  }
  return count;
}

} // namespace townkeeper::watch
