#include "fake_town.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <algorithm>
#include <stdexcept>

#include "messages/type_ids.hpp"

namespace townkeeper::simulation {
namespace {

struct town_state {
  static inline const char* name = "fake_town_link";
  std::shared_ptr<fake_town> town;
};

using town_pointer = town_link_actor::stateful_pointer<town_state>;

template <class Answer, class Script, class... Question>
caf::typed_response_promise<Answer> answered(town_pointer self, const Script& script, Answer otherwise,
                                             const Question&... question) {
  auto promise = self->template make_response_promise<Answer>();
  auto answer = script ? script(question...) : std::optional<Answer>{std::move(otherwise)};
  if (answer) promise.deliver(std::move(*answer));
  return promise;
}

town_link_actor::behavior_type link(town_pointer self, std::shared_ptr<fake_town> town) {
  self->state.town = town;
  return {
      [=](const boot_town& to) {
        town->booted = true;
        town->supervisor = to.supervisor;
      },
      [=](report_ready& r) {
        town->ready.push_back({self->clock().now(), std::move(r.report)});
        if (town->on_ready) town->on_ready(town->last_ready());
      },
      [=](report_progress& p) { town->progress.push_back(std::move(p.document)); },
      [=](report_completed& c) { town->completed.push_back(std::move(c)); },
      [=](report_eviction& e) { town->evictions.push_back(std::move(e.reason)); },
      [=](report_point& r) {
        town->points.push_back(r);
        return answered(self, town->on_point, point_reported{}, r);
      },
      [=](report_drained& d) {
        town->drained.push_back(d.body);
        return answered(self, town->on_drained, drained_reported{}, d);
      },
      [=](const reread_desired_state&) {
        ++town->rereads;
        return answered(self, town->on_reread,
                        desired_state_answer{error{error_code::unavailable, "desired-state", "the town is down"}});
      },
      [=](const agent_call& call) {
        town->calls.push_back(call);
        return answered(self, town->on_call, agent_call_answer{200, R"({"success":true,"data":{}})"}, call);
      },
      [=](const git_credentials_query& query) {
        town->credentials_queries.push_back(query);
        return answered(self, town->on_credentials,
                        git_credentials_answer{std::optional<git::credentials>{}, std::nullopt}, query);
      },
      [](const container_token&) {},
      [](const town_answered&) {},
      [](const town_retry_due&) {},
      [](const heartbeat_due&) {},
  };
}

} // namespace

const town::agent_report& fake_town::last_of(const std::string& agent_id) const {
  const auto& agents = last_ready().agents;
  const auto it = std::find_if(agents.begin(), agents.end(), [&](const auto& a) { return a.agent_id == agent_id; });
  if (it == agents.end()) throw std::logic_error("the last ready report does not name agent " + agent_id);
  return *it;
}

const town::rig_report& fake_town::last_of_rig(const std::string& rig_id) const {
  const auto& rigs = last_ready().rigs;
  const auto it = std::find_if(rigs.begin(), rigs.end(), [&](const auto& r) { return r.rig_id == rig_id; });
  if (it == rigs.end()) throw std::logic_error("the last ready report does not name rig " + rig_id);
  return *it;
}

town_link_actor spawn_fake_town(caf::actor_system& system, std::shared_ptr<fake_town> town) {
  return system.spawn(link, std::move(town));
}

} // namespace townkeeper::simulation
