#pragma once

#include <functional>
#include <memory>

namespace townkeeper::http {

struct io_core;

/// One event loop and the one thread that runs it. Servers and clients live on it; nothing that runs here may block.
///
/// Order of a stop: servers and clients first, then this. What they posted has then run.
class io_thread {
public:
  io_thread();
  /// Stops.
  ~io_thread();
  io_thread(const io_thread&) = delete;
  io_thread& operator=(const io_thread&) = delete;

  /// Starts the thread; once.
  void start();

  /// Takes no more functions, runs those already posted, lets socket operations end by themselves for at most
  /// `drain_limit_ms`, gives the others up, and joins. Not to be called on the thread itself. A second call does
  /// nothing.
  void stop();

  /// Has `f` run on the thread, in the order of the calls. From any thread. False once `stop` was called: `f` will not
  /// run.
  bool post(std::function<void()> f);

  /// Runs `f` on the thread and waits for it; at once where that is this thread, or where the thread does not run (not
  /// yet, or no more). From any thread.
  void run_and_wait(const std::function<void()>& f);

  /// The loop itself, for the sources of this library only (`http/io_core.hpp`). It outlives the thread while anything
  /// holds it.
  const std::shared_ptr<io_core>& core() const noexcept { return core_; }

  static constexpr int drain_limit_ms = 2000;

private:
  std::shared_ptr<io_core> core_;
};

} // namespace townkeeper::http
