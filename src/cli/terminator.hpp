#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace townkeeper::cli {

/// Ends the process by force with `code` if the object still lives after `limit`: whatever hangs in the libraries, an
/// exit happens. Agents then die with the process (PR_SET_PDEATHSIG).
class terminator {
public:
  terminator(std::chrono::milliseconds limit, int code);
  ~terminator();
  terminator(const terminator&) = delete;
  terminator& operator=(const terminator&) = delete;

private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;
};

} // namespace townkeeper::cli
