#include "actors/town_link.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>

#include "actors/failure_text.hpp"
#include "actors/retry_policy.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"
#include "town/decode.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::hours longest_retry_after{1}; // whatever the town asks for

/// True where a newer container's town would be changed. A late point is listed there, and the last word of the
/// container before is noted: both are the town's to judge. (CONTRACT: "Fencing".)
bool is_write(const town::call& what) {
  return what.method != "GET" && !what.route.starts_with("refresh-") && what.route != "recovery-point" &&
         what.route != "container-drained";
}

error no_token(const std::string& route) {
  return {error_code::unauthorized, route,
          "no container token: set GASTOWN_CONTAINER_TOKEN, or POST one to /refresh-token"};
}

bool is_refused_token(error_code code) {
  return code == error_code::unauthorized || code == error_code::token_expired;
}

} // namespace

town_link_actor::behavior_type town_link(town_link_actor::stateful_pointer<town_link_state> self,
                                         town_link_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

town_link_actor::behavior_type town_link_state::make_behavior(town_link_config config) {
  config_ = std::move(config);
  random_.seed(config_.seed);
  token_ = config_.container_token;
  return {
      [this](const boot_town& to) { boot(to); },
      [this](report_ready& r) { ready(r); },
      [this](report_progress& p) { progress(p); },
      [this](const report_completed& c) { completed(c); },
      [this](const report_eviction& e) { eviction(e); },
      [this](report_point& r) { return point(r); },
      [this](const report_drained& d) { return drained(d); },
      [this](const reread_desired_state&) { return reread(); },
      [this](agent_call& c) { return call(c); },
      [this](const git_credentials_query& q) { return credentials(q); },
      [this](container_token& t) { take_token(std::move(t.token), false); },
      [this](town_answered& answer) { take(answer); },
      [this](const town_retry_due& due) { retry_due(due.id); },
      [this](const heartbeat_due&) { heartbeat_tick(); },
  };
}

// -- how anything is said ---------------------------------------------------------------------------------------------

/// The id of the conversation. `limit`: with `patience::limited` only.
std::uint64_t town_link_state::say(town::call what, patience how_long, done_handler done,
                                   std::chrono::milliseconds limit) {
  const auto id = ++last_id_;
  auto& c = conversations_[id];
  c.what = std::move(what);
  c.done = std::move(done);
  c.how_long = how_long;
  if (how_long == patience::limited) {
    c.deadline = self_->clock().now() + limit;
    self_->delayed_send(self_, limit, town_retry_due{id});
  }
  send(id);
  return id;
}

void town_link_state::send(std::uint64_t id) {
  auto& c = conversations_.at(id);
  if (fenced_ && is_write(c.what)) return end(id, fenced_error(c.what.route), {});
  if (token_.empty()) {
    if (c.how_long == patience::once) return end(id, no_token(c.what.route), {});
    c.waits_for_token = true;
    return in_the_way(c.what.route, no_token(c.what.route));
  }
  if (c.renew) c.what = c.renew();
  c.waits_for_token = false;
  c.under_way = true;
  c.token_generation = token_generation_;
  const auto address = caf::actor_cast<caf::actor_addr>(self_);
  config_.transport({c.what, token_, epoch_}, [address, id](town_answered answer) {
    answer.id = id;
    if (const auto to = caf::actor_cast<town_link_actor>(address)) caf::anon_send(to, std::move(answer));
  });
}

void town_link_state::take(town_answered& answer) {
  const auto it = conversations_.find(answer.id);
  if (it == conversations_.end() || !it->second.under_way) {
    // Given up meanwhile. That a newer container has this town stands all the same.
    if (const auto late = town::classify("", answer.status, answer.body, {});
        !late.data && late.data.error().code == error_code::fenced)
      fence();
    return;
  }
  it->second.under_way = false;
  const auto& route = it->second.what.route;
  auto read = answer.status == 0 ? town::town_answer{answer.failure.value_or(error{error_code::unavailable, route,
                                                                                   "no answer, for no stated reason"}),
                                                     std::nullopt}
                                 : town::classify(route, answer.status, answer.body, {});
  if (config_.count) config_.count(read.data ? "ok" : to_string(read.data.error().code));
  if (read.data) return take_success(answer.id, *read.data, answer);
  auto why = read.data.error();
  why.message = redact(std::move(why.message));
  take_refusal(answer.id, why, answer);
}

void town_link_state::take_success(std::uint64_t id, const town::answer_data& data, const town_answered& answer) {
  auto node = conversations_.extract(id);
  if (const auto taken = node.mapped().done(data, answer); !taken) {
    conversations_.insert(std::move(node));
    return retry(id, std::nullopt, taken.error(), answer);
  }
  out_of_the_way(node.mapped().what.route);
}

void town_link_state::take_refusal(std::uint64_t id, const error& why, const town_answered& answer) {
  if (why.code == error_code::fenced) {
    const auto node = conversations_.extract(id);
    fence();
    static_cast<void>(node.mapped().done(why, answer)); // with the town's own words
    return;
  }
  if (is_refused_token(why.code)) return take_unauthorized(id, why, answer);
  const auto& c = conversations_.at(id);
  const bool is_final = answer.status != 0 && !town::is_worth_repeating(why.code);
  if (!is_final || c.how_long == patience::unconditional) return retry(id, answer.retry_after, why, answer);
  if (c.how_long == patience::forever)
    log::warn("the town refused what was said", {{"route", c.what.route}, {"error", to_string(why)}});
  out_of_the_way(std::string{c.what.route}); // it answers
  end(id, why, answer);
}

void town_link_state::take_unauthorized(std::uint64_t id, const error& why, const town_answered& answer) {
  auto& c = conversations_.at(id);
  if (c.how_long == patience::once || id == refresh_id_) return end(id, why, answer);
  if (c.token_generation != token_generation_) return send(id); // a newer token has come meanwhile
  in_the_way(c.what.route, why);
  c.waits_for_token = true;
  if (c.token_refreshed) return;
  c.token_refreshed = true;
  refresh_token();
}

void town_link_state::retry(std::uint64_t id, std::optional<std::chrono::milliseconds> retry_after, const error& why,
                            const town_answered& answer) {
  auto& c = conversations_.at(id);
  if (c.how_long == patience::once) return end(id, why, answer);
  in_the_way(c.what.route, why);
  if (id == reading_id_) answer_rereaders(why);
  auto pause = full_jitter(config_.retry_first, config_.retry_max, ++c.failures, random_);
  if (retry_after) pause = std::max(pause, std::min<std::chrono::milliseconds>(*retry_after, longest_retry_after));
  c.next_try = self_->clock().now() + pause;
  if (c.how_long == patience::limited && c.next_try >= c.deadline) return end(id, why, answer);
  self_->delayed_send(self_, pause, town_retry_due{id});
}

void town_link_state::retry_due(std::uint64_t id) {
  const auto it = conversations_.find(id);
  if (it == conversations_.end()) return;
  const auto& c = it->second;
  const auto now = self_->clock().now();
  if (c.how_long == patience::limited && now >= c.deadline)
    return end(id, {error_code::timed_out, c.what.route, "the town did not answer in time"}, {});
  if (!c.under_way && !c.waits_for_token && now >= c.next_try) send(id);
}

void town_link_state::end(std::uint64_t id, const error& why, const town_answered& answer) {
  const auto node = conversations_.extract(id);
  // There is nothing to read, so nothing that could not be read.
  static_cast<void>(node.mapped().done(why, answer));
}

// -- the token --------------------------------------------------------------------------------------------------------

void town_link_state::refresh_token() {
  if (refresh_id_ != 0) return;
  refresh_id_ = say(town::calls::refresh_container_token(), patience::forever,
                    [this](const result<town::answer_data>& data, const town_answered&) -> result<void> {
                      if (!data) {
                        refresh_id_ = 0;
                        in_the_way("refresh-container-token", data.error());
                        return {};
                      }
                      auto token = town::decode_container_token(*data);
                      if (!token) return token.error();
                      refresh_id_ = 0;
                      take_token(std::move(*token), true);
                      return {};
                    });
}

void town_link_state::take_token(secret token, bool refreshed) {
  if (token.empty()) return;
  token_ = std::move(token);
  ++token_generation_;
  log::info(refreshed ? "container token refreshed" : "container token given");
  // A token that somebody brings ends every waiting, also that for a next attempt.
  if (!refreshed)
    for (auto& [id, c] : conversations_)
      c.waits_for_token = !c.under_way;
  release_waiting(!refreshed);
}

/// Says again what waits for a token. `new_round`: each may have the token refreshed once more.
void town_link_state::release_waiting(bool new_round) {
  if (token_.empty()) return;
  std::vector<std::uint64_t> waiting;
  for (auto& [id, c] : conversations_) {
    if (!c.waits_for_token) continue;
    if (new_round) c.token_refreshed = false;
    waiting.push_back(id);
  }
  for (const auto id : waiting)
    if (conversations_.contains(id)) send(id);
}

// -- what is in the way -----------------------------------------------------------------------------------------------

error town_link_state::fenced_error(const std::string& route) {
  return {error_code::fenced, route, "a newer container has this town: nothing of this one counts any more"};
}

error town_link_state::not_booted(const std::string& object) {
  return {error_code::unavailable, object, "the town has not answered this container's boot yet"};
}

void town_link_state::fence() {
  if (fenced_) return;
  fenced_ = true;
  std::vector<std::uint64_t> unsaid;
  for (const auto& [id, c] : conversations_)
    if (is_write(c.what) || id == reading_id_) unsaid.push_back(id);
  for (const auto id : unsaid)
    if (const auto it = conversations_.find(id); it != conversations_.end())
      end(id, fenced_error(it->second.what.route), {});
  tell_phase(town::town_phase::fenced);
  if (const auto supervisor = caf::actor_cast<supervisor_actor>(supervisor_)) self_->send(supervisor, fenced{});
}

void town_link_state::in_the_way(const std::string& route, const error& why) {
  troubles_[route] = why;
  tell_trouble();
}

/// An answer on `route`: the town can be reached, and takes our token.
void town_link_state::out_of_the_way(const std::string& route) {
  std::erase_if(troubles_, [&](const auto& t) {
    return t.first == route || is_transient(t.second.code) || is_refused_token(t.second.code);
  });
  tell_trouble();
}

void town_link_state::tell_trouble() {
  std::optional<error> why;
  if (!troubles_.empty()) why = troubles_.begin()->second;
  if (why == told_) return;
  told_ = why;
  if (why)
    log::warn("the conversation with the town is held up", {{"error", to_string(*why)}});
  else
    log::info("the conversation with the town goes on");
  if (const auto health = caf::actor_cast<health_actor>(health_)) self_->send(health, trouble{std::move(why)});
}

void town_link_state::tell_phase(town::town_phase phase) {
  if (const auto health = caf::actor_cast<health_actor>(health_)) self_->send(health, phase_changed{phase, epoch_});
}

} // namespace townkeeper
