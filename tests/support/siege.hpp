#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace townkeeper::test {

struct siege_options {
  int port = 0;                           ///< of 127.0.0.1
  std::size_t silent = 0;                 ///< connections that never send a byte
  std::size_t slow = 0;                   ///< slowloris: a header that grows by a byte each `drip` and has no end
  std::chrono::milliseconds drip{200};    ///< at least 10 ms
  std::size_t opened_per_second = 10'000; ///< at most, those that are opened anew among them; at least 100
};

/// Since the start, but for `open`.
struct siege_counts {
  std::size_t open = 0;     ///< connected now
  std::size_t opened = 0;   ///< connected ever
  std::size_t ended = 0;    ///< closed or reset by the server
  std::size_t answered = 0; ///< of those: told why before (408)
  std::size_t failed = 0;   ///< could not connect
};

/// Clients that hoard the connections of a server: one that is closed is opened anew. One thread of its own for all of
/// them, which sleeps in epoll. Ends, and closes them, when it goes. Every member may be called by any thread.
class siege {
public:
  /// Throws `std::runtime_error` where this process may not have so many descriptors.
  explicit siege(const siege_options& options);
  ~siege();
  siege(const siege&) = delete;
  siege& operator=(const siege&) = delete;

  siege_counts counts() const;
  /// Until as many as there are have connected. False: not within the deadline.
  bool wait_until_laid(std::chrono::milliseconds deadline) const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

struct probe_answer {
  int status = 0; ///< 0: none
  std::string body;
  double took_ms = 0; ///< from before connect(2) to the end of the answer
};

/// One GET on a connection of its own, as a platform's probe does it, with little else than the system calls in its
/// time. Gives up after 10 s.
probe_answer probe(int port, const std::string& path);

} // namespace townkeeper::test
