#include "actors/agent.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "actors/agent_environment.hpp"
#include "actors/failure_text.hpp"
#include "config/agent_command.hpp"
#include "core/log.hpp"
#include "messages/type_ids.hpp"
#include "town/codec.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::seconds prime_timeout{20};
constexpr int prime_retry_seconds = 2;

} // namespace

agent_actor::behavior_type agent(agent_actor::stateful_pointer<agent_state> self, agent_config config) {
  keep_exception_text(self);
  return self->state.make_behavior(std::move(config));
}

agent_state::~agent_state() {
  if (process_) {
    process_->abandoned = true;
    if (const int pid = process_->pid) config_.runner->stop(pid, config_.stop_grace);
  }
  // Whoever waits for the start would wait until the request times out: CAF 0.17 knows no broken promise.
  if (promises_.empty()) return;
  status_ = process_ ? "stopping" : "failed";
  start_answer crashed{500, std::nullopt, error{error_code::internal, config_.agent_id, "its actor ended"}, 0};
  if (process_) crashed.agent = status();
  answer(crashed, crashed);
}

agent_actor::behavior_type agent_state::make_behavior(agent_config config) {
  config_ = std::move(config);
  return {
      [this](launch_agent& wanted) { return launch(wanted); },
      [this](const stop_agent& wanted) { return stop(wanted.grace.value_or(config_.stop_grace)); },
      [this](const agent_status_query&) { return agent_status_answer{status()}; },
      [this](process_started& started) { take_start(started); },
      [this](process_exited& ended) { take_end(ended); },
  };
}

// -- starting ---------------------------------------------------------------------------------------------------------

agent_state::start_promise agent_state::launch(launch_agent& wanted) {
  auto promise = self_->make_response_promise<start_answer>();
  if (status_ == "starting") {
    // Nobody knows yet how it goes: both hear the same.
    promises_.push_back(promise);
    return promise;
  }
  const auto dispatch_id = wanted.request.dispatch_id.value_or("");
  const bool lives = status_ == "running" || status_ == "stopping";
  if (lives || started_before(dispatch_id)) {
    auto shown = status();
    if (!lives) {
      shown.status = "exited";
      shown.dispatch_id = dispatch_id;
    }
    promise.deliver(start_answer{200, std::move(shown), std::nullopt, 0});
    return promise;
  }
  if (config_.command.empty()) {
    promise.deliver(
        start_answer{500, std::nullopt,
                     error{error_code::invalid_config, "agents.command",
                           "is not set: it is not known what an agent's process is; set it in the configuration"},
                     0});
    return promise;
  }
  launch_ = std::move(wanted);
  promises_.push_back(promise);
  status_ = "starting";
  stop_wanted_ = false;
  pid_.reset();
  exit_code_.reset();
  signal_.reset();
  exit_reason_.clear();
  ++generation_;
  tell_health();
  const auto generation = generation_;
  self_->request(config_.town, prime_timeout, agent_call{config_.rig_id, config_.agent_id, "GET", "prime", ""})
      .then(
          [this, generation](const agent_call_answer& said) {
            if (generation != generation_ || promises_.empty()) return;
            if (said.status == 200) return run(town::envelope_data(said.body));
            refuse(503,
                   error{error_code::unavailable, config_.agent_id,
                         "the town did not give the agent's context (status " + std::to_string(said.status) + ")"},
                   prime_retry_seconds);
          },
          [this, generation](const caf::error& e) {
            if (generation != generation_ || promises_.empty()) return;
            refuse(503,
                   error{error_code::unavailable, config_.agent_id,
                         "the town did not give the agent's context: " + self_->system().render(e)},
                   prime_retry_seconds);
          });
  return promise;
}

bool agent_state::started_before(const std::string& dispatch_id) const {
  return !dispatch_id.empty() && config_.started.contains(dispatch_id);
}

void agent_state::run(const std::string& prime) {
  const auto slot = std::make_shared<process_slot>();
  // Called by the runner's thread, perhaps long after this actor.
  const auto tell_supervisor = [to = config_.supervisor, agent_id = config_.agent_id] {
    if (const auto supervisor = caf::actor_cast<supervisor_actor>(to))
      caf::anon_send(supervisor, process_gone{agent_id});
  };
  const auto generation = generation_;
  const auto address = caf::actor_cast<caf::actor_addr>(self_);
  config_.runner->start(
      make_launch(prime),
      [=, runner = config_.runner, grace = config_.stop_grace](result<int> pid) {
        if (pid) {
          slot->pid = *pid;
          if (slot->abandoned) runner->stop(*pid, grace);
        } else {
          tell_supervisor();
        }
        if (const auto to = caf::actor_cast<agent_actor>(address))
          caf::anon_send(to, process_started{generation, std::move(pid)});
      },
      [=](process_end end) {
        tell_supervisor();
        if (const auto to = caf::actor_cast<agent_actor>(address))
          caf::anon_send(to, process_exited{generation, end.exit_code, end.signal, std::move(end.last_activity_at)});
      });
  process_ = slot;
}

