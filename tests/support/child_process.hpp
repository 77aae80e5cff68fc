#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace townkeeper::test {

struct child_options {
  std::vector<std::string> argv;                       ///< `argv[0]` is looked up in PATH
  std::map<std::string, std::string> environment = {}; ///< beside what this process has; an empty value removes it
  std::filesystem::path log = {};                      ///< gets stdout and stderr, appended; empty: /dev/null
  std::filesystem::path directory = {};                ///< where it runs; empty: here
};

/// One process that no test outlives: it dies with the thread that constructed it (`PR_SET_PDEATHSIG`), so construct it
/// in the test's own thread. Throws `std::runtime_error` when it cannot be forked.
class child_process {
public:
  explicit child_process(const child_options& options);
  /// SIGKILL, and waits until it is gone.
  ~child_process();
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  pid_t pid() const noexcept { return pid_; }

  /// False once it has ended.
  bool running();

  /// Nothing when it has ended already.
  void signal(int number);

  void kill();

  /// Its exit code, or 128 plus the signal that ended it; nothing at the deadline.
  std::optional<int> wait(std::chrono::milliseconds deadline);

  /// True where it has ended by a signal and the kernel wrote a core dump (or gave it to its handler).
  bool dumped_core() const noexcept { return dumped_core_; }

private:
  bool reap(int flags);

  pid_t pid_ = -1;
  std::optional<int> ended_;
  bool dumped_core_ = false;
};

} // namespace townkeeper::test
