#include "model_container.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <csignal>
#include <utility>

namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

constexpr const char* some_time = "2026-01-01T00:00:00Z";

struct ears_state {
  static inline const char* name = "ears";
  health_actor real;
};

health_actor::behavior_type hear(health_actor::stateful_pointer<ears_state> self, model_world* w, model_container* c,
                                 health_actor real) {
  self->state.real = std::move(real);
  const auto heard = [=](const std::string& speaker) {
    c->speakers[speaker] = caf::actor_cast<caf::actor_addr>(self->current_sender());
  };
  const auto pass_on = [=](const auto& what) { self->delegate(self->state.real, what); }; // its sender stays
  return {
      [=](const expect& wanted) {
        // The older container is gone, in time: what it saved last belongs to every worktree.
        if (c->waits_for_predecessor && !wanted.desired.old_container && w->now() < *c->booted + 15s - 10ms)
          if (const auto at = w->town.drained_at(c->epoch - 1)) c->must_know = std::max(c->must_know, *at);
        return self->delegate(self->state.real, wanted);
      },
      [=](const rig_progress& p) {
        heard("rig/" + p.rig_id);
        pass_on(p);
      },
      [=](const rig_transfer& t) { pass_on(t); },
      [=](const rig_settled& s) { pass_on(s); },
      [=](const worktree_progress& p) {
        heard("worktree/" + p.agent_id);
        pass_on(p);
      },
      [=](const agent_settled& s) {
        if (town::is_restored(s.report.outcome) && !c->verified[s.report.agent_id])
          w->violated(c->name() + " says that " + s.report.agent_id + " is restored, and it is not verified");
        pass_on(s);
      },
      [=](const process_changed& p) {
        if (p.process.status == "running") heard("agent/" + p.process.agent_id);
        pass_on(p);
      },
      [=](const phase_changed& p) { pass_on(p); },
      [=](const trouble& t) { pass_on(t); },
      [=](const protection_changed& p) {
        if (!p.gone) heard("keeper/" + p.agent_id);
        pass_on(p);
      },
      [](const publish_due&) {},
      [=](const heartbeat_query& q) { return self->delegate(self->state.real, q); },
  };
}

} // namespace

model_container::model_container(model_world& in, std::size_t container_number, std::shared_ptr<model_disk> on)
    : world(in)
    , number(container_number)
    , disk(std::move(on))
    , begun(in.now())
    , must_know(in.now()) {}

// -- actors -----------------------------------------------------------------------------------------------------------

