#include <rapidjson/document.h>

#include <algorithm>
#include <utility>

#include "core/bounded_json.hpp"
#include "model_container.hpp"
#include "town/decode.hpp"

/// DESIGN.md's invariants, as far as the model can see.
namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

/// What lies between an edit and the health document that knows of it: the watcher (200 ms), the keeper's reports
/// (250 ms), the publishing (50 ms); or the poll (5 s).
constexpr auto watch_lag = 1s;
constexpr auto poll_lag = 6s;
/// The protection of an agent whose actors were crashed is being restarted, or looks at everything anew.
constexpr auto after_crash = 120s;
/// DESIGN: the push interval and one push. Under a clear sky a save takes at most 2 s (snapshot, push, the town's word
/// on credentials); 1 s is the watcher's and the gathering's.
constexpr auto greatest_loss = 10s + 2s + 1s;
constexpr auto fenced_limit = 30s; ///< a start under way, and an agent's grace after SIGTERM (10 s)
constexpr auto settled_sky = 90s;  ///< backoffs of earlier failures are over

bool is_restored(const std::string& outcome) {
  return outcome == "restored" || outcome == "recovered" || outcome == "diverged";
}

std::string in_seconds(caf::timespan span) {
  return std::to_string(std::chrono::duration_cast<milliseconds>(span).count()) + " ms";
}

/// 1: restored is said of a verified worktree, ready when all of the desired state are.
void check_ready(model_world& w, model_container& c, const std::string& body) {
  rapidjson::Document doc;
  if (parse_bounded(body, doc)) return w.violated("a ready report is not JSON");
  const auto outcome = text_of(doc, "outcome");
  std::map<std::string, std::string> said;
  for (const auto& report : doc["agents"].GetArray()) {
    const auto agent_id = text_of(report, "agentId");
    said[agent_id] = text_of(report, "outcome");
    if (is_restored(said[agent_id]) && !c.verified[agent_id])
      w.violated(c.name() + " reports " + agent_id + " as restored before its worktree was verified");
  }
  if (outcome == "partial") return;
  for (const auto& agent_id : w.town.agents_of(doc["desiredVersion"].GetInt64())) {
    const auto it = said.find(agent_id);
    const bool settled = it != said.end() && it->second != "restoring";
    if (!settled || (outcome == "ready" && !is_restored(it->second)))
      w.violated(c.name() + " says " + outcome + " while " + agent_id + " is not");
  }
}

/// 4: what is called saved is on the remote, and the remote has said so.
void check_saved(model_world& w, const std::string& commit, const std::string& who) {
  const auto it = w.points.find(commit);
  if (it == w.points.end() || !it->second.on_remote || !it->second.acknowledged)
    w.violated(who + " calls " + commit + " saved, which the remote has not acknowledged");
}

void check_drained(model_world& w, model_container& c, const std::string& body) {
  rapidjson::Document doc;
  if (parse_bounded(body, doc)) return w.violated("a last word is not JSON");
  for (const auto& agent : doc["agents"].GetArray()) {
    const auto agent_id = text_of(agent, "agentId");
    if (!agent["saved"].GetBool()) continue;
    const auto commit = text_of(agent, "commit");
    if (!commit.empty()) check_saved(w, commit, c.name());
    const int now_there = c.disk->worktrees[agent_id].version;
    const int saved = commit.empty() ? 0 : w.points.at(commit).version;
    const bool same = now_there == saved || (w.is_clean(now_there) && w.is_clean(saved));
    if (!same)
      w.violated(c.name() + " says that " + agent_id + " is saved with v" + std::to_string(saved) + ", and has v" +
                 std::to_string(now_there));
  }
}

} // namespace

void check_said(model_world& w, model_container& c, const town_request& request) {
  const auto& route = request.what.route;
  const bool is_write = request.what.method != "GET" && !route.starts_with("refresh-");
  if (is_write && route != "container-boot" && (c.epoch == 0 || request.epoch != c.epoch))
    w.violated(c.name() + " says " + route + " without its epoch");
  // 7: once fenced, only what it has saved is still said.
  if (c.told_fenced && w.now() > *c.told_fenced && is_write && route != "recovery-point" &&
      route != "container-drained")
    w.violated(c.name() + " is fenced and says " + route);
  if (route == "container-ready") check_ready(w, c, request.what.body);
  if (route == "container-drained") check_drained(w, c, request.what.body);
  if (route == "recovery-point" || route == "kept") {
    const auto point = town::decode_recovery_point(request.what.body);
    if (!point) return w.violated("a recovery point cannot be read");
    check_saved(w, point->commit, c.name());
  }
}

