#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/error.hpp"
#include "http/server.hpp"

namespace townkeeper::cli {

/// One Unix socket per agent, on a server of its own: what is answered here is never answered on TCP. Sockets come and
/// go on one thread, so that whoever says so never waits.
class agent_sockets {
public:
  /// `preferred`: where the sockets are to be; another directory where that path is too long. `disk`. `io` must outlive
  /// the object.
  static result<std::unique_ptr<agent_sockets>> create(http::io_thread& io, const std::filesystem::path& preferred,
                                                       http::handler handle, http::server_limits limits);
  /// Removes every socket.
  ~agent_sockets();
  agent_sockets(const agent_sockets&) = delete;
  agent_sockets& operator=(const agent_sockets&) = delete;

  /// That an agent has come, or gone. From any thread but the I/O thread.
  void set_known(const std::string& rig_id, const std::string& agent_id, bool present);

  const std::filesystem::path& directory() const noexcept { return directory_; }

private:
  agent_sockets(http::io_thread& io, std::filesystem::path directory, bool is_own, http::handler handle,
                http::server_limits limits);
  void work();
  void add(const std::filesystem::path& path, const std::string& label);

  std::filesystem::path directory_;
  bool remove_directory_;
  http::server server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

} // namespace townkeeper::cli
