#pragma once

#include <caf/actor_addr.hpp>

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/git_executor.hpp"
#include "actors/health.hpp"
#include "actors/supervisor.hpp"
#include "messages/type_ids.hpp"
#include "model_world.hpp"

namespace townkeeper::simulation {

/// One agent's process: edits its worktree from time to time, ends when it is told to or by itself.
struct model_process {
  std::string agent_id, dispatch_id;
  int pid = 0;
  bool alive = false;
  std::function<void(process_end)> ended;
};

/// A git job that a worker has.
struct model_job {
  std::uint64_t id = 0;
  std::string agent_id; ///< of a worktree job
  git::cancel_flag cancel;
  bool ending = false;                        ///< its worker has seen that it is not wanted any more
  std::function<void(bool cancelled)> finish; ///< answers the executor; once
};

/// One container: every actor of townkeeper, and what the model and the checker know of it.
struct model_container {
  model_container(model_world& in, std::size_t container_number, std::shared_ptr<model_disk> on);

  void spawn();
  void end_process(model_process& p, process_end how);
  void edit(const std::string& agent_id);
  std::size_t processes_of(const std::string& agent_id) const;
  bool is_watched(const std::string& agent_id) const { return watches.contains(agent_id); }
  void forget_jobs();
  std::string name() const { return "i" + std::to_string(number); }

  model_world& world;
  std::size_t number;
  std::shared_ptr<model_disk> disk;
  bool alive = true;
  std::optional<int> exit_code; ///< it ended by itself
  std::optional<time_point> told_to_end;
  time_point begun;

  // what it was told
  std::int64_t epoch = 0;
  std::optional<time_point> booted; ///< when the town's answer came
  std::optional<time_point> told_fenced;
  bool waits_for_predecessor = false; ///< an older container drained when this one booted
  bool calm_was_ready = false;
  /// What was acknowledged until then must be in every worktree that is restored.
  time_point must_know;

  // what it came to
  std::map<std::string, bool> verified;      ///< agents whose worktree job succeeded
  std::set<std::string> restored_late;       ///< agents that were restored after it was told to end: nobody had them
  std::map<std::string, time_point> crashed; ///< agents whose protection was disturbed, and when last

  // its actors and edges
  std::shared_ptr<published_health> published = std::make_shared<published_health>();
  std::shared_ptr<const std::string> last_document;
  std::shared_ptr<std::atomic<int>> code = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<std::int64_t>> seq = std::make_shared<std::atomic<std::int64_t>>(0);
  supervisor_actor supervisor_handle;
  town_link_actor link;
  health_actor real_health, ears;
  git_executor_actor executor;
  std::list<model_process> processes;
  std::list<model_job> jobs;
  /// By agent: which of its watches in order, and whom it tells.
  std::map<std::string, std::pair<int, watch::watch_callback>> watches;
  int last_watch = 0;
  std::map<std::string, caf::actor_addr> speakers; ///< children that can be crashed, by what they are

private:
  std::shared_ptr<const process_runner> runner();
  void start_process(process_launch launch, const std::function<void(result<int>)>& started,
                     std::function<void(process_end)> ended);
  void stop_process(int pid, milliseconds grace);
  void work(int pid);
};

/// Makes the worker of one lane: it does on the model's remotes and disk what git would do on real ones.
git_worker_actor spawn_model_worker(model_world& world, model_container& c, git_executor_actor::pointer executor);

/// What every actor of `c` takes for its health actor: looks at what is said, and passes it on.
health_actor spawn_model_ears(model_world& world, model_container& c);

// -- the checker: DESIGN.md's invariants, as far as the model can see
// ----------------------------------------------------

/// Before a request leaves the container.
void check_said(model_world& world, model_container& c, const town_request& request);
/// A worktree job has succeeded; `disk_wins`: the worktree was left as it was.
void check_restored(model_world& world, model_container& c, const std::string& agent_id,
                    const std::optional<town::recovery_point>& point, bool disk_wins);
/// A ref of the remote is about to be written or (with no commit) deleted.
void check_ref_written(model_world& world, model_container& c, const std::string& ref, const std::string& old_commit);
/// The container was killed: what is gone with its disk.
void check_killed(model_world& world, model_container& c);
/// The container has ended by itself.
void check_ended(model_world& world, model_container& c);
/// At each instant.
void check_instant(model_world& world, model_container& c);

inline constexpr const char* calm_rig = "calm"; ///< its remote is always under a clear sky
inline constexpr const char* model_town_id = "town";

} // namespace townkeeper::simulation
