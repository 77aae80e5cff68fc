#include <caf/actor_cast.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <utility>

#include "actors/town_link.hpp"
#include "core/log.hpp"
#include "core/secret.hpp"
#include "messages/type_ids.hpp"
#include "town/codec.hpp"
#include "town/decode.hpp"

/// The town link's second half: each call it makes, and what it takes from the answer. How a call is made is in
/// town_link.cpp.
namespace townkeeper {
namespace {

constexpr std::chrono::seconds health_timeout{5};

error wrong_epoch(const std::string& route, std::int64_t said, std::int64_t ours) {
  return {error_code::corrupt, route,
          "the desired state is of epoch " + std::to_string(said) + ", this container has " + std::to_string(ours)};
}

/// Nobody waits for the answer.
result<void> said(const result<town::answer_data>&, const town_answered&) {
  return {};
}

} // namespace

// -- the desired state ------------------------------------------------------------------------------------------------

void town_link_state::boot(const boot_town& to) {
  supervisor_ = to.supervisor;
  health_ = to.health;
  tell_phase(town::town_phase::booting);
  town::boot_request request;
  request.instance_id = config_.instance_id;
  request.version = config_.version;
  request.started_at = config_.started_at;
  request.warm_disk = config_.warm_disk;
  if (!config_.control_url.empty()) request.control_url = config_.control_url;
  say(town::calls::boot(request, config_.control_token), patience::unconditional,
      [this](const result<town::answer_data>& data, const town_answered&) { return take_boot(data); });
  self_->delayed_send(self_, config_.heartbeat_interval, heartbeat_due{});
}

result<void> town_link_state::take_boot(const result<town::answer_data>& data) {
  if (!data) return {};
  auto answer = town::decode_boot_answer(*data);
  if (!answer) return answer.error();
  if (answer->desired.epoch != answer->epoch)
    return wrong_epoch("container-boot", answer->desired.epoch, answer->epoch);
  epoch_ = answer->epoch;
  log::info("booted",
            {{"epoch", std::to_string(epoch_)}, {"desired_version", std::to_string(answer->desired.version)}});
  tell_phase(town::town_phase::reading_state);
  pass_on(std::move(answer->desired));
  return {};
}

void town_link_state::read_desired_state() {
  reading_id_ = say(town::calls::desired_state(), patience::unconditional,
                    [this](const result<town::answer_data>& data, const town_answered&) { return take_desired(data); });
}

result<void> town_link_state::take_desired(const result<town::answer_data>& data) {
  if (!data) {
    reading_id_ = 0;
    answer_rereaders(data.error());
    return {};
  }
  auto desired = town::decode_desired_state(*data);
  if (!desired) return desired.error();
  if (desired->epoch < epoch_) return wrong_epoch("desired-state", desired->epoch, epoch_);
  reading_id_ = 0;
  if (desired->epoch > epoch_) {
    answer_rereaders(fenced_error("desired-state"));
    fence();
    return {};
  }
  for (auto& asker : std::exchange(rereaders_, {}))
    asker.deliver(desired_state_answer{*desired});
  if (desired->version > version_) pass_on(std::move(*desired));
  rereaders_ = std::exchange(next_rereaders_, {});
  // A version that was named while this was read: one more look, whatever comes of it.
  if (!rereaders_.empty() || std::exchange(heard_of_version_, -1) > version_) read_desired_state();
  return {};
}

void town_link_state::pass_on(town::desired_state desired) {
  version_ = desired.version;
  if (const auto supervisor = caf::actor_cast<supervisor_actor>(supervisor_))
    self_->send(supervisor, desired_state_changed{std::move(desired)});
}

town_link_state::desired_promise town_link_state::reread() {
  auto promise = self_->make_response_promise<desired_state_answer>();
  if (epoch_ == 0 || fenced_) {
    const auto why = fenced_ ? fenced_error("desired-state") : not_booted("desired-state");
    promise.deliver(desired_state_answer{why});
  } else if (reading_id_ != 0) {
    next_rereaders_.push_back(promise);
  } else {
    rereaders_.push_back(promise);
    read_desired_state();
  }
  return promise;
}

/// Whoever asked hears that the town could not be; the reading itself goes on.
void town_link_state::answer_rereaders(const error& why) {
  for (auto* askers : {&rereaders_, &next_rereaders_})
    for (auto& asker : std::exchange(*askers, {}))
      asker.deliver(desired_state_answer{why});
}

void town_link_state::newer_version(std::int64_t version) {
  if (fenced_ || version <= version_) return;
  heard_of_version_ = version;
  if (reading_id_ == 0) read_desired_state();
}

// -- what is said -----------------------------------------------------------------------------------------------------

void town_link_state::ready(report_ready& r) {
  last_ready_ = std::move(r.report);
  last_ready_->number = ++last_ready_number_;
  ready_unsaid_ = true;
  say_ready();
}

/// One at a time. A report that comes while another waits for its next attempt is said in its place (`send`).
void town_link_state::say_ready() {
  if (ready_id_ != 0 || !ready_unsaid_ || epoch_ == 0 || fenced_) return;
  ready_id_ = say(ready_call(), patience::forever,
                  [this](const result<town::answer_data>& data, const town_answered&) { return take_ready(data); });
  conversations_.at(ready_id_).renew = [this] { return ready_call(); };
}

/// The newest report, with the nonce that takes back an eviction of this container, unless it was our own.
town::call town_link_state::ready_call() {
  ready_unsaid_ = false;
  said_nonce_ = evicted_ ? std::nullopt : drain_nonce_;
  auto report = *last_ready_;
  report.nonce = said_nonce_;
  return town::calls::ready(report);
}

result<void> town_link_state::take_ready(const result<town::answer_data>& data) {
  if (!data) {
    ready_id_ = 0;
    if (data.error().code != error_code::fenced) in_the_way("container-ready", data.error());
    say_ready();
    return {};
  }
  const auto answer = town::decode_ready_answer(*data);
  if (!answer) return answer.error();
  ready_id_ = 0;
  if (answer->cleared)
    drain_nonce_.reset();
  else if (!evicted_)
    not_cleared();
  newer_version(answer->desired_version);
  say_ready();
  return {};
}

/// The town takes this container for evicted. The report is said again with the nonce that a heartbeat's answer brings;
/// one that did not help is replaced by the next heartbeat, not in a loop.
void town_link_state::not_cleared() {
  if (said_nonce_)
    drain_nonce_.reset();
  else if (drain_nonce_)
    ready_unsaid_ = true;
  else
    heartbeat();
}

void town_link_state::progress(report_progress& p) {
  if (progress_under_way_ || epoch_ == 0 || fenced_) return;
  progress_under_way_ = true;
  say(town::calls::restore_progress(std::move(p.document)), patience::once,
      [this](const result<town::answer_data>&, const town_answered&) -> result<void> {
        progress_under_way_ = false;
        return {};
      });
}

void town_link_state::heartbeat_tick() {
  self_->delayed_send(self_, config_.heartbeat_interval, heartbeat_due{});
  release_waiting(true);
  heartbeat();
}

void town_link_state::heartbeat() {
  if (heartbeat_under_way_ || epoch_ == 0 || fenced_) return;
  const auto health = caf::actor_cast<health_actor>(health_);
  if (!health) return;
  heartbeat_under_way_ = true;
  self_->request(health, health_timeout, heartbeat_query{})
      .then([this](heartbeat_facts& facts) { say_heartbeat(facts); },
            [this](const caf::error& e) {
              heartbeat_under_way_ = false;
              log::failure("health did not say what a heartbeat holds", {{"error", self_->system().render(e)}});
            });
}

void town_link_state::say_heartbeat(heartbeat_facts& facts) {
  // What it says is old when the next is due.
  say(
      town::calls::heartbeat({config_.instance_id, std::move(facts.agents)}), patience::limited,
      [this](const result<town::answer_data>& data, const town_answered&) { return take_heartbeat(data); },
      config_.heartbeat_interval / 2);
}

result<void> town_link_state::take_heartbeat(const result<town::answer_data>& data) {
  if (!data) {
    heartbeat_under_way_ = false;
    if (data.error().code != error_code::fenced) in_the_way("container-heartbeat", data.error());
    return {};
  }
  auto answer = town::decode_heartbeat_answer(*data);
  if (!answer) return answer.error();
  heartbeat_under_way_ = false;
  drain_nonce_ = std::move(answer->drain_nonce);
  if (drain_nonce_ && !evicted_ && last_ready_) {
    ready_unsaid_ = true;
    say_ready();
  }
  newer_version(answer->desired_version);
  return {};
}

void town_link_state::completed(const report_completed& c) {
  say(town::calls::completed(c.rig_id, c.agent_id, c.body), patience::forever, said);
}

void town_link_state::eviction(const report_eviction& e) {
  if (std::exchange(evicted_, true) || epoch_ == 0) return;
  say(town::calls::eviction(config_.instance_id, e.reason), patience::forever, said);
}

town_link_state::call_promise town_link_state::call(agent_call& c) {
  auto promise = self_->make_response_promise<agent_call_answer>();
  auto what = town::calls::of_agent(c.rig_id, c.agent_id, c.method, c.route, std::move(c.body));
  if (!what) {
    const error why{error_code::not_found, c.route, "no call that an agent makes"};
    promise.deliver(agent_call_answer{404, town::refusal_body(why)});
  } else if (epoch_ == 0) {
    promise.deliver(agent_call_answer{503, town::refusal_body(not_booted(c.agent_id))});
  } else {
    say(
        std::move(*what), patience::limited,
        [promise](const result<town::answer_data>& data, const town_answered& answer) mutable -> result<void> {
          const bool final_word = data || (answer.status != 0 && !town::is_worth_repeating(data.error().code));
          if (final_word)
            // What a failure says may repeat what we said, the container's token with it: not for an agent.
            promise.deliver(agent_call_answer{answer.status, data ? answer.body : redact(answer.body)});
          else
            promise.deliver(agent_call_answer{data.error().code == error_code::fenced ? 409 : 503,
                                              town::refusal_body(data.error())});
          return {};
        },
        config_.agent_call_limit);
  }
  return promise;
}

town_link_state::credentials_promise town_link_state::credentials(const git_credentials_query& q) {
  auto promise = self_->make_response_promise<git_credentials_answer>();
  say(
      town::calls::refresh_git_token(q.rig_id), patience::limited,
      [this, promise](const result<town::answer_data>& data, const town_answered&) mutable -> result<void> {
        if (!data && data.error().code == error_code::not_found) {
          promise.deliver(git_credentials_answer{std::optional<git::credentials>{}, std::nullopt});
        } else if (!data) {
          promise.deliver(git_credentials_answer{data.error(), std::nullopt});
        } else {
          auto given = town::decode_git_token(*data);
          if (!given) return given.error();
          std::optional<std::int64_t> expires_in_ms;
          if (given->expires_at)
            expires_in_ms =
                std::chrono::duration_cast<std::chrono::milliseconds>(*given->expires_at - config_.wall_clock())
                    .count();
          promise.deliver(git_credentials_answer{
              std::optional<git::credentials>{git::credentials{std::move(given->username), std::move(given->token)}},
              expires_in_ms});
        }
        return {};
      },
      config_.credentials_limit);
  return promise;
}

} // namespace townkeeper