void check_restored(model_world& w, model_container& c, const std::string& agent_id,
                    const std::optional<town::recovery_point>& point, bool disk_wins) {
  auto& worktree = c.disk->worktrees[agent_id];
  // What an earlier container left unsaved on the disk counts from now (keeper.cpp): nobody knows since when it is
  // there.
  for (auto& [version, since] : worktree.unsaved)
    since = w.now();
  const bool again = std::exchange(c.verified[agent_id], true);
  if (again) return;
  if (c.told_to_end) c.restored_late.insert(agent_id);
  w.note(c.name() + " restored " + agent_id + " at v" + std::to_string(worktree.version) +
         (disk_wins ? " from its disk" : ""));
  // What was acknowledged before this container began (or until the one before it was gone) is there.
  point_order has{0, 0};
  if (point) has = {point->epoch, point->seq};
  if (disk_wins && worktree.mark) has = std::max(has, *worktree.mark);
  for (const auto& [commit, saved] : w.points)
    if (saved.agent_id == agent_id && !saved.kept && saved.acknowledged && *saved.acknowledged < c.must_know &&
        saved.order() > has)
      return w.violated(c.name() + " restores " + agent_id + " from " + std::to_string(has.first) + "-" +
                        std::to_string(has.second) + ", but " + std::to_string(saved.order().first) + "-" +
                        std::to_string(saved.order().second) + " was acknowledged before");
  // 5: after a drain that ended with 0 it is exactly what it was, in every later container (one that was overtaken and
  // does not know it yet may still restore what it was told of before).
  if (const auto it = w.exact.find(agent_id); it != w.exact.end() && c.epoch > it->second.epoch) {
    const int left = it->second.version;
    const bool same = left == worktree.version || (w.is_clean(left) && w.is_clean(worktree.version));
    if (!same)
      w.violated(agent_id + " ended as v" + std::to_string(left) + ", saved, and comes back as v" +
                 std::to_string(worktree.version));
    w.exact.erase(it);
  }
}

/// 7 and 11: only refs of its own epoch are written; one that is deleted was built upon, and its successor is there.
void check_ref_written(model_world& w, model_container& c, const std::string& ref, const std::string& old_commit) {
  if (old_commit.empty()) {
    const auto own = "/" + std::to_string(c.epoch);
    if (!ref.starts_with("refs/townkeeper/town/") || (!ref.ends_with(own) && ref.find("/kept" + own + "-") == ref.npos))
      w.violated(c.name() + " writes " + ref);
    return;
  }
  const auto& old = w.points.at(old_commit);
  // Its own, or one of a later container that has built upon it in turn.
  const auto& refs = w.remotes.at(w.rig_of_agent.at(old.agent_id)).refs;
  const bool is_there = std::any_of(refs.begin(), refs.end(), [&](const auto& r) {
    const auto& point = w.points.at(r.second);
    return point.agent_id == old.agent_id && !point.kept && point.order().first >= c.epoch;
  });
  const auto& recorded = w.town.recovery_of(old.agent_id);
  const bool is_recorded = recorded && recorded->epoch >= c.epoch;
  if (!is_there || !is_recorded || old.order().first >= c.epoch)
    w.violated(c.name() + " deletes " + ref + ", whose successor is not recorded");
}

/// 6: the push interval and one push, where nothing was in the way.
void check_killed(model_world& w, model_container& c) {
  if (c.told_fenced) return;
  for (const auto& [agent_id, worktree] : c.disk->worktrees) {
    if (worktree.unsaved.empty() || !c.verified[agent_id] || !w.town.lists(agent_id)) continue;
    const auto& remote = w.remotes.at(w.rig_of_agent.at(agent_id));
    const bool clear = remote.weather == sky::clear && w.now() - remote.clear_since > settled_sky &&
                       w.town_weather == sky::clear && w.now() - w.town_clear_since > settled_sky;
    const auto crash = c.crashed.find(agent_id);
    if (!clear || (crash != c.crashed.end() && w.now() - crash->second < after_crash)) continue;
    const auto lost = w.now() - worktree.unsaved.front().second;
    w.greatest_loss = std::max(w.greatest_loss, std::chrono::duration_cast<milliseconds>(lost));
    if (lost > greatest_loss + (c.is_watched(agent_id) ? 0s : 5s))
      w.violated("killed, " + c.name() + " loses " + in_seconds(lost) + " of " + agent_id);
  }
}

