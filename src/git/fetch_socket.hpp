#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "git/fetch_watch.hpp"

namespace townkeeper::git {

/// A connected, non-blocking TCP socket, whose every wait is the watch's.
class watched_socket {
public:
  explicit watched_socket(transfer_watch& watch)
      : watch_(watch) {}
  watched_socket(const watched_socket&) = delete;
  watched_socket& operator=(const watched_socket&) = delete;
  ~watched_socket();

  /// Resolves and connects, each address in turn until `limits.connect` is used up. False: the watch knows why.
  bool connect(const std::string& host, const std::string& port);

  /// At least one byte, 0 at the end of the stream, -1: the watch knows why.
  ssize_t read(void* into, std::size_t size);
  /// All of it, or -1: the watch knows why.
  ssize_t write(const char* from, std::size_t size);

  /// One attempt that never waits, for OpenSSL: as recv(2) and send(2).
  ssize_t receive_now(void* into, std::size_t size) noexcept;
  ssize_t send_now(const void* from, std::size_t size) noexcept;
  /// False: the peer has closed it, or it broke. Never waits.
  bool is_open() const noexcept;
  bool wait(short events) { return watch_.wait(fd_, events); }

  void close() noexcept;
  transfer_watch& watch() noexcept { return watch_; }

private:
  /// What a server said before it closed on a request it would not take: its status is the reason.
  void read_last_words();
  bool connect_to(int fd, const void* address, unsigned length, transfer_watch::clock::time_point deadline);

  transfer_watch& watch_;
  int fd_ = -1;
};

} // namespace townkeeper::git
