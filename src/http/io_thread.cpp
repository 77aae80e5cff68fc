#include "http/io_thread.hpp"

#include <boost/asio/post.hpp>

#include <atomic>
#include <chrono>
#include <future>

#include "core/log.hpp"
#include "http/io_core.hpp"

namespace townkeeper::http {
namespace {

/// `step` is the context's `run` or `poll`. A handler that throws is a bug of ours, but one request's: the loop goes on
/// with the others.
template <class Step>
void run_loop(Step step) {
  for (;;) {
    try {
      step();
      return;
    } catch (const std::exception& e) {
      log::failure("exception in the I/O thread", {{"what", e.what()}});
    }
  }
}

} // namespace

bool io_core::post(std::function<void()> f) {
  const std::lock_guard lock(mutex);
  if (now == phase::stopping || now == phase::stopped) return false;
  boost::asio::post(context, std::move(f));
  return true;
}

io_thread::io_thread()
    : core_(std::make_shared<io_core>()) {
  core_->guard.emplace(core_->context.get_executor());
}

io_thread::~io_thread() {
  stop();
}

void io_thread::start() {
  const std::lock_guard lock(core_->mutex);
  if (core_->now != io_core::phase::fresh) return;
  core_->now = io_core::phase::running;
  // A plain pointer: the thread is joined before `core_` is given up.
  core_->thread = std::thread([core = core_.get()] {
    core->thread_id = std::this_thread::get_id();
    run_loop([core] { core->context.run(); });
    const std::lock_guard ended(core->mutex);
    core->loop_ended = true;
    core->changed.notify_all();
  });
}

void io_thread::stop() {
  {
    std::unique_lock lock(core_->mutex);
    if (core_->now == io_core::phase::stopping || core_->now == io_core::phase::stopped) return;
    const bool ran = core_->now == io_core::phase::running;
    core_->now = io_core::phase::stopping;
    core_->guard.reset();
    if (ran)
      core_->changed.wait_for(lock, std::chrono::milliseconds(drain_limit_ms), [this] { return core_->loop_ended; });
  }
  core_->context.stop();
  if (core_->thread.joinable()) core_->thread.join();
  // What was posted and not reached because the limit cut the loop short still runs: someone may wait for it.
  core_->context.restart();
  run_loop([this] { core_->context.poll(); });
  const std::lock_guard lock(core_->mutex);
  core_->now = io_core::phase::stopped;
  core_->changed.notify_all();
}

bool io_thread::post(std::function<void()> f) {
  return core_->post(std::move(f));
}

void io_thread::run_and_wait(const std::function<void()>& f) {
  if (core_->on_thread()) return f();
  {
    std::unique_lock lock(core_->mutex);
    if (core_->now == io_core::phase::running) {
      std::promise<void> done;
      boost::asio::post(core_->context, [&] {
        f();
        done.set_value();
      });
      lock.unlock();
      done.get_future().wait();
      return;
    }
    core_->changed.wait(lock, [this] { return core_->now != io_core::phase::stopping; });
  }
  f();
}

} // namespace townkeeper::http
