#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "town/health_document.hpp"

namespace townkeeper {

/// One picture of the town, never changed after it was published.
struct health_snapshot {
  std::shared_ptr<const std::string> document; ///< the JSON of `/health`
  town::town_phase phase = town::town_phase::booting;
  bool converged = false; ///< everything expected has settled at least once
  bool all_restored = false;
  std::int64_t epoch = 0;
};

/// Where the health actor puts its picture and HTTP finds it, without asking anybody. Thread-safe.
class published_health {
public:
  std::shared_ptr<const health_snapshot> read() const { return current_.load(); }
  void publish(std::shared_ptr<const health_snapshot> next) { current_.store(std::move(next)); }

private:
  std::atomic<std::shared_ptr<const health_snapshot>> current_{std::make_shared<const health_snapshot>()};
};

} // namespace townkeeper
