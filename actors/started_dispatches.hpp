#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace townkeeper {

/// The dispatches one agent was started for: each runs at most once, however often the town asks for it. Keeps the
/// newest; the town repeats only its last one.
class started_dispatches {
public:
  bool contains(std::string_view id) const { return std::find(ids_.begin(), ids_.end(), id) != ids_.end(); }

  void add(const std::string& id) {
    if (id.empty() || contains(id)) return;
    ids_.push_back(id);
    if (ids_.size() > most) ids_.pop_front();
  }

private:
  static constexpr std::size_t most = 256;

  std::deque<std::string> ids_;
};

} // namespace townkeeper
