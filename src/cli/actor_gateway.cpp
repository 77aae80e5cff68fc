#include "cli/actor_gateway.hpp"

#include <caf/send.hpp>

#include <utility>

#include "cli/ask.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper::cli {

void actor_gateway::open(caf::actor_system& system, supervisor_actor supervisor, town_link_actor town) {
  const std::lock_guard lock(mutex_);
  actors_ = actors{&system, std::move(supervisor), std::move(town)};
}

void actor_gateway::close() {
  const std::lock_guard lock(mutex_);
  actors_.reset();
}

/// Under the lock, so that nothing is spawned any more once `close` has returned.
template <class Answer, class Pick, class Message>
void actor_gateway::put(Pick pick, std::chrono::seconds limit, Message message, answered<Answer> done) {
  {
    const std::lock_guard lock(mutex_);
    if (actors_) return ask<Answer>(*actors_->system, pick(*actors_), limit, std::move(message), std::move(done));
  }
  done(result<Answer>(boost::system::in_place_error,
                      error{error_code::unavailable, "townkeeper", "the daemon is not up yet, or about to end"}));
}

void actor_gateway::start(town::start_request wanted, answered<start_answer> done) {
  put<start_answer>([](auto& a) { return a.supervisor; }, start_limit, start_agent{std::move(wanted)}, std::move(done));
}

void actor_gateway::stop(std::string agent_id, answered<stop_answer> done) {
  put<stop_answer>([](auto& a) { return a.supervisor; }, other_limit, stop_agent{std::move(agent_id)}, std::move(done));
}

void actor_gateway::status(std::string agent_id, answered<agent_status_answer> done) {
  put<agent_status_answer>([](auto& a) { return a.supervisor; }, other_limit, agent_status_query{std::move(agent_id)},
                           std::move(done));
}

void actor_gateway::snapshot(snapshot_query query, answered<snapshot_answer> done) {
  put<snapshot_answer>([](auto& a) { return a.supervisor; }, snapshot_limit, std::move(query), std::move(done));
}

bool actor_gateway::drain(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (actors_) caf::anon_send(actors_->supervisor, shutdown{std::move(reason)});
  return actors_.has_value();
}

void actor_gateway::credentials(git_credentials_query query, answered<git_credentials_answer> done) {
  put<git_credentials_answer>([](auto& a) { return a.supervisor; }, credentials_limit, std::move(query),
                              std::move(done));
}

void actor_gateway::call_town(agent_call call, answered<agent_call_answer> done) {
  put<agent_call_answer>([](auto& a) { return a.town; }, town_limit, std::move(call), std::move(done));
}

bool actor_gateway::take_token(const secret& token) {
  const std::lock_guard lock(mutex_);
  if (actors_) caf::anon_send(actors_->town, container_token{token});
  return actors_.has_value();
}

} // namespace townkeeper::cli
