#pragma once

#include <functional>
#include <memory>

#include "http/message.hpp"

namespace townkeeper::http {

/// The right to answer one request: copyable, to be called from any thread, now or later. The first call counts,
/// further ones are ignored. When the last copy goes without a call, the client gets 500 and the log says so. A client
/// that has gone meanwhile is nobody's error.
class responder {
public:
  /// `sink` gets the one answer, on the thread of whoever gives it (or drops the last copy).
  explicit responder(std::function<void(response)> sink);

  void operator()(response answer) const;

private:
  struct state;
  std::shared_ptr<state> state_;
};

/// Called on the I/O thread with each complete request: must not block; whatever takes time keeps the responder and
/// answers later.
using handler = std::function<void(request, responder)>;

} // namespace townkeeper::http
