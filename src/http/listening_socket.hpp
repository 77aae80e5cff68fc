#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.hpp"

// Internal to src/http. Plain POSIX: every descriptor made here is non-blocking and closed on exec.
namespace townkeeper::http {

/// A file descriptor that is closed when it goes.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) noexcept
      : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept
      : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept;
  ~unique_fd();

  int get() const noexcept { return fd_; }
  int release() noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

private:
  int fd_ = -1;
};

struct tcp_listener {
  unique_fd fd;
  std::uint16_t port = 0; ///< the bound one
};

/// `127.0.0.1:8080`, `[::1]:0`, `localhost:8080` (which is 127.0.0.1); port 0 lets the system choose. Names are not
/// looked up.
result<tcp_listener> listen_on_tcp(std::string_view address_and_port);

struct unix_listener {
  unique_fd fd;
  std::filesystem::path path;
  dev_t device = 0; ///< with `inode`: the file is still the one made here
  ino_t inode = 0;
};

/// A socket at `path`, mode 0600 from its first moment under that name. A socket file nobody listens on is replaced;
/// one that answers is `conflict`; another kind of file is left alone and refused. The directory must exist.
result<unix_listener> listen_on_unix(const std::filesystem::path& path);

/// Removes the socket's file, unless another one has taken its name.
void unlink_listener(const unix_listener& listener) noexcept;

struct accepted_socket {
  unique_fd fd; ///< none: see `error_number`
  int family = 0;
  std::string peer;     ///< `address:port`, or `unix`
  int error_number = 0; ///< EAGAIN: nobody waits
};

accepted_socket accept_from(int listening_fd);

} // namespace townkeeper::http
