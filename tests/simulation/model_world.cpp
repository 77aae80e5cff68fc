#include "model_world.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "model_container.hpp"

namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_story_lines = 60;

} // namespace

model_world::model_world(std::uint64_t seed)
    : chance(seed)
    , town(*this) {
  sim.run_in_random_order(seed + 1);
  for (const auto& [rig_id, agents] :
       std::map<std::string, std::vector<std::string>>{{calm_rig, {"c1", "c2"}}, {"r", {"a1", "a2"}}, {"s", {"b1"}}}) {
    auto& remote = remotes[rig_id];
    remote.rig_id = rig_id;
    remote.url = "https://git.example/" + rig_id + ".git";
    remote.clear_since = now();
    for (const auto& agent_id : agents) {
      rig_of_agent[agent_id] = rig_id;
      town.add_agent(rig_id, agent_id);
    }
  }
}

model_world::~model_world() {
  for (auto& c : containers)
    if (c->alive) end_actors(*c);
}

// -- time -------------------------------------------------------------------------------------------------------------

void model_world::later(milliseconds after, std::function<void()> what) {
  agenda_.emplace(now() + after, std::move(what));
}

void model_world::advance(milliseconds d) {
  advance_until([] { return false; }, d);
}

/// What is on the agenda and the actors' own timers, in the order of their time.
bool model_world::advance_until(const std::function<bool()>& done, milliseconds limit) {
  const auto end = now() + limit;
  sim.run();
  for (;;) {
    look();
    if (is_broken()) return false;
    if (done()) return true;
    if (!agenda_.empty() && agenda_.begin()->first <= now()) {
      const auto what = std::move(agenda_.begin()->second);
      agenda_.erase(agenda_.begin());
      what();
      sim.run();
      continue;
    }
    if (now() >= end) return false;
    const auto next = agenda_.empty() ? end : std::min(end, agenda_.begin()->first);
    sim.advance_until(
        [&] {
          look();
          return is_broken() || done() || (!agenda_.empty() && agenda_.begin()->first < next);
        },
        next - now());
  }
}

void model_world::look() {
  for (std::size_t i = 0; i < containers.size(); ++i) {
    auto& c = *containers[i];
    if (!c.alive) continue;
    for (auto& job : c.jobs) {
      if (job.ending || !job.cancel || !*job.cancel) continue;
      job.ending = true; // a worker looks at the flag ten times a second
      later(chance.between(1, 100), [&c, id = job.id] {
        for (auto it = c.jobs.begin(); it != c.jobs.end(); ++it) {
          if (it->id != id) continue;
          const auto ended = std::move(*it);
          c.jobs.erase(it);
          return ended.finish(true);
        }
      });
    }
    check_instant(*this, c);
    if (!sim.is_alive(c.supervisor_handle)) container_ended(c);
  }
}

// -- what happened ----------------------------------------------------------------------------------------------------

void model_world::note(std::string what) {
  const auto at = std::chrono::duration_cast<milliseconds>(now().time_since_epoch()).count();
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%9.3f ", static_cast<double>(at) / 1000);
  story_.push_back(seconds + std::move(what));
  if (story_.size() > most_story_lines) story_.pop_front();
}

void model_world::happens(const std::string& what) {
  note(what);
  schedule_.push_back(story_.back());
}

void model_world::violated(std::string what) {
  note("VIOLATED: " + what);
  violations.push_back(std::move(what));
}

std::string model_world::story() const {
  std::string all = "the schedule:\n";
  for (const auto& line : schedule_)
    all += line + "\n";
  all += "the last of what came of it:\n";
  for (const auto& line : story_)
    all += line + "\n";
  for (const auto& c : containers)
    if ((c->alive || c == containers.back()) && c->published->read()->document)
      all += "health of " + c->name() + ": " + *c->published->read()->document + "\n";
  return all;
}

int model_world::next_version(bool clean) {
  ++last_version;
  if (clean) clean_versions.insert(last_version);
  return last_version;
}

// -- containers -------------------------------------------------------------------------------------------------------

model_container& model_world::start_container(std::shared_ptr<model_disk> disk) {
  containers.push_back(std::make_unique<model_container>(*this, containers.size() + 1, std::move(disk)));
  auto& c = *containers.back();
  happens(c.name() + " begins on a disk of " + std::to_string(c.disk->worktrees.size()) + " worktrees");
  c.spawn();
  sim.run();
  return c;
}

std::vector<model_container*> model_world::alive() {
  std::vector<model_container*> all;
  for (auto& c : containers)
    if (c->alive) all.push_back(c.get());
  return all;
}

model_container* model_world::newest() {
  return containers.empty() || !containers.back()->alive ? nullptr : containers.back().get();
}

void model_world::kill(model_container& c) {
  happens(c.name() + " is killed");
  check_killed(*this, c);
  worked_on(c);
  end_actors(c);
}

void model_world::worked_on(const model_container& c) {
  std::erase_if(exact,
                [&](const auto& left) { return c.verified.contains(left.first) && c.epoch >= left.second.epoch; });
}

void model_world::end_actors(model_container& c) {
  c.alive = false;
  c.forget_jobs();
  sim.kill(c.supervisor_handle, caf::exit_reason::kill);
  sim.kill(c.link, caf::exit_reason::kill);
  sim.kill(c.ears, caf::exit_reason::kill);
  sim.kill(c.real_health, caf::exit_reason::kill);
  sim.kill(c.executor, caf::exit_reason::kill);
  c.supervisor_handle = nullptr;
  c.link = nullptr;
  c.ears = c.real_health = nullptr;
  c.executor = nullptr;
  c.processes.clear();
  sim.run();
}

