#pragma once

#include <caf/event_based_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/town_link.hpp"
#include "fixture.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper::simulation {

/// What the supervisor of a test heard.
struct supervisor_ears {
  std::vector<town::desired_state> desired;
  int fenced = 0;
};

/// What the health actor of a test heard, and what it says in a heartbeat.
struct health_ears {
  std::vector<phase_changed> phases;
  std::optional<error> trouble;
  std::vector<std::optional<error>> troubles;
  heartbeat_facts facts;
};

inline supervisor_actor::behavior_type fake_supervisor(supervisor_actor::pointer, supervisor_ears* ears) {
  return {
      [ears](desired_state_changed& changed) { ears->desired.push_back(std::move(changed.desired)); },
      [](const worktree_settled&) {},
      [](const worktree_retired&) {},
      [](const agent_idle&) {},
      [](const keep_disk&) { return keep_disk_answer{error{}}; },
      [](const process_gone&) {},
      [](const start_agent&) { return start_answer{}; },
      [](const stop_agent&) { return stop_answer{}; },
      [](const agent_status_query&) { return agent_status_answer{}; },
      [](const git_credentials_query&) {
        return git_credentials_answer{error{}, std::nullopt};
      },
      [](const snapshot_query&) { return snapshot_answer{}; },
      [ears](const fenced&) { ++ears->fenced; },
      [](const child_restart_due&) {},
      [](const predecessor_due&) {},
      [](const shutdown&) {},
      [](const shutdown_due&) {},
  };
}

inline health_actor::behavior_type fake_health(health_actor::pointer, health_ears* ears) {
  return {
      [](const expect&) { return true; },
      [](const rig_progress&) {},
      [](const rig_transfer&) {},
      [](const rig_settled&) {},
      [](const worktree_progress&) {},
      [](const agent_settled&) {},
      [](const process_changed&) {},
      [ears](const phase_changed& p) { ears->phases.push_back(p); },
      [ears](const trouble& t) {
        ears->trouble = t.reason;
        ears->troubles.push_back(t.reason);
      },
      [](const protection_changed&) {},
      [](const publish_due&) {},
      [ears](const heartbeat_query&) { return ears->facts; },
  };
}

/// A request that the town link has sent and the test has not answered.
struct open_request {
  town_request request;
  std::function<void(town_answered)> answered;
  caf::actor_clock::time_point at;
};

inline std::string success(const std::string& data) {
  return R"({"success":true,"data":)" + data + "}";
}

inline std::string refusal(const std::string& code) {
  return R"({"success":false,"error":"because","code":")" + code + "\"}";
}

/// A desired state of one rig without agents.
inline std::string desired_json(int version, int epoch = 3) {
  return R"({"version":)" + std::to_string(version) + R"(,"epoch":)" + std::to_string(epoch) +
         R"(,"rigs":[{"rigId":"r1","name":"R","gitUrl":"https://example.org/r.git","defaultBranch":"main","agents":[]}]})";
}

inline std::string boot_json(int version = 1, int epoch = 3) {
  return success(R"({"epoch":)" + std::to_string(epoch) + R"(,"desiredState":)" + desired_json(version, epoch) + "}");
}

inline std::string ready_json(bool cleared = true, int version = 1) {
  return success(std::string(R"({"cleared":)") + (cleared ? "true" : "false") + R"(,"pending":0,"desiredVersion":)" +
                 std::to_string(version) + "}");
}

inline std::string heartbeat_json(int version = 1, const std::string& nonce = {}) {
  return success(R"({"desiredVersion":)" + std::to_string(version) +
                 (nonce.empty() ? "" : R"(,"drainNonce":")" + nonce + "\"") + "}");
}

/// A town link whose every request is answered by hand.
class link_world : public virtual_town {
public:
  link_world() {
    config.instance_id = "i-1";
    config.version = "0.1.0";
    config.started_at = "2026-11-22T12:00:00Z";
    config.control_url = "http://127.0.0.1:8080";
    config.control_token = secret{"the-control-token"};
    config.container_token = secret{"first-container-token"};
    config.seed = 4711;
    config.count = [this](std::string_view result) { counted.emplace_back(result); };
    config.transport = [this](town_request request, std::function<void(town_answered)> answered) {
      log.push_back(request.what.route);
      open.push_back({std::move(request), std::move(answered), now()});
    };
  }

  /// Starts the link and says boot.
  void start() {
    supervisor = keep(system().spawn(fake_supervisor, &heard));
    health = keep(system().spawn(fake_health, &health_heard));
    link = keep(system().spawn(town_link, config));
    self()->send(link,
                 boot_town{caf::actor_cast<caf::actor_addr>(supervisor), caf::actor_cast<caf::actor_addr>(health)});
    run();
  }

  void start_booted(int version = 1) {
    start();
    answer("container-boot", 200, boot_json(version));
    REQUIRE(heard.desired.size() == 1);
  }

  /// How many requests of this route wait for an answer.
  std::size_t open_of(const std::string& route) const {
    return static_cast<std::size_t>(
        std::count_if(open.begin(), open.end(), [&](const auto& r) { return r.request.what.route == route; }));
  }

  std::size_t sent_of(const std::string& route) const {
    return static_cast<std::size_t>(std::count(log.begin(), log.end(), route));
  }

  /// The oldest open request of this route.
  open_request& oldest(const std::string& route) { return *find(route); }

  /// Answers the oldest open request of this route, and lets what follows happen.
  void answer(const std::string& route, int status, std::string body,
              std::optional<std::chrono::milliseconds> retry_after = std::nullopt) {
    reply(route, {0, status, std::move(body), retry_after, std::nullopt});
  }

  void fail(const std::string& route, std::string why = "connection refused") {
    reply(route, {0, 0, {}, std::nullopt, error{error_code::unavailable, route, std::move(why)}});
  }

  /// The answer of an asynchronous request to the link, once it is there.
  template <class Answer, class Message>
  std::shared_ptr<std::optional<Answer>> ask(Message message,
                                             std::chrono::milliseconds timeout = std::chrono::hours(1)) {
    auto got = std::make_shared<std::optional<Answer>>();
    system().spawn([=, to = link](caf::event_based_actor* asker) mutable {
      asker->request(to, timeout, std::move(message))
          .then([got](Answer& a) { *got = std::move(a); }, [](const caf::error&) {});
    });
    run();
    return got;
  }

  town_link_config config;
  town_link_actor link;
  supervisor_actor supervisor;
  health_actor health;
  supervisor_ears heard;
  health_ears health_heard;
  std::deque<open_request> open;
  std::vector<std::string> log; ///< every request's route, in order
  std::vector<std::string> counted;

private:
  std::deque<open_request>::iterator find(const std::string& route) {
    const auto it =
        std::find_if(open.begin(), open.end(), [&](const auto& r) { return r.request.what.route == route; });
    INFO("an open request of " << route);
    REQUIRE(it != open.end());
    return it;
  }

  void reply(const std::string& route, town_answered with) {
    const auto it = find(route);
    const auto answered = std::move(it->answered);
    open.erase(it);
    answered(std::move(with));
    run();
  }
};

} // namespace townkeeper::simulation
