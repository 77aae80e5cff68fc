#include "small_disk.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

namespace townkeeper::test {

namespace {

constexpr auto ballast = ".ballast";
constexpr std::chrono::seconds busy_limit{20};

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error{errno, std::generic_category(), "small_disk: " + what};
}

/// This thread's own mounts from now on; those made by others still arrive, its own reach nobody.
bool enter_own_namespace() {
  thread_local bool done = false;
  if (!done) done = unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
  return done;
}

} // namespace

std::optional<std::string> small_disk::why_not() {
  if (enter_own_namespace()) return std::nullopt;
  return "no mount namespace of one's own (root is needed): " + std::generic_category().message(errno);
}

small_disk::small_disk(std::filesystem::path at, std::int64_t size_bytes)
    : at_{std::move(at)} {
  if (!enter_own_namespace()) fail("unshare");
  std::filesystem::create_directories(at_);
  const auto options = "mode=755,size=" + std::to_string(size_bytes);
  if (mount("townkeeper-test", at_.c_str(), "tmpfs", 0, options.c_str()) != 0) fail("mount " + at_.string());
}

small_disk::~small_disk() {
  // What still has a file open on it does not keep it here.
  umount2(at_.c_str(), MNT_DETACH);
}

std::int64_t small_disk::free_bytes() const {
  struct statvfs s {};
  if (statvfs(at_.c_str(), &s) != 0) fail("statvfs");
  return static_cast<std::int64_t>(s.f_bavail) * static_cast<std::int64_t>(s.f_frsize);
}

void small_disk::fill(std::int64_t leave_bytes) const {
  const auto file = at_ / ballast;
  const auto size = free_bytes() - leave_bytes;
  if (size <= 0) return;
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) fail("open " + file.string());
  const auto begin = lseek(fd, 0, SEEK_END);
  const int failed = posix_fallocate(fd, begin, size);
  close(fd);
  // Somebody else may have taken a part meanwhile: then it is full, too.
  if (failed != 0 && failed != ENOSPC) {
    errno = failed;
    fail("fill");
  }
}

void small_disk::free_again() const {
  std::error_code ignored;
  std::filesystem::remove(at_ / ballast, ignored);
}

void small_disk::set_read_only(bool read_only) const {
  const auto until = std::chrono::steady_clock::now() + busy_limit;
  while (mount(nullptr, at_.c_str(), nullptr, MS_REMOUNT | (read_only ? static_cast<unsigned long>(MS_RDONLY) : 0UL),
               nullptr) != 0) {
    if (errno != EBUSY || std::chrono::steady_clock::now() > until) fail("remount");
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
}

void small_disk::wipe() const {
  for (const auto& entry : std::filesystem::directory_iterator{at_})
    std::filesystem::remove_all(entry);
}

} // namespace townkeeper::test
