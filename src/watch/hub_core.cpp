#include "watch/hub_core.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <optional>
#include <utility>

namespace townkeeper::watch {
namespace {

/// While a worktree is being written, the thread wakes this often and not for each write.
constexpr std::chrono::milliseconds gathering{5};
/// Between two looks at the kernel's queue, which holds 16,384 events by default.
constexpr std::size_t scans_at_once = 64, buffers_at_once = 16;

} // namespace

std::vector<std::pair<place_kind, std::filesystem::path>> places_of(const watch_request& request) {
  return {{place_kind::worktree, request.worktree},
          {place_kind::admin, request.repository / "worktrees" / request.agent_id},
          {place_kind::repository, request.repository}};
}

watch_hub::core::core(watch_hub_options options)
    : options_(std::move(options))
    , wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
    , table_(options_.max_watches) {}

result<std::shared_ptr<watch_hub::core>> watch_hub::core::create(watch_hub_options options) {
  std::shared_ptr<core> out(new core(std::move(options)));
  if (!out->wake_)
    return error{error_code::unavailable, "watcher",
                 "no descriptors for its thread; raise the limit of open files (ulimit -n)"};
  return out;
}

// -- from any thread --------------------------------------------------------------------------------------------------

void watch_hub::core::add(std::shared_ptr<subscription> who) {
  post([this, who = std::move(who)] { join(who); });
}

void watch_hub::core::remove(std::shared_ptr<subscription> who) {
  post([this, who = std::move(who)] { leave(who); });
}

void watch_hub::core::post(std::function<void()> command) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    commands_.push_back(std::move(command));
  }
  ::eventfd_write(wake_.get(), 1);
}

watch_statistics watch_hub::core::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void watch_hub::core::run_thread() {
  // No signal of the daemon's is handled on this thread.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void watch_hub::core::shut_down() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
  commands_.clear();
  places_.clear();
  subscriptions_.clear();
}

// -- the thread -------------------------------------------------------------------------------------------------------

void watch_hub::core::loop() {
  while (!stopping_) {
    wait();
    run_commands();
    read_events();
    work();
    publish_statistics(); // before what follows from it is said
    say_what_is_due();
  }
}

void watch_hub::core::wait() {
  // One moment for both: gathering that is over for the one and not for the other would wait for nothing, forever.
  const auto now = options_.now();
  const bool gathers = now < read_at_;
  std::array<pollfd, 2> from{
      {{wake_.get(), POLLIN, 0}, {gathers ? -1 : table_.kernel.fd(), POLLIN, 0}}}; // poll skips a negative number
  ::poll(from.data(), from.size(), timeout_ms(now));
  eventfd_t ignored = 0;
  ::eventfd_read(wake_.get(), &ignored);
}

/// Until something is to be done without an event; minus one: nothing is.
int watch_hub::core::timeout_ms(clock::time_point now) const {
  std::optional<clock::time_point> next;
  const auto at = [&next](clock::time_point when) { next = next ? std::min(*next, when) : when; };
  if (now < read_at_) at(read_at_);
  for (const auto& [key, place] : places_) {
    if (place->tree().has_work()) return 0;
    if (const auto due = place->rules_due()) at(*due);
  }
  for (const auto& each : subscriptions_)
    if (each->pending()) at(each->due(options_.interval));
  if (!next) return -1;
  if (*next <= now) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*next - now).count());
}

void watch_hub::core::run_commands() {
  std::vector<std::function<void()>> taken;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(commands_);
  }
  for (const auto& each : taken)
    each();
}

void watch_hub::core::read_events() {
  const auto now = options_.now();
  if (now < read_at_) return;
  std::size_t got = 0;
  for (std::size_t buffers = 0; buffers < buffers_at_once; ++buffers) {
    const auto count = table_.kernel.read([this](const inotify_event_view& event) { take_event(event); });
    got += count;
    if (count == 0) break;
  }
  if (got > 0) read_at_ = now + gathering;
  events_ += got;
}

void watch_hub::core::take_event(const inotify_event_view& event) {
  if ((event.mask & IN_Q_OVERFLOW) != 0) {
    ++overflows_;
    for (const auto& [key, place] : places_)
      place->start_over();
    return;
  }
  // What is not known is of a watch that was given up meanwhile.
  if (const auto found = table_.directories.find(event.wd); found != table_.directories.end())
    found->second->tree->take(*found->second, event);
}

void watch_hub::core::work() {
  const auto now = options_.now();
  for (const auto& [key, place] : places_) {
    place->apply_rules(now);
    if (place->tree().has_work()) place->tree().scan_some(scans_at_once);
  }
}

void watch_hub::core::say_what_is_due() {
  const auto now = options_.now();
  for (const auto& each : subscriptions_)
    if (each->pending() && each->due(options_.interval) <= now) each->say(now);
}

void watch_hub::core::publish_statistics() {
  const std::lock_guard lock(mutex_);
  statistics_ = {table_.kernel.watches(), events_, overflows_, table_.unreadable};
}

// -- who is watched ---------------------------------------------------------------------------------------------------

watched_place& watch_hub::core::place_of(place_kind kind, const std::filesystem::path& root) {
  auto& place = places_[{kind, root.string()}];
  if (!place) {
    place = std::make_unique<watched_place>(table_, kind, root);
    place->on_standing = [this] {
      for (const auto& each : subscriptions_)
        look_for_started(each);
    };
    place->on_rules_of = [this](const std::shared_ptr<subscription>& who, bool exclude) {
      auto& worktree = *places_.at({place_kind::worktree, who->request.worktree.string()});
      if (exclude)
        worktree.rules_changed(options_.now());
      else
        worktree.index_changed(options_.now());
    };
  }
  return *place;
}

void watch_hub::core::join(const std::shared_ptr<subscription>& who) {
  if (who->closed()) return;
  subscriptions_.push_back(who);
  for (const auto& [kind, root] : places_of(who->request))
    place_of(kind, root).join(who);
  look_for_started(who);
}

void watch_hub::core::leave(const std::shared_ptr<subscription>& who) {
  if (std::erase(subscriptions_, who) == 0) return;
  for (const auto& [kind, root] : places_of(who->request)) {
    const auto found = places_.find({kind, root.string()});
    if (found != places_.end() && found->second->leave(who)) places_.erase(found);
  }
}

void watch_hub::core::look_for_started(const std::shared_ptr<subscription>& who) {
  if (who->started()) return;
  for (const auto& [kind, root] : places_of(who->request)) {
    const auto found = places_.find({kind, root.string()});
    if (found == places_.end() || !found->second->stands()) return;
  }
  who->note_started();
}

} // namespace townkeeper::watch
