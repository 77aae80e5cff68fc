#include "git/fetch_watch.hpp"

#include <fmt/core.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace townkeeper::git {
namespace {

constexpr std::size_t max_head_bytes = 16 * 1024;

thread_local transfer_watch* current_watch = nullptr;

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

double seconds(transfer_watch::clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

} // namespace

void response_head::expect() noexcept {
  reading_ = true;
  raw_.clear();
  status_ = 0;
}

void response_head::feed(std::string_view bytes) {
  if (!reading_) return;
  raw_.append(bytes.substr(0, max_head_bytes - raw_.size()));
  if (status_ == 0) parse_status();
  // libgit2's parser takes bare line feeds too (RFC 9112 section 2.2).
  const bool ended = raw_.find("\n\r\n") != std::string::npos || raw_.find("\n\n") != std::string::npos;
  if (!ended && raw_.size() < max_head_bytes) return;
  reading_ = false;
  parse_fields();
}

void response_head::parse_status() {
  const auto line = std::string_view(raw_).substr(0, raw_.find('\n'));
  if (line.size() == raw_.size() || !line.starts_with("HTTP/")) return;
  const auto code = line.substr(std::min(line.find(' '), line.size() - 1) + 1);
  std::from_chars(code.data(), code.data() + code.size(), status_);
}

void response_head::parse_fields() {
  retry_after_.clear();
  location_.clear();
  std::string_view rest = raw_;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (trimmed(line).empty()) return;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto value = trimmed(line.substr(colon + 1));
    if (equals_ignoring_case(line.substr(0, colon), "Retry-After")) retry_after_ = std::string(value);
    if (equals_ignoring_case(line.substr(0, colon), "Location")) location_ = std::string(value);
  }
}

void text_finder::feed(std::string_view bytes) {
  if (found_) return;
  tail_.append(bytes);
  found_ = tail_.find(text_) != std::string::npos;
  tail_.erase(0, tail_.size() - std::min(tail_.size(), text_.size() - 1));
}

transfer_watch::transfer_watch(const repository_job& job, remote_address peer)
    : job_(job)
    , peer_(std::move(peer))
    , deadline_(clock::now() + job.limits.total)
    , outer_(std::exchange(current_watch, this)) {}

transfer_watch::~transfer_watch() {
  current_watch = outer_;
}

transfer_watch* transfer_watch::current() noexcept {
  return current_watch;
}

bool transfer_watch::ended() {
  if (failure_) return true;
  if (job_.cancel && job_.cancel->load(std::memory_order_relaxed))
    fail(error_code::cancelled, "cancelled");
  else if (clock::now() >= deadline_)
    fail(error_code::timed_out, fmt::format("the attempt took longer than {:g} s in all", seconds(job_.limits.total)));
  return failure_.has_value();
}

void transfer_watch::fail(error_code code, std::string message) {
  if (!failure_) failure_ = error{code, job_.rig_id, std::move(message)};
}

bool transfer_watch::wait(int fd, short events) {
  return wait_until(fd, events, clock::time_point::max(), "an answer");
}

bool transfer_watch::wait_until(int fd, short events, clock::time_point deadline, std::string_view what) {
  for (;;) {
    if (ended()) return false;
    const auto begin = clock::now();
    if (begin >= deadline) {
      fail(error_code::timed_out,
           fmt::format("{} within {:g} s did not come about", what, seconds(job_.limits.connect)));
      return false;
    }
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(slice.count()));
    if (ready < 0 && errno != EINTR) {
      fail(error_code::internal, fmt::format("poll failed, errno {}", errno));
      return false;
    }
    waited(clock::now() - begin);
    if (ready > 0) return !failure_;
    if (failure_) return false;
  }
}

void transfer_watch::waited(clock::duration time) {
  silent_ += time;
  window_waited_ += time;
  if (silent_ >= job_.limits.stall) {
    fail(error_code::timed_out, fmt::format("the remote sent nothing for {:g} s", seconds(job_.limits.stall)));
    return;
  }
  if (window_waited_ < job_.limits.stall) return;
  const auto least = static_cast<double>(min_rate_) * seconds(window_waited_);
  if (static_cast<double>(window_bytes_) < least)
    fail(error_code::timed_out, fmt::format("the remote sent {} bytes in {:g} s of waiting, less than {} a second",
                                            window_bytes_, seconds(window_waited_), min_rate_));
  window_waited_ = {};
  window_bytes_ = 0;
}

void transfer_watch::arrived(std::string_view bytes) {
  response_.feed(bytes);
  if (pack_is_flowing()) return;
  shallow_line_.feed(bytes);
  pack_start_.feed(bytes);
  if (pack_start_.found()) pack_flows();
}

void transfer_watch::moved(std::int64_t bytes) noexcept {
  if (bytes <= 0) return;
  silent_ = {};
  window_bytes_ += bytes;
}

} // namespace townkeeper::git
