#pragma once

#include <caf/typed_event_based_actor.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "actors/worktree.hpp"
#include "fake_git.hpp"
#include "fixture.hpp"
#include "health_recorder.hpp"
#include "messages/type_ids.hpp"
#include "specs.hpp"
#include "supervisor_recorder.hpp"

namespace townkeeper::simulation {

inline const std::string remote = "https://git.example/r.git";
inline const std::string other_remote = "https://elsewhere.example/r.git";

/// One worktree actor between a rig, a supervisor and a health actor that only note what they hear.
struct worktree_simulation : virtual_town {
  std::shared_ptr<fake_git> git = std::make_shared<fake_git>();
  std::shared_ptr<health_log> health = std::make_shared<health_log>();
  std::shared_ptr<supervisor_log> supervisor = std::make_shared<supervisor_log>();
  std::shared_ptr<rig_log> rig_heard = std::make_shared<rig_log>();
  rig_actor rig;
  worktree_actor subject;

  explicit worktree_simulation(std::optional<town::agent_report> settled = std::nullopt,
                               std::filesystem::path directory = "/w/rigs/r/worktrees/a1") {
    rig = keep(spawn_rig_recorder(system(), rig_heard));
    worktree_config config;
    config.rig_id = "r";
    config.agent_id = "a1";
    config.directory = std::move(directory);
    config.executor = keep(spawn_fake_executor(system(), git));
    config.health = keep(spawn_health_recorder(system(), health));
    config.supervisor = keep(spawn_supervisor_recorder(system(), supervisor)).address();
    config.seed = 7;
    config.settled = std::move(settled);
    subject = keep(system().spawn(worktree, std::move(config)));
  }

  void restore(town::agent_spec spec = agent_of("a1"), const std::string& url = remote) {
    tell(subject, restore_worktree{std::move(spec), url});
  }
  repository_ready ready_for(const town::agent_spec& spec, const std::string& url = remote) const {
    git::repository_job job;
    job.directory = "/w/rigs/r";
    job.url = url;
    job.default_branch = "main";
    job.branches = {spec.branch};
    if (spec.base_ref) job.branches.push_back(*spec.base_ref);
    auto plan = git->fetched(job);
    return {*plan.outcome, {job.branches.begin(), job.branches.end()}, url};
  }
  /// As the rig actor says it.
  template <class Message>
  void rig_says(Message message) {
    caf::send_as(rig, subject, std::move(message));
    run();
  }
  void repository_is_ready(const town::agent_spec& spec = agent_of("a1"), const std::string& url = remote) {
    rig_says(ready_for(spec, url));
  }
  std::size_t attempts() const { return git->restores_of("a1"); }
  const town::agent_report& report() const { return health->settled.back().report; }
};

} // namespace townkeeper::simulation
