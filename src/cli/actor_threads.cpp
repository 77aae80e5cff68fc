#include "cli/actor_threads.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_registry.hpp>
#include <caf/send.hpp>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "cli/actor_configs.hpp"
#include "cli/exit_code.hpp"
#include "core/log.hpp"
#include "git/ignore_rules.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper::cli {
namespace {

/// Actors mostly wait; what blocks has threads of its own (CAF's `stealing` would poll).
constexpr std::size_t scheduler_threads = 2;
constexpr std::chrono::milliseconds end_poll_interval{2};

} // namespace

actor_threads::actor_threads(const daemon_facts& facts, const actor_surroundings& around, actor_gateway& gateway)
    : gateway_(gateway)
    , ended_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
    , end_(std::make_shared<shared_end>())
    , exit_code_(end_, &end_->code) {
  if (ended_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  config_.set("scheduler.policy", caf::atom("sharing"));
  config_.set("scheduler.max-threads", scheduler_threads);
  system_ = std::make_unique<caf::actor_system>(config_);

  auto for_town = town_link_settings(facts);
  for_town.transport = [town = around.town](town_request r, std::function<void(town_answered)> answered) {
    town->send(std::move(r), std::move(answered));
  };
  for_town.count = [metrics = around.metrics](std::string_view result) { metrics->town_request(result); };
  town_ = system_->spawn(town_link, std::move(for_town));

  auto for_health = health_settings(facts);
  for_health.published = around.published;
  for_health.metrics = around.metrics;
  for_health.town = town_;
  for_health.last_activity_at = around.runner->last_activity_at;
  health_ = system_->spawn(health, std::move(for_health));

  auto for_executor = git_executor_settings(facts.settings);
  for_executor.health = caf::actor_cast<caf::actor_addr>(health_);
  executor_ = system_->spawn(git_executor, std::move(for_executor));

  auto root = supervisor_settings(facts);
  root.health = root.rig.health = root.worktree.health = root.agent.health = root.keeper.health = health_;
  root.town = root.rig.town = root.agent.town = root.saver.town = town_;
  root.executor = root.rig.executor = root.worktree.executor = root.saver.executor = executor_;
  root.saver.metrics = around.metrics;
  root.keeper.watch = watch_factory(facts.settings.protect.include);
  root.agent.runner = around.runner;
  root.agent_known = around.agent_known;
  root.restarted = [metrics = around.metrics](std::string_view kind) { metrics->actor_restarted(kind); };
  root.exit_code = exit_code_;
  supervisor_ = system_->spawn(supervisor, std::move(root));
  gateway_.open(*system_, supervisor_, town_);

  caf::actor_cast<caf::strong_actor_ptr>(supervisor_)
      ->get()
      ->attach_functor([end = end_, descriptor = ended_](const caf::error& reason) {
        end->crashed = reason && reason != caf::exit_reason::user_shutdown;
        ::eventfd_write(descriptor, 1);
      });
}

/// What git ignores is not watched. Empty, so that changes are looked for by polling, where the machine has no watch to
/// give.
watch::watch_factory actor_threads::watch_factory(const std::vector<std::string>& include) {
  auto hub = watch::watch_hub::create();
  if (!hub) {
    log::warn("worktrees are polled, not watched", {{"error", to_string(hub.error())}});
    return {};
  }
  hub_ = std::move(*hub);
  return [hub = hub_.get(), include](watch::watch_request request, watch::watch_callback changed) {
    const auto rules = std::make_shared<git::ignore_rules>(request.worktree, include);
    request.ignored = {[rules](const std::string& directory) { return rules->is_ignored(directory); },
                       [rules] { rules->reload(); }};
    return hub->watch(std::move(request), std::move(changed));
  };
}

actor_threads::~actor_threads() {
  gateway_.close();
  system_.reset();
  ::close(ended_);
}

void actor_threads::shut_down(const std::string& reason) {
  caf::anon_send(supervisor_, shutdown{reason});
}

bool actor_threads::end(std::chrono::milliseconds limit) {
  gateway_.close();
  // In the order of their mailboxes: what the supervisor said last is still heard.
  caf::anon_send_exit(supervisor_, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(town_, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(health_, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(executor_, caf::exit_reason::user_shutdown);
  supervisor_ = nullptr;
  health_ = nullptr;
  town_ = nullptr;
  executor_ = nullptr;
  const auto until = std::chrono::steady_clock::now() + limit;
  while (system_->registry().running() > 0) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(end_poll_interval);
  }
  return true;
}

int actor_threads::exit_code() const {
  if (end_->code != 0) return end_->code;
  return end_->crashed ? bug : done;
}

} // namespace townkeeper::cli
