#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace townkeeper::test {

/// A lighttpd on 127.0.0.1 and a free port, which stays its own while the server is down.
///
/// The process is forked by the thread that starts it and dies with that thread (`PR_SET_PDEATHSIG`): start it in the
/// test's own thread. What cannot be done throws `std::runtime_error`. Not thread-safe, but clients may use the server
/// meanwhile.
class lighttpd {
public:
  /// Keeps its configuration and its log below `directory`, which must exist and outlive it.
  explicit lighttpd(std::filesystem::path directory);
  ~lighttpd();
  lighttpd(const lighttpd&) = delete;
  lighttpd& operator=(const lighttpd&) = delete;

  int port() const noexcept { return port_; }
  pid_t pid() const noexcept { return pid_; }
  bool running() const noexcept { return pid_ > 0; }

  /// Starts it with this configuration; address, port and log are added. From here on it is connected to without being
  /// refused.
  void start(const std::string& configuration);
  /// SIGKILL.
  void stop();
  void hang();
  void resume();

  /// What it and its children wrote to their standard errors.
  std::string log() const;

private:
  std::filesystem::path directory_;
  int port_ = 0;
  int reserved_ = -1; ///< bound to the port and never listening
  pid_t pid_ = -1;
};

} // namespace townkeeper::test