void model_world::drain(model_container& c) {
  happens(c.name() + " is told to end");
  if (!c.told_to_end) c.told_to_end = now();
  sim.tell(c.supervisor_handle, shutdown{"SIGTERM"});
}

void model_world::container_ended(model_container& c) {
  c.exit_code = *c.code;
  note(c.name() + " has ended with " + std::to_string(*c.exit_code));
  check_ended(*this, c);
  end_actors(c);
}

// -- the way to the town ----------------------------------------------------------------------------------------------

void model_world::answer(model_container& c, const std::function<void(town_answered)>& answered, town_answered what,
                         milliseconds after) {
  later(after, [this, &c, answered, what = std::move(what)] {
    if (!c.alive) return;
    if (what.status == 409 && !c.told_fenced) {
      note(c.name() + " hears that it is fenced");
      c.told_fenced = now();
    }
    answered(what);
  });
}

void model_world::say_to_town(model_container& c, town_request request, std::function<void(town_answered)> answered) {
  check_said(*this, c, request);
  const auto& route = request.what.route;
  const auto weather = town_weather;
  const auto failed = [&](error_code code, milliseconds after) {
    answer(c, answered, {0, 0, {}, std::nullopt, error{code, route, "injected"}}, after);
  };
  if (weather == sky::cut) {
    const bool refused = chance.chance(70);
    return failed(refused ? error_code::unavailable : error_code::timed_out, refused ? 1ms : 30s);
  }
  const bool rough = weather == sky::rough;
  const auto there = chance.between(1, rough ? (chance.chance(10) ? 20'000 : 2'000) : 50);
  const auto back = chance.between(1, rough ? 2'000 : 50);
  if (rough && chance.chance(10)) return failed(error_code::timed_out, 30s); // the request is lost
  if (rough && chance.chance(15)) {
    std::vector<int> refusals{500, 502, 503, 429, 401};
    const int status = chance.one_of(refusals);
    std::optional<milliseconds> retry_after;
    if (status == 429 || status == 503) retry_after = chance.between(0, 5) * 1000;
    return answer(c, answered, {0, status, "nothing to read here", retry_after, std::nullopt}, there + back);
  }
  const bool answer_is_lost = rough && chance.chance(10);
  if (rough && chance.chance(10)) // delivered once more, much later
    later(there + chance.between(1, 20'000), [this, request] { town.handle(request); });
  later(there, [this, &c, request = std::move(request), answered, back, answer_is_lost] {
    if (town_weather == sky::cut)
      return answer(c, answered, {0, 0, {}, std::nullopt, error{error_code::unavailable, "town", "injected"}}, back);
    auto reply = town.handle(request);
    if (answer_is_lost)
      return answer(c, answered, {0, 0, {}, std::nullopt, error{error_code::timed_out, "town", "injected"}}, 30s);
    const bool boots = request.what.route == "container-boot" && reply.status == 200;
    later(back, [this, &c, boots, epoch = town.epoch()] {
      if (!boots || !c.alive || c.booted) return;
      c.epoch = epoch;
      c.booted = now();
    });
    if (boots && !c.booted) c.waits_for_predecessor = reply.body.find(R"("draining":true)") != std::string::npos;
    answer(c, answered, {0, reply.status, std::move(reply.body), reply.retry_after, std::nullopt}, back);
  });
}

/// The town's alarm calls the container of this epoch.
void model_world::call_start(std::int64_t epoch, const std::string& rig_id, const std::string& agent_id,
                             const std::string& dispatch_id, std::function<void(int status)> answered) {
  const auto callee =
      std::find_if(containers.begin(), containers.end(), [&](const auto& c) { return c->alive && c->epoch == epoch; });
  const bool rough = town_weather != sky::clear;
  const auto there = chance.between(1, rough ? 3'000 : 50);
  if (callee == containers.end() || town_weather == sky::cut || (rough && chance.chance(15)))
    return later(there, [answered] { answered(0); });
  auto* c = callee->get();
  const bool answer_is_lost = rough && chance.chance(15);
  const int calls = rough && chance.chance(15) ? 2 : 1;
  const auto answer_once = std::make_shared<bool>(false);
  for (int i = 0; i < calls; ++i)
    later(there + i * chance.between(0, 5'000), [=, this] {
      if (!c->alive) return answered_once(answer_once, answered, 0);
      start_agent order;
      order.request.agent_id = agent_id;
      order.request.rig_id = rig_id;
      order.request.dispatch_id = dispatch_id;
      const auto said = [=, this](int status) {
        later(1ms, [=] { answered_once(answer_once, answered, answer_is_lost ? 0 : status); });
      };
      sim.keep(sim.system().spawn([to = c->supervisor_handle, order, said](caf::event_based_actor* asker) {
        asker->request(to, 10s, order)
            .then([said](const start_answer& a) { said(a.status); }, [said](const caf::error&) { said(0); });
      }));
    });
}

void model_world::answered_once(const std::shared_ptr<bool>& is_answered, const std::function<void(int)>& answered,
                                int status) {
  if (!std::exchange(*is_answered, true)) answered(status);
}

} // namespace townkeeper::simulation
