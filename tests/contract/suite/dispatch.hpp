#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "session.hpp"
#include "tests/support/control_stub.hpp"

/// What tests of the alarm share: a town with a stub of a container to call.
namespace townkeeper::contract {

/// The clock of tests in which backoff passes: a start call has 500 ms, the backoff begins at 100 ms, a stalled agent
/// waits 3 s.
inline constexpr int retry_scale = 20;

/// For tests to which a call that took too long is as good as one that failed.
inline constexpr int impatient_scale = 60;

/// So long the town waits before the next try, in real time. Timers may be late and never early.
std::chrono::milliseconds in_real_time(std::chrono::seconds town_time, int scale = retry_scale);

/// A town with rig `rig` and these agents, all pending, each with priority 0.
session town_of(const test::town& host, const std::vector<std::string>& agents);

/// The body of the stub's request of this number, from 0.
json start_call(const test::control_stub& container, std::size_t index);

/// The agents that were called so far, in the order of the calls.
std::vector<std::string> called(const test::control_stub& container);

/// The pauses between the calls.
std::vector<std::chrono::milliseconds> pauses(const test::control_stub& container);

test::stub_answer status(int code, const std::string& body = "{}");

/// Holds the stub's answers back until it is opened; declare it after the stub, so that it opens before the stub ends.
class gate {
public:
  ~gate() { open(); }
  void open();
  /// Answers with `answer` once the gate is open.
  test::control_stub::answerer then(test::stub_answer answer) const;

private:
  std::promise<void> opening_;
  std::shared_future<void> opened_{opening_.get_future()};
  bool is_open_ = false;
};

} // namespace townkeeper::contract
