#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>

#include "actors/town_link.hpp"
#include "messages/type_ids.hpp"

/// The town link's third part: what it says of saved work. A town that answers 409 has listed a late point in `kept`:
/// that counts as recorded. (CONTRACT: "Fencing".)
namespace townkeeper {
namespace {

std::pair<std::int64_t, std::int64_t> order_of(const town::recovery_point& point) {
  return {point.epoch, point.seq};
}

result<void> recorded(const result<town::answer_data>& data, const town_answered& answer) {
  constexpr int conflict = 409;
  if (data || (data.error().code == error_code::fenced && answer.status == conflict)) return {};
  return data.error();
}

} // namespace

// -- points -----------------------------------------------------------------------------------------------------------

/// One agent at a time is told of, and only its newest point: the town keeps the greatest (epoch, seq) anyway.
town_link_state::point_promise town_link_state::point(report_point& r) {
  auto promise = self_->make_response_promise<point_reported>();
  if (epoch_ == 0) {
    promise.deliver(point_reported{not_booted(r.agent_id)});
  } else if (r.kept) {
    say_kept(std::move(r), promise);
  } else {
    auto& points = points_[r.agent_id];
    points.askers.push_back({order_of(r.point), promise});
    if (points.id == 0 || order_of(r.point) > order_of(points.newest)) {
      points.rig_id = std::move(r.rig_id);
      points.newest = std::move(r.point);
    }
    if (points.id == 0) say_point(r.agent_id);
  }
  return promise;
}

void town_link_state::say_point(const std::string& agent_id) {
  const auto call = [this, agent_id] {
    auto& points = points_.at(agent_id);
    points.said = points.newest;
    return town::calls::recovery_point(points.rig_id, agent_id, points.said);
  };
  const auto id = say(call(), patience::forever,
                      [this, agent_id](const result<town::answer_data>& data, const town_answered& answer) {
                        return take_point(agent_id, data, answer);
                      });
  conversations_.at(id).renew = call;
  points_.at(agent_id).id = id;
  mark_saved_work(id);
}

/// Whoever waits for the point that was said, or for an older one, has the answer; a newer one is said next.
result<void> town_link_state::take_point(const std::string& agent_id, const result<town::answer_data>& data,
                                         const town_answered& answer) {
  auto& points = points_.at(agent_id);
  const auto outcome = recorded(data, answer);
  const bool only_kept = !data && data.error().code == error_code::fenced;
  const auto end_of_answered =
      std::stable_partition(points.askers.begin(), points.askers.end(),
                            [&](const auto& asker) { return asker.order <= order_of(points.said); });
  std::for_each(points.askers.begin(), end_of_answered, [&](auto& asker) {
    asker.promise.deliver(point_reported{outcome, only_kept});
  });
  points.askers.erase(points.askers.begin(), end_of_answered);
  if (!points.askers.empty()) {
    say_point(agent_id);
  } else {
    points_.erase(agent_id);
    points_settled();
  }
  return {};
}

/// Each kept point is told of by itself: none takes another's place. A fenced container has one way left to have it
/// listed: as a late point.
void town_link_state::say_kept(report_point r, point_promise promise) {
  auto call = fenced_ ? town::calls::recovery_point(r.rig_id, r.agent_id, r.point)
                      : town::calls::kept(r.rig_id, r.agent_id, r.point);
  const bool late = fenced_;
  mark_saved_work(say(std::move(call), patience::forever,
                      [this, r, promise, late](const result<town::answer_data>& data,
                                               const town_answered& answer) mutable -> result<void> {
                        if (!late && !data && data.error().code == error_code::fenced) {
                          say_kept(std::move(r), promise);
                        } else {
                          promise.deliver(point_reported{recorded(data, answer), true});
                          points_settled();
                        }
                        return {};
                      }));
}

// -- the last word ----------------------------------------------------------------------------------------------------

/// Answered when nothing of what was saved is unsaid any more, at the latest when its limit is over.
town_link_state::drained_promise town_link_state::drained(const report_drained& d) {
  auto promise = self_->make_response_promise<drained_reported>();
  if (epoch_ == 0) {
    promise.deliver(drained_reported{not_booted("container-drained")});
    return promise;
  }
  drain_ends_ = self_->clock().now() + d.limit;
  for (auto& [id, c] : conversations_)
    if (c.saved_work) limit_to_drain(id, c);
  auto body = d.body;
  body.instance_id = config_.instance_id;
  say(
      town::calls::drained(body), patience::limited,
      [this, promise](const result<town::answer_data>& data, const town_answered&) -> result<void> {
        last_words_.emplace_back(promise, data ? result<void>{} : result<void>{data.error()});
        points_settled();
        return {};
      },
      d.limit);
  return promise;
}

void town_link_state::mark_saved_work(std::uint64_t id) {
  auto& c = conversations_.at(id);
  c.saved_work = true;
  if (drain_ends_) limit_to_drain(id, c);
}

void town_link_state::limit_to_drain(std::uint64_t id, conversation& c) {
  c.how_long = patience::limited;
  c.deadline = *drain_ends_;
  self_->delayed_send(self_, std::max(c.deadline - self_->clock().now(), caf::timespan{0}), town_retry_due{id});
}

void town_link_state::points_settled() {
  if (std::any_of(conversations_.begin(), conversations_.end(), [](const auto& c) { return c.second.saved_work; }))
    return;
  for (auto& [promise, outcome] : std::exchange(last_words_, {}))
    promise.deliver(drained_reported{outcome});
}

} // namespace townkeeper
