#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

// Internal to src/http: includes Asio.
namespace townkeeper::http {

/// What an `io_thread` owns. Shared with whatever may still speak to the loop after the thread has ended (a responder
/// in an actor), so that a late word meets a closed door and not freed memory. Nothing that is kept alive by the loop
/// itself (a connection, a pending operation) may hold it strongly: that would be a cycle.
struct io_core {
  enum class phase { fresh, running, stopping, stopped };

  boost::asio::io_context context{1};

  bool post(std::function<void()> f);
  bool on_thread() const noexcept { return std::this_thread::get_id() == thread_id; }

  std::mutex mutex;
  std::condition_variable changed;
  phase now = phase::fresh;
  bool loop_ended = false;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> guard;
  std::thread thread;
  std::atomic<std::thread::id> thread_id{};
};

} // namespace townkeeper::http
