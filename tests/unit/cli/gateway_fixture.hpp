#pragma once

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/actor_gateway.hpp"
#include "http/router.hpp"
#include "messages/type_ids.hpp"

/// Routes in front of real actors that answer as they are told to.
namespace townkeeper::test {

/// What the fake supervisor and town link were asked, and answer.
struct fake_answers {
  std::mutex mutex; ///< of all below
  std::vector<start_agent> starts;
  std::vector<agent_call> calls;
  std::vector<git_credentials_query> queries;
  std::vector<secret> tokens;
  std::vector<std::optional<std::string>> snapshots; ///< the agent each was asked of
  snapshot_answer saved;
  std::vector<std::string> shutdowns;
  std::vector<std::optional<git::credentials>> logins; ///< one after another, the last one again and again
  std::string git_url = "https://git.example/repo.git";

  git_credentials_answer next_login(const git_credentials_query& query) {
    const std::lock_guard lock(mutex);
    queries.push_back(query);
    if (logins.empty()) return {std::optional<git::credentials>{}, std::nullopt, git_url};
    auto login = logins.front();
    if (logins.size() > 1) logins.erase(logins.begin());
    return {login, std::nullopt, git_url};
  }
};

inline supervisor_actor::behavior_type fake_supervisor(supervisor_actor::pointer,
                                                       const std::shared_ptr<fake_answers>& told) {
  return {
      [](const desired_state_changed&) {},
      [](const worktree_settled&) {},
      [](const worktree_retired&) {},
      [](const agent_idle&) {},
      [](const keep_disk&) { return keep_disk_answer{error{}}; },
      [](const process_gone&) {},
      [told](const start_agent& wanted) {
        const std::lock_guard lock(told->mutex);
        told->starts.push_back(wanted);
        agent_status running;
        running.agent_id = wanted.request.agent_id;
        running.status = "running";
        return start_answer{201, running, std::nullopt, 0};
      },
      [](const stop_agent& wanted) { return stop_answer{wanted.agent_id == "a1"}; },
      [](const agent_status_query&) { return agent_status_answer{}; },
      [told](const git_credentials_query& query) { return told->next_login(query); },
      [told](const snapshot_query& query) {
        const std::lock_guard lock(told->mutex);
        told->snapshots.push_back(query.agent_id);
        return told->saved;
      },
      [](const fenced&) {},
      [](const child_restart_due&) {},
      [](const predecessor_due&) {},
      [told](const shutdown& why) {
        const std::lock_guard lock(told->mutex);
        told->shutdowns.push_back(why.reason);
      },
      [](const shutdown_due&) {},
  };
}

inline town_link_actor::behavior_type fake_town_link(town_link_actor::pointer,
                                                     const std::shared_ptr<fake_answers>& told) {
  return {
      [](const boot_town&) {},
      [](const report_ready&) {},
      [](const report_progress&) {},
      [](const report_completed&) {},
      [](const report_eviction&) {},
      [](const report_point&) { return point_reported{}; },
      [](const report_drained&) { return drained_reported{}; },
      [](const reread_desired_state&) {
        return desired_state_answer{error{error_code::unavailable, "town", "none here"}};
      },
      [told](const agent_call& call) {
        const std::lock_guard lock(told->mutex);
        told->calls.push_back(call);
        return agent_call_answer{200, R"({"success":true,"data":{}})"};
      },
      [](const git_credentials_query&) {
        return git_credentials_answer{std::optional<git::credentials>{}, std::nullopt};
      },
      [told](const container_token& fresh) {
        const std::lock_guard lock(told->mutex);
        told->tokens.push_back(fresh.token);
      },
      [](const town_answered&) {},
      [](const town_retry_due&) {},
      [](const heartbeat_due&) {},
  };
}

class gateway_fixture {
public:
  gateway_fixture() {
    supervisor_ = system_.spawn(fake_supervisor, told);
    town_ = system_.spawn(fake_town_link, told);
    actors->open(system_, supervisor_, town_);
  }
  ~gateway_fixture() {
    actors->close();
    caf::anon_send_exit(supervisor_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(town_, caf::exit_reason::user_shutdown);
  }

  std::shared_ptr<fake_answers> told = std::make_shared<fake_answers>();
  std::shared_ptr<cli::actor_gateway> actors = std::make_shared<cli::actor_gateway>();

private:
  struct two_threads : caf::actor_system_config {
    two_threads() {
      set("scheduler.policy", caf::atom("sharing"));
      set("scheduler.max-threads", 2);
    }
  };
  two_threads config_;
  caf::actor_system system_{config_};
  supervisor_actor supervisor_;
  town_link_actor town_;
};

/// What the routes answer; throws where they do not within 10 s.
inline http::response answer_of(const http::router& routes, http::request r) {
  if (const auto question = r.target.find('?'); r.path.empty()) {
    r.path = r.target.substr(0, question);
    if (question != std::string::npos) r.query = r.target.substr(question + 1);
  }
  const auto answered = std::make_shared<std::promise<http::response>>();
  auto waiting = answered->get_future();
  routes(std::move(r), http::responder([answered](http::response a) { answered->set_value(std::move(a)); }));
  if (waiting.wait_for(std::chrono::seconds(10)) != std::future_status::ready)
    throw std::runtime_error("no answer within 10 s");
  return waiting.get();
}

} // namespace townkeeper::test
