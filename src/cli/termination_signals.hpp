#pragma once

#include <optional>
#include <string>

namespace townkeeper::cli {

/// SIGTERM, SIGINT and SIGHUP as something to poll; SIGPIPE is ignored. To be made before the first thread, which then
/// has them blocked as well.
class termination_signals {
public:
  termination_signals();
  ~termination_signals();
  termination_signals(const termination_signals&) = delete;
  termination_signals& operator=(const termination_signals&) = delete;

  int descriptor() const noexcept { return fd_; }
  /// The name of the next signal that came, without waiting.
  std::optional<std::string> next(); // NOLINT(readability-make-member-function-const): it takes a signal away

private:
  int fd_ = -1;
};

} // namespace townkeeper::cli
