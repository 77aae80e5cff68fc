#include "core/fault_point.hpp"

#ifdef TOWNKEEPER_FAULT_POINTS

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace townkeeper {
namespace {

struct fault {
  enum class kind { kill, error, delay };
  std::string point;
  kind what = kind::kill;
  int error_number = 0;
  std::chrono::milliseconds delay{0};
  std::uint64_t occurrence = 1;
  bool and_later = false;

  bool happens_at(std::string_view name, std::uint64_t nth) const {
    return name == point && (and_later ? nth >= occurrence : nth == occurrence);
  }
};

struct armed_faults {
  std::atomic<bool> any{false}; ///< set last, and read first: a daemon without faults takes no lock
  std::vector<fault> faults;
  int log = -1;
  std::mutex mutex;
  std::map<std::string, std::uint64_t, std::less<>> passed;
};

armed_faults& armed() {
  static armed_faults all;
  return all;
}

constexpr std::array<std::pair<std::string_view, int>, 12> error_names{{{"EACCES", EACCES},
                                                                        {"ECONNRESET", ECONNRESET},
                                                                        {"EDQUOT", EDQUOT},
                                                                        {"EINTR", EINTR},
                                                                        {"EIO", EIO},
                                                                        {"EMFILE", EMFILE},
                                                                        {"ENFILE", ENFILE},
                                                                        {"ENOMEM", ENOMEM},
                                                                        {"ENOSPC", ENOSPC},
                                                                        {"EPERM", EPERM},
                                                                        {"EROFS", EROFS},
                                                                        {"ETIMEDOUT", ETIMEDOUT}}};

error refused(std::string_view text, std::string_view why) {
  return {error_code::invalid_config, fault_points_variable, fmt::format("\"{}\": {}", text, why)};
}

/// The whole of `text`, from 1.
std::optional<std::uint64_t> positive(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end != text.data() + text.size() || value == 0) return std::nullopt;
  return value;
}

bool is_point_name(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

result<void> read_action(fault& f, std::string_view action, std::string_view whole) {
  const auto colon = action.find(':');
  const auto word = action.substr(0, colon);
  const auto detail = colon == std::string_view::npos ? std::string_view{} : action.substr(colon + 1);
  if (action == "kill") {
    f.what = fault::kind::kill;
  } else if (word == "error") {
    const auto* const known =
        std::find_if(error_names.begin(), error_names.end(), [&](const auto& each) { return each.first == detail; });
    if (known == error_names.end()) return refused(whole, "names no error known here (error:ENOSPC, error:EIO, …)");
    f.what = fault::kind::error;
    f.error_number = known->second;
  } else if (word == "delay") {
    const auto ms = detail.ends_with("ms") ? positive(detail.substr(0, detail.size() - 2)) : std::nullopt;
    constexpr std::uint64_t longest_ms = 600'000;
    if (!ms || *ms > longest_ms) return refused(whole, "a delay is 1ms to 600000ms (delay:500ms)");
    f.what = fault::kind::delay;
    f.delay = std::chrono::milliseconds(*ms);
  } else {
    return refused(whole, "says neither kill, error:NAME nor delay:500ms");
  }
  return {};
}

result<fault> read_fault(std::string_view text) {
  fault f;
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || !is_point_name(text.substr(0, equals)))
    return refused(text, "is not NAME=kill|error:NAME|delay:500ms, with @N or @N+ behind it");
  f.point = text.substr(0, equals);
  auto action = text.substr(equals + 1);
  if (const auto at = action.find('@'); at != std::string_view::npos) {
    auto number = action.substr(at + 1);
    f.and_later = number.ends_with('+');
    if (f.and_later) number.remove_suffix(1);
    const auto nth = positive(number);
    if (!nth) return refused(text, "behind @ stands which time it is passed, counted from 1, or N+");
    f.occurrence = *nth;
    action = action.substr(0, at);
  }
  if (auto read = read_action(f, action, text); !read) return read.error();
  return f;
}

/// One write of a short line to a file opened for appending: lines of several threads stay whole.
void note_passed(int log, std::string_view name) noexcept {
  std::array<char, 128> line{};
  const auto length = std::min(name.size(), line.size() - 1);
  std::copy_n(name.begin(), length, line.begin());
  line[length] = '\n';
  [[maybe_unused]] const auto written = ::write(log, line.data(), length + 1);
}

} // namespace

result<void> arm_fault_points(std::string_view faults, const std::string& log_file) {
  auto& all = armed();
  const std::lock_guard lock(all.mutex);
  std::vector<fault> wanted;
  while (!faults.empty()) {
    const auto end = std::min(faults.find(','), faults.size());
    auto read = read_fault(faults.substr(0, end));
    if (!read) return read.error();
    wanted.push_back(std::move(*read));
    faults.remove_prefix(std::min(end + 1, faults.size()));
  }
  int log = -1;
  if (!log_file.empty() &&
      (log = ::open(log_file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR)) < 0)
    return error{error_code::invalid_config, fault_log_variable,
                 fmt::format("{} cannot be opened: {}", log_file, std::strerror(errno))};
  if (all.log >= 0) ::close(all.log);
  all.log = log;
  all.faults = std::move(wanted);
  all.passed.clear();
  all.any = !all.faults.empty() || log >= 0;
  return {};
}

int fault_point(std::string_view name) noexcept {
  auto& all = armed();
  if (!all.any) return 0;
  std::chrono::milliseconds delay{0};
  int error_number = 0;
  {
    const std::lock_guard lock(all.mutex);
    const int before = errno;
    if (all.log >= 0) note_passed(all.log, name);
    errno = before;
    const auto nth = ++all.passed.try_emplace(std::string(name)).first->second;
    for (const auto& f : all.faults) {
      if (!f.happens_at(name, nth)) continue;
      if (f.what == fault::kind::kill) ::kill(::getpid(), SIGKILL);
      if (f.what == fault::kind::error) error_number = f.error_number;
      delay = std::max(delay, f.delay);
    }
  }
  if (delay.count() > 0) std::this_thread::sleep_for(delay);
  return error_number;
}

} // namespace townkeeper

#endif
