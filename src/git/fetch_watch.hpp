#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "git/url.hpp"

namespace townkeeper::git {

/// The head of the latest HTTP answer, read from the bytes as they pass: libgit2 keeps neither Retry-After nor a status
/// that could be told from a text (RFC 9110 sections 10.2.3 and 15).
class response_head {
public:
  /// A request goes out: what comes next is its answer.
  void expect() noexcept;
  void feed(std::string_view bytes);

  int status() const noexcept { return status_; } ///< known from the first line on; 0: none seen
  bool is_redirect() const noexcept { return status_ >= 300 && status_ < 400; }
  bool is_complete() const noexcept { return !reading_; } ///< all of it has been seen, or as much as is looked at
  const std::string& retry_after() const noexcept { return retry_after_; }
  const std::string& location() const noexcept { return location_; }

private:
  void parse_status();
  void parse_fields();

  bool reading_ = false;
  std::string raw_;
  int status_ = 0;
  std::string retry_after_, location_;
};

/// Looks for one text in bytes that pass in pieces.
class text_finder {
public:
  explicit text_finder(std::string_view text)
      : text_(text) {}
  void feed(std::string_view bytes);
  bool found() const noexcept { return found_; }

private:
  std::string text_;
  std::string tail_; ///< of what has passed, shorter than the text
  bool found_ = false;
};

/// Watches one transfer on one thread: decides when it must end (cancelled, total deadline, stall) and keeps the first
/// reason why it did, which is truer than what libgit2 makes of it. While one is alive, the sockets libgit2 opens on
/// its thread obey it.
///
/// The stall rule counts only time spent waiting for the peer, never our own work: no byte for `limits.stall`, or fewer
/// than `min_bytes_per_second` over a stretch of that length, ends the transfer.
class transfer_watch {
public:
  using clock = std::chrono::steady_clock;

  /// Before the pack flows a server may have little to say (it counts objects and sends a progress line a second); then
  /// it has bytes.
  static constexpr std::int64_t min_bytes_per_second_before_pack = 16;
  static constexpr std::int64_t min_bytes_per_second_in_pack = 1024;
  /// How long a wait may overlook the cancel flag.
  static constexpr std::chrono::milliseconds slice{50};

  transfer_watch(const repository_job& job, remote_address peer);
  transfer_watch(const transfer_watch&) = delete;
  transfer_watch& operator=(const transfer_watch&) = delete;
  ~transfer_watch();

  /// The watch of the transfer that runs on this thread, or null.
  static transfer_watch* current() noexcept;

  /// True once the transfer has a reason to end; asks flag and clock.
  bool ended();
  void fail(error_code code, std::string message);
  const std::optional<error>& failure() const noexcept { return failure_; }

  /// Waits until `fd` is ready for `events` (poll(2)), counting the wait against the stall rule. False: the transfer
  /// has ended.
  bool wait(int fd, short events);
  /// The same with a deadline of its own (connecting).
  bool wait_until(int fd, short events, clock::time_point deadline, std::string_view what);
  void moved(std::int64_t bytes) noexcept;
  void pack_flows() noexcept { min_rate_ = min_bytes_per_second_in_pack; }
  /// What flows goes out: when all of it is sent a server may have nothing to say but a keep-alive of five bytes every
  /// five seconds (receive.keepAlive of git-config(1)), so that only silence counts.
  void sends() noexcept { min_rate_ = 0; }
  bool pack_is_flowing() const noexcept { return min_rate_ == min_bytes_per_second_in_pack; }

  const remote_address& peer() const noexcept { return peer_; }
  const repository_job& job() const noexcept { return job_; }
  response_head& response() noexcept { return response_; }

  /// What came from the peer, before libgit2 sees it.
  void arrived(std::string_view bytes);
  /// True when the advertisement says that the remote lacks a part of its history (gitprotocol-pack(5),
  /// "advertised-refs"); libgit2 1.8 knows no such line.
  bool remote_is_shallow() const noexcept { return shallow_line_.found(); }

private:
  void waited(clock::duration time);

  const repository_job& job_;
  remote_address peer_;
  clock::time_point deadline_;
  std::optional<error> failure_;
  response_head response_;
  text_finder shallow_line_{"0035shallow "};
  /// A pack of version 2 (gitformat-pack(5)). libgit2 hands its first bytes on only when a whole side-band packet of up
  /// to 64 KiB has come, which takes a dripping remote minutes.
  text_finder pack_start_{std::string_view("PACK\0\0\0\x02", 8)};
  std::int64_t min_rate_ = min_bytes_per_second_before_pack;
  clock::duration silent_{};        ///< waited since the last byte
  clock::duration window_waited_{}; ///< waited in this stretch
  std::int64_t window_bytes_ = 0;
  transfer_watch* outer_;
};

} // namespace townkeeper::git
