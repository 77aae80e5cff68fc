#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace townkeeper::test {

struct stub_request {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers; ///< names in lower case
  std::string body;
  std::chrono::steady_clock::time_point at = {}; ///< when it had been read
};

struct stub_answer {
  enum class kind {
    reply,  ///< send status, headers, body
    hang,   ///< keep the connection open and say nothing, until the peer or the stub goes
    hang_up ///< close the connection without a word
  };

  int status = 201;
  std::string body = R"({"success":true,"data":{}})";
  std::map<std::string, std::string> headers = {};
  kind how = kind::reply;
};

/// A control server that does nothing but listen on a free port of 127.0.0.1, note every request and answer as it is
/// told to. Thread-safe. Ends its threads in its destructor.
class control_stub {
public:
  using answerer = std::function<stub_answer(const stub_request&)>;

  control_stub();
  ~control_stub();
  control_stub(const control_stub&) = delete;
  control_stub& operator=(const control_stub&) = delete;

  /// `http://127.0.0.1:<port>`
  const std::string& url() const noexcept { return url_; }

  /// How to answer from now on; called by several threads at once. Default: 201.
  void answer_with(answerer answer);
  void answer_with(stub_answer answer);

  /// All requests so far, in the order they were read.
  std::vector<stub_request> requests() const;

  /// Waits until there are at least `count` requests; false at the deadline.
  bool wait_for(std::size_t count, std::chrono::milliseconds deadline = std::chrono::seconds{10}) const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
  std::string url_;
};

} // namespace townkeeper::test
