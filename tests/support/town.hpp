#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "temp_dir.hpp"

namespace townkeeper::test {

struct town_options {
  /// More environment for workerd, e.g. `CONTROL_URL_ALLOW`.
  std::map<std::string, std::string> environment = {};
  /// How many times faster the town's clock runs than the wall clock (`TOWN_TIME_SCALE`); 1 leaves it unset.
  int time_scale = 1;
};

/// The real town on a real workerd: a free port, a state directory of its own, and an end that no test outlives.
///
/// The process is forked by the thread that constructs or starts it and dies with that thread (`PR_SET_PDEATHSIG`):
/// construct it in the test's own thread. Failures to start throw `std::runtime_error` with workerd's output.
class town {
public:
  explicit town(town_options options = {});
  ~town();
  town(const town&) = delete;
  town& operator=(const town&) = delete;

  /// SIGKILL, and waits until the process is gone. Nothing when it is not running.
  void kill();

  /// Stops answering: connections are still accepted (by the kernel), and then nothing comes (SIGSTOP). `resume` ends
  /// it, and so does `kill`.
  void hang();
  void resume();

  /// Starts it again on the same state and the same port.
  void start();

  /// More environment from the next start on; it replaces what the options said under that name.
  void set_environment(const std::string& name, std::string value) { options_.environment[name] = std::move(value); }

  bool running() const noexcept { return pid_ > 0; }
  pid_t pid() const noexcept { return pid_; }

  int port() const noexcept { return port_; }
  /// `http://127.0.0.1:<port>`: the daemon's `GASTOWN_API_URL`.
  std::string base_url() const;

  /// `TOWN_SECRET`
  const std::string& secret() const noexcept { return secret_; }

  /// A token of this town's secret. `scope` is `container` or `admin`; a negative `ttl` gives an expired one.
  std::string mint(std::string_view town_id, std::string_view scope,
                   std::chrono::seconds ttl = std::chrono::hours{1}) const;

  /// What workerd has written so far.
  std::string log() const;

private:
  std::filesystem::path log_path() const { return dir_.path() / "town.log"; }

  town_options options_;
  temp_dir dir_{"town"};
  std::string secret_;
  int port_ = 0; ///< 0 until the first start has got one
  pid_t pid_ = -1;
};

/// A JSON Web Token (HS256) over exactly these header and payload texts, for those who need a wrong one.
std::string sign_token(std::string_view secret, std::string_view header, std::string_view payload);

} // namespace townkeeper::test
