#include "cli/agent_sockets.hpp"

#include <system_error>
#include <utility>

#include "actors/agent_socket.hpp"
#include "cli/agent_routes.hpp"
#include "cli/workspace.hpp"
#include "core/log.hpp"

namespace townkeeper::cli {

result<std::unique_ptr<agent_sockets>> agent_sockets::create(http::io_thread& io,
                                                             const std::filesystem::path& preferred,
                                                             http::handler handle, http::server_limits limits) {
  auto directory = make_socket_directory(preferred);
  if (!directory) return directory.error();
  const bool is_own = *directory != preferred;
  return std::unique_ptr<agent_sockets>(
      new agent_sockets(io, std::move(*directory), is_own, std::move(handle), limits));
}

agent_sockets::agent_sockets(http::io_thread& io, std::filesystem::path directory, bool is_own, http::handler handle,
                             http::server_limits limits)
    : directory_(std::move(directory))
    , remove_directory_(is_own)
    , server_(io, std::move(handle), limits)
    , thread_([this] { work(); }) {}

agent_sockets::~agent_sockets() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
  server_.stop(std::chrono::milliseconds(0));
  std::error_code ignored;
  if (remove_directory_) std::filesystem::remove_all(directory_, ignored);
}

void agent_sockets::set_known(const std::string& rig_id, const std::string& agent_id, bool present) {
  auto path = agent_socket_path(directory_, agent_id);
  auto job = present ? std::function<void()>([this, path, label = agent_label(rig_id, agent_id)] { add(path, label); })
                     : std::function<void()>([this, path] { server_.remove_unix(path); });
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void agent_sockets::add(const std::filesystem::path& path, const std::string& label) {
  if (auto listening = server_.listen_unix(path, label); !listening)
    log::failure("an agent's socket cannot be made; its commands and git logins will not work",
                 {{"agent", label}, {"error", to_string(listening.error())}});
}

void agent_sockets::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (ending_) return;
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

} // namespace townkeeper::cli
