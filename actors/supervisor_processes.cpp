#include "actors/supervisor.hpp"

#include <caf/sec.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <utility>

#include "actors/listing.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::seconds reread_timeout{10};
constexpr std::chrono::minutes launch_timeout{2};
constexpr std::chrono::seconds helper_timeout{90};
constexpr int not_restored_retry_seconds = 2;
constexpr int draining_retry_seconds = 10;

start_answer not_yet(const std::string& agent_id, std::string why, int retry_after_seconds) {
  return {503, std::nullopt, error{error_code::unavailable, agent_id, std::move(why)}, retry_after_seconds};
}

bool is_alive(const std::optional<agent_status>& agent) {
  return agent && (agent->status == "starting" || agent->status == "running" || agent->status == "stopping");
}

} // namespace

// -- agent processes --------------------------------------------------------------------------------------------------

supervisor_state::start_promise supervisor_state::start(start_agent& wanted) {
  auto promise = self_->make_response_promise<start_answer>();
  const auto& agent_id = wanted.request.agent_id;
  const auto& rig_id = wanted.request.rig_id;
  if (draining_ || fenced_) {
    promise.deliver(
        not_yet(agent_id, fenced_ ? "this container is fenced" : "this container drains", draining_retry_seconds));
    return promise;
  }
  auto* child = find(agent_id);
  if (child != nullptr && child->rig_id == rig_id) {
    launch(wanted, *child, promise);
    return promise;
  }
  // Perhaps the town knows more than we have heard.
  self_->request(config_.town, reread_timeout, reread_desired_state{})
      .then(
          [promise, agent_id, rig_id](const desired_state_answer& answer) mutable {
            if (!answer.desired)
              promise.deliver(not_yet(agent_id,
                                      "the desired state could not be read: " + to_string(answer.desired.error()),
                                      not_restored_retry_seconds));
            else if (lists(*answer.desired, rig_id, agent_id))
              promise.deliver(not_yet(agent_id, "the agent is being restored", not_restored_retry_seconds));
            else
              promise.deliver(start_answer{
                  404, std::nullopt,
                  error{error_code::not_found, agent_id, "no such agent in rig " + rig_id + " of this town"}, 0});
          },
          [this, promise, agent_id](const caf::error& e) mutable {
            promise.deliver(
                not_yet(agent_id, "the town did not answer: " + self_->system().render(e), not_restored_retry_seconds));
          });
  return promise;
}

void supervisor_state::launch(start_agent& wanted, agent_child& child, start_promise promise) {
  const auto agent_id = wanted.request.agent_id;
  if (child.retiring || !child.report || !town::is_restored(child.report->outcome)) {
    promise.deliver(not_yet(agent_id,
                            child.report && child.report->failure
                                ? "its worktree is not restored: " + to_string(*child.report->failure)
                                : "its worktree is still being restored",
                            not_restored_retry_seconds));
    return;
  }
  if (!child.process && child.lives) {
    promise.deliver(not_yet(agent_id, "its last process has not ended yet", not_restored_retry_seconds));
    return;
  }
  if (!child.process) spawn_process(agent_id, child);
  const auto dispatch_id = wanted.request.dispatch_id.value_or("");
  ++child.launches; // nothing may touch the worktree meanwhile
  launch_agent order{std::move(wanted.request), child.spec, child.report->worktree.value_or("")};
  self_->request(child.process, launch_timeout, std::move(order))
      .then(
          [this, promise, agent_id](start_answer& answer) mutable {
            take_launched(agent_id, answer);
            promise.deliver(std::move(answer));
          },
          [this, promise, agent_id, dispatch_id](const caf::error& e) mutable {
            start_answer failed{
                500, std::nullopt,
                error{error_code::internal, agent_id, "the start did not end: " + self_->system().render(e)}, 0};
            if (e == caf::sec::request_timeout) {
              // It may come to life yet; the agent actor says when it has ended, or came to nothing.
              failed.agent.emplace();
              failed.agent->status = "starting";
              failed.agent->dispatch_id = dispatch_id;
            }
            take_launched(agent_id, failed);
            promise.deliver(failed);
          });
}

void supervisor_state::take_launched(const std::string& agent_id, const start_answer& answer) {
  auto* child = find(agent_id);
  if (child == nullptr || child->launches == 0) return;
  --child->launches;
  if (answer.agent) dispatched_[agent_id].add(answer.agent->dispatch_id);
  if (is_alive(answer.agent)) {
    child->lives = true;
    child->dispatch_id = answer.agent->dispatch_id;
    return;
  }
  after_process(agent_id, *child);
}

supervisor_state::stop_promise supervisor_state::stop(const stop_agent& wanted) {
  auto promise = self_->make_response_promise<stop_answer>();
  auto* child = find(wanted.agent_id);
  if (child == nullptr || !child->process) {
    promise.deliver(stop_answer{child != nullptr});
    return promise;
  }
  self_->request(child->process, launch_timeout, wanted)
      .then([promise](stop_answer answer) mutable { promise.deliver(answer); },
            [promise](const caf::error&) mutable { promise.deliver(stop_answer{true}); });
  return promise;
}

