#include <chrono>
#include <iostream>
#include <map>
#include <set>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/finished_points.hpp"
#include "cli/operator_town.hpp"
#include "cli/point_text.hpp"

/// `townkeeper recovery drop`: an operator's act. The town is told first: a ref that it does not ask for is only
/// untidy, a record without its ref would hold up the agent's next wake.
namespace townkeeper::cli {
namespace {

int fail_to_load(const error& why) {
  return fail(why, exit_code_of_configuration(why));
}

int call_once(const configuration_flags& flags, const town::call& what, const char* said) {
  const auto town = operator_town::from(flags, read_environment());
  if (!town) return fail_to_load(town.error());
  if (const auto answer = town->call(what); !answer) return fail(answer.error());
  std::cout << said << std::flush;
  return done;
}

result<void> forget(const operator_town& town, const finished_points::entry& entry) {
  const auto& [point, agent] = entry;
  if (const auto kept = town.call(town::calls::drop_kept(agent.rig_id, agent.agent_id, point.commit)); !kept)
    return kept.error();
  if (agent.recovery_commit != point.commit) return {};
  if (const auto lost = town.call(town::calls::accept_loss(agent.rig_id, agent.agent_id)); !lost) return lost.error();
  return {};
}

result<finished_points> find_finished(const operator_town& town, const drop_finished& what) {
  const auto state = town.call(town::calls::state());
  if (!state) return state.error();
  const auto finished = town::decode_finished_agents(*state);
  if (!finished) return finished.error();
  const auto points = git::list_points(what.clone, {}, true);
  if (!points) return points.error();
  return choose_finished(*points, *finished, town.id(), std::chrono::system_clock::now(), what.older_than);
}

void print(const finished_points& found, bool only_list) {
  std::vector<git::listed_point> old;
  for (const auto& entry : found.old)
    old.push_back(entry.point);
  std::cout << points_table(old);
  for (const auto& line : found.staying)
    std::cout << "stays: " << line << '\n';
  if (old.empty()) std::cout << "nothing to drop\n";
  if (only_list && !old.empty()) std::cout << "nothing was dropped (--dry-run)\n";
  std::cout << std::flush;
}

int drop_from_remote(const git::clone_location& clone, const std::map<std::string, std::string>& refs) {
  const auto gone = git::drop_refs(clone, refs);
  if (!gone) return fail(gone.error());
  std::cout << "dropped " << gone->size() << " of " << refs.size() << " ref(s)\n" << std::flush;
  return gone->size() == refs.size() ? done : unavailable;
}

} // namespace

int drop(const drop_kept& what) {
  return call_once(what.configuration, town::calls::drop_kept(what.rig_id, what.agent_id, what.commit),
                   "dropped: the town lists this point no more\n");
}

/// Points that are still on the remote would be found again at the next wake, so they go as well; but for that of the
/// container that lives: it holds what the agent does now.
int drop(const drop_recovery& what) {
  const auto town = operator_town::from(what.configuration, read_environment());
  if (!town) return fail_to_load(town.error());
  const auto state = town->call(town::calls::state());
  if (!state) return fail(state.error());
  const auto live = town::decode_live_epoch(*state);
  if (!live) return fail(live.error());
  if (const auto lost = town->call(town::calls::accept_loss(what.rig_id, what.agent_id)); !lost)
    return fail(lost.error());
  std::cout << "the town asks for this agent's recovery point no more\n" << std::flush;
  if (const auto up = git::initialise_library({}); !up) return fail(up.error());
  const auto points = git::list_points(what.clone, what.agent_id);
  if (!points) {
    std::cerr << "townkeeper: a point of this agent that is still on the remote is found again at its next wake; in a "
                 "clone of the repository (--repo, --remote) this command deletes it\n";
    return fail(points.error());
  }
  std::map<std::string, std::string> refs;
  for (const auto& point : *points) {
    if (point.town_id != town->id() || point.kept) continue;
    if (*live && point.epoch >= **live)
      std::cout << "stays: " << point.ref << " (the container that lives saves under it)\n";
    else
      refs.emplace(point.ref, point.commit);
  }
  return drop_from_remote(what.clone, refs);
}

int drop(const drop_finished& what) {
  const auto town = operator_town::from(what.configuration, read_environment());
  if (!town) return fail_to_load(town.error());
  if (const auto up = git::initialise_library({}); !up) return fail(up.error());
  const auto found = find_finished(*town, what);
  if (!found) return fail(found.error());
  print(*found, what.only_list);
  if (what.only_list || found->old.empty()) return done;
  std::map<std::string, std::string> refs;
  for (const auto& entry : found->old) {
    if (const auto forgotten = forget(*town, entry); !forgotten) return fail(forgotten.error());
    refs.emplace(entry.point.ref, entry.point.commit);
  }
  return drop_from_remote(what.clone, refs);
}

} // namespace townkeeper::cli
