#include "actors/supervisor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/log.hpp"
#include "messages/type_ids.hpp"

namespace townkeeper {
namespace {

constexpr int unsaved_exit_code = 75;
constexpr std::chrono::seconds answer_margin{2}; ///< of a child that answers by its deadline whatever happens
constexpr std::chrono::seconds agents_margin{5}; ///< for a killed process group to be gone

} // namespace

// -- saving everything ------------------------------------------------------------------------------------------------

/// These agents' keepers at the same time, each with its own deadline; `next` runs when the last has answered. An agent
/// that has none is answered for.
void supervisor_state::ask_keepers(const std::vector<std::string>& agent_ids, const char* kind,
                                   const std::function<void(save_answer)>& each, std::function<void()> next) {
  const auto awaited = std::make_shared<std::size_t>(1);
  const auto one_answered = [awaited, next = std::move(next)] {
    if (--*awaited == 0) next();
  };
  for (const auto& agent_id : agent_ids) {
    const auto& child = agents_.at(agent_id);
    const auto ask = [&](const auto& who, const char* what) {
      ++*awaited;
      self_->request(who, config_.save_deadline + answer_margin, save_now{kind, config_.save_deadline})
          .then(
              [each, one_answered](save_answer& answer) {
                each(std::move(answer));
                one_answered();
              },
              [this, agent_id, what, each, one_answered](const caf::error& e) {
                each({agent_id, error{error_code::timed_out, agent_id,
                                      std::string{what} + " did not answer: " + self_->system().render(e)}});
                one_answered();
              });
    };
    if (child.keeper) {
      ask(child.keeper, "its keeper");
    } else if (draining_ && !child.protection && child.worktree) {
      ask(child.worktree, "its worktree's actor");
    } else {
      each({agent_id, child.protection ? error{error_code::internal, agent_id, "its keeper crashed"}
                                       : error{error_code::unavailable, agent_id,
                                               "its worktree is not restored: there is nothing to save yet"}});
    }
  }
  one_answered();
}

/// Also what a warm disk holds that could not be restored.
void supervisor_state::save_all(std::function<void()> next) {
  std::vector<std::string> asked;
  for (const auto& [agent_id, child] : agents_)
    if (child.protection || (draining_ && config_.protect && !child.retiring && child.worktree))
      asked.push_back(agent_id);
  ask_keepers(
      asked, "drain", [this](save_answer answer) { take_saved(std::move(answer)); }, std::move(next));
}

void supervisor_state::take_saved(save_answer answer) {
  auto* child = find(answer.agent_id);
  // An unrestored worktree that holds nothing is not worth a word; a keeper that comes meanwhile answers later.
  if (child != nullptr && !child->protection && answer.point && !*answer.point) return child->last_save.reset();
  if (!answer.point)
    log::failure("work of an agent is not saved",
                 {{"agent", answer.agent_id}, {"error", to_string(answer.point.error())}});
  if (child != nullptr) child->last_save = std::move(answer);
}

supervisor_state::snapshot_promise supervisor_state::save_for(const snapshot_query& query) {
  auto promise = self_->make_response_promise<snapshot_answer>();
  const auto answer = std::make_shared<snapshot_answer>();
  std::vector<std::string> asked;
  for (const auto& [agent_id, child] : agents_)
    if (!query.agent_id || *query.agent_id == agent_id) asked.push_back(agent_id);
  if (query.agent_id && asked.empty()) {
    answer->unknown_agent = true;
    answer->failures.push_back({error_code::not_found, *query.agent_id, "no such agent here"});
  }
  ask_keepers(
      asked, "manual",
      [answer](const save_answer& saved) {
        if (!saved.point)
          answer->failures.push_back(saved.point.error());
        else if (*saved.point)
          answer->points.push_back(**saved.point);
      },
      [answer, promise]() mutable { promise.deliver(std::move(*answer)); });
  return promise;
}

// -- fenced -----------------------------------------------------------------------------------------------------------

/// What was done here goes to refs of this epoch, which the newer container does not touch; the town lists it.
void supervisor_state::fence() {
  if (fenced_) return;
  fenced_ = true;
  *config_.exit_code = unsaved_exit_code;
  log::failure("a newer container has this town: agents are stopped and saved, nothing else is written any more");
  if (draining_) return; // it finishes its drain
  self_->send(config_.health, phase_changed{town::town_phase::fenced, 0});
  stop_all_processes(std::nullopt);
  if (all_idle()) save_all([] {});
}

// -- draining ---------------------------------------------------------------------------------------------------------

/// First everything is saved, then the agents are told; what they do until they have ended is saved after.
void supervisor_state::shut_down(const shutdown& why) {
  if (draining_) return hurry();
  draining_ = true;
  log::info("stopping", {{"reason", why.reason}});
  self_->send(config_.health, phase_changed{town::town_phase::draining, 0});
  if (!fenced_) self_->send(config_.town, report_eviction{why.reason});
  save_all([this] { end_agents(); });
}

/// A further signal shortens the waiting for the agents, never the saving.
void supervisor_state::hurry() {
  ++hurried_;
  if (step_ == drain_step::agents) stop_all_processes(drain_grace());
}

std::optional<std::chrono::milliseconds> supervisor_state::drain_grace() const {
  if (hurried_ == 0) return config_.drain_limit;
  return hurried_ == 1 ? std::nullopt : std::optional{std::chrono::milliseconds{0}};
}

void supervisor_state::end_agents() {
  step_ = drain_step::agents;
  if (all_idle()) return save_difference();
  stop_all_processes(drain_grace());
  self_->delayed_send(self_, config_.drain_limit + agents_margin, shutdown_due{});
}

/// Also when some process does not end: its work is saved as it stands.
void supervisor_state::save_difference() {
  if (step_ != drain_step::agents) return;
  step_ = drain_step::last_save;
  save_all([this] { tell_drained(); });
}

void supervisor_state::tell_drained() {
  step_ = drain_step::telling;
  town::drained_request body;
  for (const auto& [agent_id, child] : agents_) {
    if (!child.last_save) continue;
    town::drained_agent one;
    one.agent_id = agent_id;
    const auto& point = child.last_save->point;
    one.saved = point.has_value();
    if (!point) {
      one.failure = point.error();
      *config_.exit_code = unsaved_exit_code;
      log::failure("stopped with unsaved work",
                   {{"rig", child.rig_id}, {"agent", agent_id}, {"error", to_string(point.error())}});
    } else if (*point) {
      one.ref = (*point)->ref;
      one.commit = (*point)->commit;
    }
    body.agents.push_back(std::move(one));
  }
  if (desired_.epoch == 0) return finish_shutdown(); // never booted: the town knows nothing of this container
  const report_drained words{std::move(body)};
  self_->request(config_.town, words.limit + answer_margin, words)
      .then(
          [this](const drained_reported& said) {
            if (!said.recorded)
              log::warn("the town did not take the last word", {{"error", to_string(said.recorded.error())}});
            finish_shutdown();
          },
          [this](const caf::error&) { finish_shutdown(); });
}

void supervisor_state::finish_shutdown() {
  self_->send(config_.health, phase_changed{town::town_phase::drained, 0});
  self_->quit(caf::exit_reason::user_shutdown);
}

// -- processes --------------------------------------------------------------------------------------------------------

void supervisor_state::stop_all_processes(std::optional<std::chrono::milliseconds> grace) {
  for (const auto& [agent_id, child] : agents_)
    if (child.busy() && child.process) caf::anon_send(child.process, stop_agent{agent_id, grace});
}

bool supervisor_state::all_idle() const {
  return std::none_of(agents_.begin(), agents_.end(), [](const auto& a) { return a.second.busy(); });
}

} // namespace townkeeper
