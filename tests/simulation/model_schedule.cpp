#include "model_schedule.hpp"

#include <caf/actor_cast.hpp>

#include <rapidjson/document.h>

#include <algorithm>

#include "core/bounded_json.hpp"

namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

constexpr int events = 40;
/// A slow retry (60 s), the fetch before it (60 s), and what a token waits for (30 s).
constexpr auto ready_limit = 3min;
/// The greatest backoff of a save (60 s), the interval, a push.
constexpr auto saved_limit = 90s;
/// Two saves (10 s each), the agents (60 s and 5 s), the last word (5 s), and margins.
constexpr auto drain_limit = 110s;
/// Twice 20 s (model_world.cpp).
constexpr auto last_delivery = 45s;

std::string text_of(sky weather) {
  switch (weather) {
  case sky::clear:
    return "clear";
  case sky::rough:
    return "rough";
  default:
    return "cut";
  }
}

} // namespace

std::vector<std::string> model_schedule::play() {
  world_.start_container(std::make_shared<model_disk>());
  for (int i = 0; i < events && !world_.is_broken(); ++i) {
    one_event();
    const bool long_pause = world_.chance.chance(10);
    world_.advance(world_.chance.between(1, long_pause ? 60'000 : world_.chance.chance(50) ? 1'000 : 15'000));
  }
  if (!world_.is_broken()) faults_stop();
  return world_.violations;
}

// -- what happens -----------------------------------------------------------------------------------------------------

void model_schedule::one_event() {
  const auto kind = world_.chance.pick(1, 100);
  if (kind <= 30) return weather_changes();
  if (kind <= 42) return crash_a_child();
  if (kind <= 67) return container_goes();
  if (kind <= 74) return agent_comes_or_goes();
  if (kind <= 79) return save_on_demand();
  if (kind <= 82) {
    world_.happens("the town restarts");
    return world_.town.restart();
  }
  if (kind <= 85) {
    world_.happens("the container's token is another one");
    return world_.town.rotate_token();
  }
  if (kind > 95) { // a long calm, and a death at its end
    clear_all_weather();
    world_.advance(world_.chance.between(100'000, 140'000));
    if (auto* c = world_.newest()) world_.kill(*c);
  }
  if (world_.newest() == nullptr) world_.start_container(some_disk());
}

void model_schedule::town_weather_is(sky weather) {
  if (weather == sky::clear && world_.town_weather != sky::clear) world_.town_clear_since = world_.now();
  world_.town_weather = weather;
  world_.happens("the way to the town is " + text_of(weather));
}

void model_schedule::remote_weather_is(model_remote& remote, sky weather) {
  if (weather == sky::clear && remote.weather != sky::clear) remote.clear_since = world_.now();
  remote.weather = weather;
  world_.happens("the way to " + remote.rig_id + " is " + text_of(weather));
}

void model_schedule::clear_all_weather() {
  for (auto& [rig_id, remote] : world_.remotes)
    remote_weather_is(remote, sky::clear);
  town_weather_is(sky::clear);
}

void model_schedule::weather_changes() {
  const auto weather = world_.chance.chance(45) ? sky::clear : world_.chance.chance(65) ? sky::rough : sky::cut;
  if (world_.chance.chance(35)) return town_weather_is(weather);
  remote_weather_is(world_.remotes.at(world_.chance.chance(50) ? "r" : "s"), weather);
}

void model_schedule::crash_a_child() {
  auto* c = world_.newest();
  if (c == nullptr || c->speakers.empty()) return;
  auto child = c->speakers.begin();
  std::advance(child, world_.chance.pick(0, static_cast<std::int64_t>(c->speakers.size()) - 1));
  const auto& [speaker, address] = *child;
  const auto name = speaker.substr(speaker.find('/') + 1);
  for (const auto& [agent_id, rig_id] : world_.rig_of_agent)
    if (name == agent_id || name == rig_id) c->crashed[agent_id] = world_.now();
  world_.happens(c->name() + " " + speaker + " crashes");
  world_.sim.kill(address);
  world_.sim.run();
}

/// A disk of the town's past, or an empty one.
std::shared_ptr<model_disk> model_schedule::some_disk() {
  const bool in_use = old_disks_.empty() || world_.chance.chance(60);
  if (in_use) return std::make_shared<model_disk>();
  const auto disk = world_.chance.one_of(old_disks_);
  std::erase(old_disks_, disk);
  return disk;
}

/// Killed, told to end, or given a successor while it lives. At most two at a time.
void model_schedule::container_goes() {
  auto* c = world_.newest();
  if (c == nullptr) {
    world_.start_container(some_disk());
    return;
  }
  const auto older = world_.alive();
  switch (world_.chance.pick(0, 4)) {
  case 0: {
    const auto disk = c->disk;
    world_.kill(*c);
    if (world_.chance.chance(60)) old_disks_.push_back(disk);
    if (world_.chance.chance(40)) world_.start_container(some_disk());
    return;
  }
  case 1:
    return world_.drain(*c);
  case 2: // the next one begins while it drains
    world_.drain(*c);
    break;
  case 3: // the platform believes that it is gone
    break;
  default:
    if (older.size() > 1) world_.drain(*older.front());
    return;
  }
  if (older.size() > 1) world_.kill(*older.front());
  world_.advance(world_.chance.between(0, world_.chance.chance(50) ? 200 : 8'000));
  if (!world_.is_broken()) world_.start_container(std::make_shared<model_disk>());
}

void model_schedule::agent_comes_or_goes() {
  const auto agent_id = world_.chance.chance(50) ? "a2" : "b1";
  const bool here = world_.town.lists(agent_id);
  world_.happens(std::string(agent_id) + (here ? " is done" : " has work again"));
  if (here)
    world_.town.finish_agent(agent_id);
  else
    world_.town.add_agent(world_.rig_of_agent.at(agent_id), agent_id);
}

void model_schedule::save_on_demand() {
  auto* c = world_.newest();
  if (c == nullptr) return;
  world_.happens(c->name() + " is asked to save");
  world_.sim.tell(c->supervisor_handle, snapshot_query{std::nullopt});
}

// -- when nothing is in the way any more ------------------------------------------------------------------------------

void model_schedule::expect_within(const char* what, milliseconds limit, const std::function<bool()>& done) {
  if (world_.is_broken()) return;
  const bool happened = world_.advance_until(done, limit);
  if (!happened && !world_.is_broken())
    world_.violated(std::string(what) + " did not happen within " + std::to_string(limit.count() / 1000) +
                    " s without faults");
}

bool model_schedule::is_ready() {
  const auto* c = world_.newest();
  return c != nullptr && c->epoch == world_.town.epoch() && world_.town.has_heard_ready();
}

bool model_schedule::all_saved() {
  const auto* c = world_.newest();
  for (const auto& [agent_id, worktree] : c->disk->worktrees)
    if (world_.town.lists(agent_id) && !worktree.unsaved.empty()) return false;
  rapidjson::Document doc;
  if (parse_bounded(*c->published->read()->document, doc)) return false;
  return doc["recovery"]["protection"]["unsavedAgeSeconds"].GetDouble() == 0;
}

void model_schedule::faults_stop() {
  world_.happens("the faults stop");
  world_.faults = false;
  clear_all_weather();
  // What is still on its way to the town, a boot of a container that is gone perhaps, arrives before anything counts.
  world_.advance(last_delivery);
  for (auto* c : world_.alive())
    if (c != world_.newest() || c->told_to_end || c->told_fenced || c->epoch != world_.town.epoch()) world_.kill(*c);
  if (world_.newest() == nullptr) world_.start_container(std::make_shared<model_disk>());
  expect_within("ready", ready_limit, [this] { return is_ready(); });
  expect_within("every agent at work", ready_limit, [this] { return world_.town.all_at_work(); });
  world_.edits = false;
  expect_within("everything saved", saved_limit, [this] { return all_saved(); });
  if (world_.is_broken()) return;
  auto& last = *world_.newest();
  world_.edits = true;
  world_.drain(last);
  expect_within("the end of a drain", drain_limit, [&] { return !last.alive; });
  if (world_.is_broken()) return;
  if (last.exit_code != 0) world_.violated("a drain without faults ends with " + std::to_string(*last.exit_code));
  world_.start_container(std::make_shared<model_disk>());
  expect_within("ready after a drain", ready_limit, [this] { return is_ready(); });
  for (const auto& [agent_id, left] : world_.exact)
    if (world_.town.lists(agent_id) && !world_.is_broken()) world_.violated(agent_id + " was not restored in the end");
}

} // namespace townkeeper::simulation