namespace {

/// What its last health document lists: an agent that came back a moment ago is not known to it yet.
std::set<std::string> agents_known_to(const model_container& c) {
  std::set<std::string> known;
  rapidjson::Document doc;
  if (!c.last_document || parse_bounded(*c.last_document, doc)) return known;
  for (const auto& rig : doc["recovery"]["rigs"].GetArray())
    for (const auto& agent : rig["agents"].GetArray())
      known.insert(text_of(agent, "agentId"));
  return known;
}

} // namespace

void check_ended(model_world& w, model_container& c) {
  w.worked_on(c);
  if (*c.exit_code != 0 || !c.told_to_end) return;
  const auto known = agents_known_to(c);
  for (const auto& [agent_id, worktree] : c.disk->worktrees) {
    if (!w.town.lists(agent_id)) continue;
    // Also of a warm worktree that could not be restored, where the container knew of it in time.
    if (!worktree.unsaved.empty() && (c.verified[agent_id] || (known.contains(agent_id) && !c.waits_for_predecessor)))
      w.violated(c.name() + " ends with 0 while v" + std::to_string(worktree.version) + " of " + agent_id +
                 " is unsaved");
    if (!c.verified[agent_id]) continue;
    // What an older disk holds beyond the point that was put here, and that nobody has built upon, may still come up.
    if (w.newest() == &c && !c.restored_late.contains(agent_id)) w.exact[agent_id] = {c.epoch, worktree.version};
  }
}

namespace {

/// 8: the newer container's agents are the ones that work.
void check_fenced(model_world& w, const model_container& c) {
  if (!c.told_fenced || c.told_to_end || w.now() - *c.told_fenced < fenced_limit) return;
  for (const auto& p : c.processes)
    if (p.alive && !c.crashed.contains(p.agent_id))
      w.violated(c.name() + " is fenced, and " + p.agent_id + " still works");
}

} // namespace

/// The unsaved age is never less than it is.
void check_instant(model_world& w, model_container& c) {
  const auto document = c.published->read()->document;
  if (!document || document == c.last_document) return;
  c.last_document = document;
  check_fenced(w, c);
  rapidjson::Document doc;
  if (parse_bounded(*document, doc)) return w.violated("a health document is not JSON");
  const auto& recovery = doc["recovery"];
  const double age = recovery["protection"]["unsavedAgeSeconds"].GetDouble();
  for (const auto& [agent_id, worktree] : c.disk->worktrees) {
    if (worktree.unsaved.empty() || c.processes_of(agent_id) == 0 || !w.town.lists(agent_id)) continue;
    const auto crash = c.crashed.find(agent_id);
    if (crash != c.crashed.end() && w.now() - crash->second < after_crash) continue;
    const auto lag = c.is_watched(agent_id) ? watch_lag : poll_lag;
    const std::chrono::duration<double> least = w.now() - worktree.unsaved.front().second - lag;
    if (least.count() > 0 && age < least.count())
      w.violated(c.name() + " shows an unsaved age of " + std::to_string(age) + " s while " + agent_id +
                 " has something unsaved since " + std::to_string(least.count()) + " s and more");
  }
  // 9: whatever the others' remotes do.
  for (const auto& rig : recovery["rigs"].GetArray()) {
    if (text_of(rig, "rigId") != calm_rig) continue;
    bool ready = text_of(rig, "phase") == "ready";
    for (const auto& agent : rig["agents"].GetArray()) {
      ready = ready && is_restored(text_of(agent, "outcome"));
      if (is_restored(text_of(agent, "outcome")) && !c.verified[text_of(agent, "agentId")])
        w.violated("health calls " + text_of(agent, "agentId") + " restored, and it is not verified");
    }
    c.calm_was_ready = c.calm_was_ready || ready;
  }
  constexpr auto calm_limit = 10s, predecessor_limit = 15s;
  // Fenced: also where a desired state named a newer epoch.
  if (c.calm_was_ready || !c.booted || c.epoch != w.town.epoch() || c.told_to_end) return;
  const auto limit = c.waits_for_predecessor ? calm_limit + predecessor_limit : calm_limit;
  const bool unhindered = w.town_weather == sky::clear && w.now() - w.town_clear_since > w.now() - *c.booted + 60s &&
                          !c.crashed.contains("c1") && !c.crashed.contains("c2");
  if (unhindered && w.now() - *c.booted > limit)
    w.violated("the rig whose remote is in order is not ready after " + in_seconds(w.now() - *c.booted));
}

} // namespace townkeeper::simulation