supervisor_state::status_promise supervisor_state::show(const agent_status_query& query) {
  auto promise = self_->make_response_promise<agent_status_answer>();
  auto* child = find(query.agent_id);
  agent_status idle;
  idle.agent_id = query.agent_id;
  idle.status = "idle";
  if (child != nullptr) idle.rig_id = child->rig_id;
  if (child != nullptr && child->lives) idle.status = "stopping"; // its actor crashed
  if (child == nullptr || !child->process) {
    promise.deliver(child == nullptr ? agent_status_answer{} : agent_status_answer{idle});
    return promise;
  }
  self_->request(child->process, launch_timeout, query)
      .then([promise](agent_status_answer& answer) mutable { promise.deliver(std::move(answer)); },
            [promise, idle](const caf::error&) mutable { promise.deliver(agent_status_answer{idle}); });
  return promise;
}

supervisor_state::credentials_promise supervisor_state::answer_credentials(const git_credentials_query& query) {
  auto promise = self_->make_response_promise<git_credentials_answer>();
  const auto rig = rigs_.find(query.rig_id);
  if (rig == rigs_.end()) {
    promise.deliver(
        git_credentials_answer{error{error_code::not_found, query.rig_id, "no such rig here"}, std::nullopt});
    return promise;
  }
  if (!rig->second.handle) {
    // Its actor crashed and is not there again yet; what is to be saved does not wait for it.
    self_->request(config_.town, helper_timeout, query)
        .then(
            [promise, url = rig->second.spec.git_url,
             fallback = config_.rig.fallback](git_credentials_answer& answer) mutable {
              if (answer.login && !*answer.login) answer.login = fallback;
              answer.git_url = url;
              promise.deliver(std::move(answer));
            },
            [this, promise, query](const caf::error& e) mutable {
              promise.deliver(git_credentials_answer{
                  error{error_code::timed_out, query.rig_id, self_->system().render(e)}, std::nullopt});
            });
    return promise;
  }
  self_->request(rig->second.handle, helper_timeout, query)
      .then([promise](git_credentials_answer& answer) mutable { promise.deliver(std::move(answer)); },
            [this, promise, query](const caf::error& e) mutable {
              promise.deliver(git_credentials_answer{
                  error{error_code::timed_out, query.rig_id, self_->system().render(e)}, std::nullopt});
            });
  return promise;
}

void supervisor_state::take_settled(const worktree_settled& settled) {
  auto* child = find(settled.agent_id);
  // What an earlier branch or remote came to says nothing about the one that is wanted now.
  if (child == nullptr || child->retiring || settled.report.branch != child->spec.branch ||
      settled.git_url != child->git_url)
    return;
  child->report = settled.report;
  if (!town::is_restored(settled.report.outcome)) return;
  const auto rig = rigs_.find(child->rig_id);
  if (rig == rigs_.end()) return;
  if (rig->second.handle) self_->send(rig->second.handle, forget_point{settled.agent_id});
  rig->second.repository = settled.repository;
  tell_saver(rig->second);
  protect order;
  order.repository = settled.repository;
  order.worktree = settled.report.worktree.value_or("");
  order.applied = settled.applied;
  order.supersede = settled.report.recovery && !settled.report.recovery->applied;
  // The town cannot say that the container before this one ended with all of it saved: it, or one before it, may live.
  order.claim = child->spec.maybe_lost_seconds.has_value();
  child->protection = std::move(order);
  protect_worktree(settled.agent_id, *child);
}

void supervisor_state::take_idle(const agent_idle& idle) {
  auto* child = find(idle.agent_id);
  if (child == nullptr) return;
  child->gone = false;
  child->lives = false;
  after_process(idle.agent_id, *child);
}

void supervisor_state::take_gone(const process_gone& gone) {
  auto* child = find(gone.agent_id);
  if (child == nullptr) return;
  child->gone = true;
  if (!child->process) bury(gone.agent_id, *child);
}

/// Neither the process nor the actor that watched it is there any more.
void supervisor_state::bury(const std::string& agent_id, agent_child& child) {
  tell_process(agent_id, child, "failed");
  if (std::exchange(child.lives, false)) {
    town::completed_request body;
    body.status = "failed";
    body.reason = "the actor that watched the process crashed: " + child.crash.value_or("");
    if (!child.dispatch_id.empty()) body.dispatch_id = child.dispatch_id;
    self_->send(config_.town, report_completed{child.rig_id, agent_id, std::move(body)});
  }
  child.gone = false;
  child.crash.reset();
  after_process(agent_id, child);
}

/// Perhaps nothing of the agent runs any more: then what waited for that is done. `child` may not live any longer than
/// this call.
void supervisor_state::after_process(const std::string& agent_id, agent_child& child) {
  if (child.busy()) return;
  if (draining_) {
    if (all_idle()) save_difference();
    return;
  }
  if (fenced_) {
    if (all_idle()) save_all([] {});
    return;
  }
  if (child.retiring) return retire_worktree_of(agent_id, child);
  if (std::exchange(child.held, false)) converge();
}

void supervisor_state::tell_process(const std::string& agent_id, const agent_child& child, const char* status) {
  process_changed p;
  p.process.agent_id = agent_id;
  p.process.rig_id = child.rig_id;
  p.process.status = status;
  self_->send(config_.health, std::move(p));
}

} // namespace townkeeper
