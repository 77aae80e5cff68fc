#pragma once

#include <rapidjson/document.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "child_process.hpp"
#include "http_request.hpp"
#include "small_disk.hpp"
#include "temp_dir.hpp"
#include "town.hpp"

namespace townkeeper::test {

struct container_options {
  std::string api_url; ///< `town::base_url()`
  std::string town_id;
  std::string token;         ///< of scope container; empty: none
  std::string config = "{}"; ///< the configuration file
  std::map<std::string, std::string> environment = {};
  std::vector<std::string> arguments = {}; ///< after `townkeeper run …`
  std::vector<std::string> launcher = {}; ///< a command that executes what follows it: `setpriv …`, `sh -c 'umask …'`
  std::int64_t disk_bytes = 0;            ///< a disk of its own of this size (see small_disk); 0: the machine's
};

/// How a container ended that was given a grace period.
struct container_ending {
  int code = 0;                      ///< its exit code, or 128 plus a signal
  bool killed = false;               ///< it had not ended when its grace was over
  std::chrono::milliseconds took{0}; ///< from SIGTERM to the end
};

/// A container: the real daemon with a workspace of its own, which can be wiped as a platform would. One lives at a
/// time per object; `start` after `kill` or an exit is the next container of the same town.
class container {
public:
  explicit container(container_options options);
  ~container();
  container(const container&) = delete;
  container& operator=(const container&) = delete;

  /// Starts the daemon and waits until its control port is known. Throws with its log when it ends before.
  void start();
  /// Starts it and waits for nothing.
  void launch();
  bool wait_until_listening(std::chrono::milliseconds deadline = std::chrono::seconds{20});

  /// SIGKILL to the daemon and to all that runs in its workspace, as a container ends.
  void kill();
  void terminate();
  /// Its exit code, or 128 plus a signal.
  std::optional<int> wait_for_exit(std::chrono::milliseconds deadline = std::chrono::seconds{30});
  /// As a platform ends a container: SIGTERM, and SIGKILL to all of it when it has not ended within its grace.
  container_ending end(std::chrono::milliseconds grace);
  /// Removes everything the daemon had on its disk.
  void wipe_disk();
  /// Its own disk; null without `disk_bytes`.
  const small_disk* disk() const { return disk_.get(); }
  /// Open descriptors and resident memory (bytes) of the daemon; 0 when it does not run.
  std::int64_t descriptors() const;
  std::int64_t resident_bytes() const;
  /// Of these, what is no file's: heaps and stacks.
  std::int64_t anonymous_bytes() const;
  /// Where the daemon listens for an agent's commands: below the workspace, or where that path is too long for a socket
  /// elsewhere. Waits until it does; throws where it does not.
  std::filesystem::path socket_of(const std::string& agent_id) const;

  child_process* process() { return process_.get(); }
  const container_options& options() const { return options_; }
  container_options& options() { return options_; }

  const std::filesystem::path& workspace() const { return workspace_; }
  std::filesystem::path worktree(std::string_view rig_id, std::string_view agent_id) const;
  /// `http://127.0.0.1:<port>`, from control.json.
  const std::string& url() const { return url_; }
  int port() const;
  /// Where the workspace, the daemon's configuration file and its log are.
  const std::filesystem::path& directory() const { return dir_.path(); }
  /// What the daemons of this object have written so far.
  std::string log() const;

  /// Status 0 when there was no answer.
  http_response get(const std::string& path) const;
  http_response post(const std::string& path, const std::string& body, const std::string& token = {},
                     std::vector<std::pair<std::string, std::string>> headers = {}) const;
  /// The health document; null when there was no answer.
  rapidjson::Document health() const;
  /// Polls `/health` until `reached` says so; false at the deadline. Every document is handed on exactly once.
  bool wait_for_health(const std::function<bool(const rapidjson::Value&)>& reached,
                       std::chrono::milliseconds deadline = std::chrono::seconds{60}) const;
  /// Until `/health` says this phase.
  bool wait_for_phase(std::string_view phase, std::chrono::milliseconds deadline = std::chrono::seconds{60}) const;

private:
  container_options options_;
  temp_dir dir_{"container"};
  std::filesystem::path workspace_;
  std::unique_ptr<small_disk> disk_;
  std::unique_ptr<child_process> process_;
  std::string url_;
};

/// What an operator does to a town: its admin routes, with an admin token. Every call throws with the answer when it
/// is not a success.
class town_admin {
public:
  town_admin(const town& where, std::string town_id);

  void put_rig(std::string_view rig_id, std::string_view git_url, std::string_view default_branch = "main") const;
  /// `fields`: further members of the agent, as JSON text that begins with a comma.
  void put_agent(std::string_view rig_id, std::string_view agent_id, std::string_view branch,
                 std::string_view fields = {}) const;
  void put_git_token(std::string_view rig_id, std::string_view token) const;
  void remove_agent(std::string_view rig_id, std::string_view agent_id) const;
  void remove_rig(std::string_view rig_id) const;
  rapidjson::Document state() const;
  /// All dispatches so far, oldest first.
  rapidjson::Document dispatches() const;
  /// Any call; the answer's `data`.
  rapidjson::Document call(const std::string& method, const std::string& path, const std::string& body = {}) const;

private:
  std::string base_;
  std::string token_;
};

/// Polls until `reached`; false at the deadline.
bool wait_until(const std::function<bool()>& reached, std::chrono::milliseconds deadline = std::chrono::seconds{30});

} // namespace townkeeper::test
