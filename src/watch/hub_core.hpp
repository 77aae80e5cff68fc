#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "git/descriptor.hpp"
#include "watch/watched_place.hpp"
#include "watch/watcher.hpp"

namespace townkeeper::watch {

/// The thread behind `watch_hub`, and what is said to it.
class watch_hub::core {
public:
  static result<std::shared_ptr<core>> create(watch_hub_options options);
  core(const core&) = delete;
  core& operator=(const core&) = delete;

  /// From any thread.
  void add(std::shared_ptr<subscription> who);
  void remove(std::shared_ptr<subscription> who);
  watch_statistics statistics() const;

  /// Once each.
  void run_thread();
  void shut_down();

private:
  using clock = subscription::clock;
  using place_key = std::pair<place_kind, std::string>;

  explicit core(watch_hub_options options);

  void post(std::function<void()> command);
  void loop();
  void wait();
  int timeout_ms(clock::time_point now) const;
  void run_commands();
  void read_events();
  void take_event(const inotify_event_view& event);
  void work();
  void say_what_is_due();
  void join(const std::shared_ptr<subscription>& who);
  void leave(const std::shared_ptr<subscription>& who);
  watched_place& place_of(place_kind kind, const std::filesystem::path& root);
  void look_for_started(const std::shared_ptr<subscription>& who);
  void publish_statistics();

  const watch_hub_options options_;
  git::descriptor wake_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_; ///< of what both sides touch
  std::vector<std::function<void()>> commands_;
  watch_statistics statistics_;

  // Of the thread alone.
  watch_table table_;
  std::map<place_key, std::unique_ptr<watched_place>> places_;
  std::vector<std::shared_ptr<subscription>> subscriptions_;
  clock::time_point read_at_{}; ///< events are left to gather until then
  std::uint64_t events_ = 0, overflows_ = 0;
};

/// Where the three trees of one worktree lie.
std::vector<std::pair<place_kind, std::filesystem::path>> places_of(const watch_request& request);

} // namespace townkeeper::watch