process_launch agent_state::make_launch(const std::string& prime) const {
  const auto& request = launch_->request;
  const auto file = [this](const char* file_name) { return config_.state_directory / file_name; };
  const auto prime_file = file("prime.json"), prompt_file = file("prompt.md"),
             system_prompt_file = file("system_prompt.md");
  process_launch launch;
  launch.agent_id = config_.agent_id;
  launch.rig_id = config_.rig_id;
  launch.directory = launch_->worktree;
  launch.log = file("output.log");
  launch.files = {
      {prime_file, prime}, {prompt_file, request.prompt}, {system_prompt_file, request.system_prompt.value_or("")}};
  launch.environment =
      agent_environment({config_.town_id, config_.socket, config_.command_directory, config_.executable, prime_file,
                         prompt_file, system_prompt_file, launch_->worktree, config_.passed_environment},
                        request, launch_->spec);
  launch.argv = config::expand_agent_command(config_.command, {{"agentId", config_.agent_id},
                                                               {"rigId", config_.rig_id},
                                                               {"townId", config_.town_id},
                                                               {"dispatchId", request.dispatch_id.value_or("")},
                                                               {"name", request.name},
                                                               {"role", request.role},
                                                               {"identity", request.identity},
                                                               {"model", request.model},
                                                               {"branch", launch_->spec.branch},
                                                               {"worktree", launch_->worktree},
                                                               {"prompt", request.prompt},
                                                               {"promptFile", prompt_file.string()},
                                                               {"systemPromptFile", system_prompt_file.string()},
                                                               {"primeFile", prime_file.string()}});
  return launch;
}

void agent_state::take_start(process_started& started) {
  if (started.generation != generation_ || promises_.empty()) return;
  if (!started.pid) {
    process_.reset();
    status_ = "failed";
    exit_reason_ = to_string(started.pid.error());
    log::failure("agent could not be started", {{"agent", config_.agent_id}, {"error", exit_reason_}});
    refuse(500, started.pid.error());
    return;
  }
  pid_ = *started.pid;
  status_ = stop_wanted_ ? "stopping" : "running";
  started_at_ = config_.wall_clock();
  config_.started.add(launch_->request.dispatch_id.value_or(""));
  log::info("agent started", {{"agent", config_.agent_id},
                              {"pid", std::to_string(*pid_)},
                              {"dispatch", launch_->request.dispatch_id.value_or("")}});
  tell_health();
  answer(start_answer{201, status(), std::nullopt, 0}, start_answer{200, status(), std::nullopt, 0});
  if (stop_wanted_) config_.runner->stop(*pid_, config_.stop_grace);
}

void agent_state::answer(start_answer first, start_answer others) {
  for (std::size_t i = 0; i < promises_.size(); ++i)
    promises_[i].deliver(i == 0 ? first : others);
  promises_.clear();
}

void agent_state::refuse(int http_status, error why, int retry_after_seconds) {
  if (status_ == "starting") status_ = "idle";
  tell_idle();
  const start_answer refusal{http_status, std::nullopt, std::move(why), retry_after_seconds};
  answer(refusal, refusal);
  tell_health();
}

// -- ending -----------------------------------------------------------------------------------------------------------

stop_answer agent_state::stop(std::chrono::milliseconds grace) {
  if (status_ == "starting" && !process_) {
    ++generation_; // the town's word on its context comes too late
    refuse(503, error{error_code::cancelled, config_.agent_id, "it was stopped before it was started"},
           prime_retry_seconds);
  } else if (status_ == "starting") {
    stop_wanted_ = true;
  } else if (pid_) {
    status_ = "stopping";
    config_.runner->stop(*pid_, grace);
    tell_health();
  }
  return {true};
}

void agent_state::take_end(process_exited& ended) {
  if (ended.generation != generation_) return;
  process_.reset();
  pid_.reset();
  status_ = "exited";
  exit_code_ = ended.exit_code;
  signal_ = ended.signal;
  last_activity_at_ = ended.last_activity_at;
  const bool well = ended.exit_code == 0;
  exit_reason_ = ended.signal ? "ended by signal " + std::to_string(*ended.signal)
                              : "exited with code " + std::to_string(ended.exit_code.value_or(-1));
  log::info("agent ended", {{"agent", config_.agent_id}, {"reason", exit_reason_}});
  tell_health();
  town::completed_request body;
  body.status = well ? "completed" : "failed";
  if (!well) body.reason = exit_reason_;
  body.dispatch_id = launch_->request.dispatch_id;
  body.exit_code = ended.exit_code;
  body.signal = ended.signal;
  self_->send(config_.town, report_completed{config_.rig_id, config_.agent_id, std::move(body)});
  tell_idle();
}

// -- telling ----------------------------------------------------------------------------------------------------------

agent_status agent_state::status() const {
  agent_status s;
  s.agent_id = config_.agent_id;
  s.rig_id = config_.rig_id;
  s.status = status_;
  s.pid = pid_;
  s.started_at = started_at_;
  s.last_activity_at = pid_ ? config_.runner->last_activity_at(*pid_) : last_activity_at_;
  s.exit_reason = exit_reason_;
  s.exit_code = exit_code_;
  s.signal = signal_;
  if (launch_) s.dispatch_id = launch_->request.dispatch_id.value_or("");
  return s;
}

void agent_state::tell_idle() {
  if (const auto supervisor = caf::actor_cast<supervisor_actor>(config_.supervisor))
    self_->send(supervisor, agent_idle{config_.agent_id});
}

void agent_state::tell_health() {
  process_changed p;
  p.process.agent_id = config_.agent_id;
  p.process.rig_id = config_.rig_id;
  p.process.status = status_;
  p.process.pid = pid_;
  p.process.started_at = started_at_;
  p.last_activity_at = pid_ ? config_.runner->last_activity_at(*pid_) : last_activity_at_;
  self_->send(config_.health, std::move(p));
}

} // namespace townkeeper
