#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "http/listening_socket.hpp"
#include "http/message.hpp"

namespace townkeeper::test {

/// How long a test waits for what must happen: long, so that a slow machine fails no test.
constexpr std::chrono::milliseconds patience{10'000};

/// Asks until it is true, or `patience` is over.
bool eventually(const std::function<bool()>& condition);

/// An answer as it came over the wire.
struct answer {
  int status = 0; ///< 0: none came
  http::header_fields headers;
  std::string body;

  std::string header(std::string_view name) const { return std::string(headers.find(name).value_or("")); }
};

/// One end of a connection, spoken to byte by byte: what no well-behaved client or server would do.
class peer {
public:
  explicit peer(http::unique_fd fd);

  /// Connects, or throws.
  static peer to(std::uint16_t port);
  static peer to(const std::filesystem::path& unix_socket);

  /// False once the other side takes no more.
  bool send(std::string_view bytes);
  /// One request without a body, keep-alive.
  bool get(std::string_view path) { return send("GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n"); }
  /// Says that no more is sent; still reads.
  void half_close() { ::shutdown(fd_.get(), SHUT_WR); }
  /// Closes so that the other side gets an RST.
  void reset();

  /// Reads up to and with `mark`; what follows it stays for the next call. Less where the other side closes or
  /// `patience` ends.
  std::string read_until(std::string_view mark);
  /// The next bytes; fewer where the other side closes or `patience` ends.
  std::string read_bytes(std::size_t count);
  /// The next request, as it came; empty where none does.
  std::string read_request();
  /// The next answer; `bodiless` for one to HEAD.
  answer read_answer(bool bodiless = false);
  /// Reads on until the other side closes; true where it does so within `patience`.
  bool is_closed();
  /// What was read and not yet asked for.
  const std::string& unread() const noexcept { return unread_; }

  int fd() const noexcept { return fd_.get(); }

private:
  /// Appends what comes; false at the end of the connection, or of the time.
  bool read_more(std::chrono::steady_clock::time_point until);

  http::unique_fd fd_;
  std::string unread_;
  bool ended_ = false; ///< the other side closed, as opposed to being silent
};

} // namespace townkeeper::test