void model_container::spawn() {
  auto& sim = world.sim;
  const auto seed = [this] { return static_cast<std::uint64_t>(world.chance.pick(0, 1'000'000'000)); };
  town_link_config town;
  town.instance_id = name();
  town.version = "model";
  town.started_at = some_time;
  town.control_url = "http://127.0.0.1:8080";
  town.control_token = secret{"the-control-token"};
  town.container_token = secret{world.town.token()};
  town.transport = [this](town_request request, std::function<void(town_answered)> answered) {
    world.say_to_town(*this, std::move(request), std::move(answered));
  };
  town.seed = seed();
  link = sim.keep(sim.system().spawn(town_link, std::move(town)));

  health_config picture;
  picture.instance_id = name();
  picture.version = "model";
  picture.published = published;
  picture.metrics = std::make_shared<metrics::daemon_metrics>("model");
  picture.town = link;
  picture.idle_interval = 5s;
  picture.wall_clock = [] { return std::string{some_time}; };
  real_health = sim.keep(sim.system().spawn(health, std::move(picture)));
  ears = sim.keep(spawn_model_ears(world, *this));

  git_executor_config jobs_config;
  jobs_config.health = caf::actor_cast<caf::actor_addr>(ears);
  jobs_config.at_rest = [](git_executor_actor::pointer) {};
  jobs_config.spawn_worker = [this](git_executor_actor::pointer self) {
    return spawn_model_worker(world, *this, self);
  };
  executor = sim.keep(sim.system().spawn(git_executor, std::move(jobs_config)));

  supervisor_config config;
  config.rigs_directory = "/w/rigs";
  config.drain_limit = 60s;
  config.executor = config.rig.executor = config.worktree.executor = config.saver.executor = executor;
  config.town = config.rig.town = config.saver.town = config.agent.town = link;
  config.health = config.rig.health = config.worktree.health = config.keeper.health = config.agent.health = ears;
  config.exit_code = code;
  config.seed = seed();
  config.agent_known = [](const std::string&, const std::string&, bool) {};
  config.restarted = [](std::string_view) {};
  config.rig.town_id = config.saver.town_id = config.agent.town_id = model_town_id;
  config.saver.seq = seq;
  config.saver.wall_clock = config.agent.wall_clock = [] { return std::string{some_time}; };
  config.worktree.warm_repository = [this](const std::filesystem::path& worktree, const std::string&) {
    const bool exists = disk->worktrees.contains(worktree.filename().string());
    return exists ? std::optional<std::filesystem::path>{"/w/repo.git"} : std::nullopt;
  };
  config.keeper.watch = [this](watch::watch_request request,
                               watch::watch_callback changed) -> result<watch::watch_handle> {
    if (world.faults && world.chance.chance(10))
      return error{error_code::disk, request.agent_id, "no room for watches"};
    changed({false, true, std::nullopt}); // they stand
    watches[request.agent_id] = {++last_watch, std::move(changed)};
    return watch::watch_handle{[this, id = request.agent_id, number_of_watch = last_watch] {
      if (const auto it = watches.find(id); it != watches.end() && it->second.first == number_of_watch)
        watches.erase(it);
    }};
  };
  config.agent.state_directory = "/w/.townkeeper/agents";
  config.agent.socket = "/w/.townkeeper/sockets";
  config.agent.command = {"/bin/worker"};
  config.agent.runner = runner();
  supervisor_handle = sim.keep(sim.system().spawn(supervisor, std::move(config)));
}

health_actor spawn_model_ears(model_world& world, model_container& c) {
  return world.sim.system().spawn(hear, &world, &c, c.real_health);
}

void model_container::forget_jobs() {
  jobs.clear();
  watches.clear();
}

// -- processes --------------------------------------------------------------------------------------------------------

std::shared_ptr<const process_runner> model_container::runner() {
  auto made = std::make_shared<process_runner>();
  made->start = [this](process_launch launch, auto started, auto ended) {
    world.later(world.chance.between(1, 300),
                [this, launch = std::move(launch), started = std::move(started), ended = std::move(ended)]() mutable {
                  if (alive) start_process(std::move(launch), started, std::move(ended));
                });
  };
  made->stop = [this](int pid, milliseconds grace) { stop_process(pid, grace); };
  made->last_activity_at = [](int) { return std::string{some_time}; };
  return made;
}

void model_container::start_process(process_launch launch, const std::function<void(result<int>)>& started,
                                    std::function<void(process_end)> ended) {
  if (world.faults && world.chance.chance(5)) return started(error{error_code::disk, launch.agent_id, "injected"});
  model_process p;
  p.agent_id = launch.agent_id;
  p.dispatch_id = launch.environment["GASTOWN_DISPATCH_ID"];
  p.pid = ++world.last_pid;
  p.alive = true;
  p.ended = std::move(ended);
  world.note(name() + " " + p.agent_id + " runs for " + p.dispatch_id);
  if (processes_of(p.agent_id) > 0) world.violated("two processes of " + p.agent_id + " in " + name());
  if (!verified[p.agent_id]) world.violated(p.agent_id + " runs in a worktree that is not verified");
  for (const auto& job : jobs)
    if (job.agent_id == p.agent_id) world.violated(p.agent_id + " runs in a worktree that a job has hold of");
  if (++world.dispatch_runs[p.dispatch_id] > 1) world.violated(p.dispatch_id + " ran twice");
  processes.push_back(std::move(p));
  started(processes.back().pid);
  work(processes.back().pid);
}

/// From one edit to the next, until it ends.
void model_container::work(int pid) {
  world.later(world.chance.between(200, world.chance.chance(30) ? 1'500 : 20'000), [this, pid] {
    const auto p = std::find_if(processes.begin(), processes.end(), [&](const auto& q) { return q.pid == pid; });
    if (!alive || p == processes.end() || !p->alive) return;
    if (world.faults && world.chance.chance(4)) return end_process(*p, {0, std::nullopt, some_time});
    if (world.edits) edit(p->agent_id);
    work(pid);
  });
}

void model_container::edit(const std::string& agent_id) {
  auto& worktree = disk->worktrees[agent_id];
  worktree.version = world.next_version(world.chance.chance(15));
  worktree.unsaved.emplace_back(worktree.version, world.now());
  // The watcher tells at most five times a second.
  world.later(world.chance.between(1, 200), [this, agent_id] {
    if (const auto watch = watches.find(agent_id); alive && watch != watches.end()) watch->second.second({});
  });
}

void model_container::stop_process(int pid, milliseconds grace) {
  const auto p = std::find_if(processes.begin(), processes.end(), [&](const auto& q) { return q.pid == pid; });
  if (!alive || p == processes.end() || !p->alive) return;
  const auto pause = std::min<milliseconds>(world.chance.between(1, world.chance.chance(20) ? 90'000 : 5'000), grace);
  world.later(pause, [this, pid] {
    for (auto& q : processes)
      if (alive && q.pid == pid && q.alive) return end_process(q, {std::nullopt, SIGTERM, some_time});
  });
}

void model_container::end_process(model_process& p, process_end how) {
  p.alive = false;
  if (world.edits && world.chance.chance(30)) edit(p.agent_id); // its last word
  world.note(name() + " " + p.agent_id + " ends");
  std::exchange(p.ended, nullptr)(std::move(how));
}

std::size_t model_container::processes_of(const std::string& agent_id) const {
  return static_cast<std::size_t>(std::count_if(processes.begin(), processes.end(),
                                                [&](const auto& p) { return p.alive && p.agent_id == agent_id; }));
}

} // namespace townkeeper::simulation
