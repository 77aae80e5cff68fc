#pragma once

#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "actors/retry_policy.hpp"
#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/restore.hpp"

namespace townkeeper {

struct rig_config {
  std::string town_id, rig_id;
  std::filesystem::path directory; ///< `<workspace>/rigs/<rigId>`
  git::transfer_limits transfer;
  git::url_policy urls;
  std::string ca_file;
  retry_policy retry;
  std::optional<git::credentials> fallback; ///< GIT_TOKEN, for a rig whose token the town does not hold
  git_executor_actor executor;
  health_actor health;
  town_link_actor town;
  std::uint64_t seed = 0; ///< of the jitter
};

/// Owns one repository on disk and its credentials. Told: restore_rig, attach/detach, look_again, credentials queries.
/// Tells: health every step; its worktree actors whether the repository is ready; the executor its jobs.
/// Fails: five attempts with backoff, then settled as failed with the reason and tried again every minute; a permanent
/// refusal settles at once. After a crash everything is derived again from disk and spec.
class rig_state {
public:
  static inline const char* name = "rig";

  explicit rig_state(rig_actor::pointer self)
      : self_(self) {}
  ~rig_state();
  rig_state(const rig_state&) = delete;
  rig_state& operator=(const rig_state&) = delete;

  rig_actor::behavior_type make_behavior(rig_config config);

private:
  using credentials_promise = caf::typed_response_promise<git_credentials_answer>;

  void restore(restore_rig& wanted);
  void attach(attach_worktree& w);
  void look(const look_again& wanted);
  void begin_set();
  void begin_attempt(bool refresh_credentials);
  void submit(const std::optional<git::credentials>& login);
  void finish(repository_result& done);
  void succeed(git::repository_restored restored);
  void fail(const error& why);
  void settle(const error& why);
  void retry_after(std::chrono::milliseconds pause);
  void tell(town::rig_phase phase, std::optional<error> why = std::nullopt);
  void take_credentials(git_credentials_answer& answer);
  credentials_promise answer_credentials(const git_credentials_query& query);
  bool cached_credentials_usable() const;
  std::int64_t elapsed_ms() const;

  rig_actor::pointer self_;
  rig_config config_;
  town::rig_spec spec_;
  std::set<std::string> restored_; ///< agents whose recovery points are not looked for any more
  std::map<std::string, worktree_actor> worktrees_;
  std::optional<repository_ready> ready_; ///< what the worktrees were last told
  std::set<std::string> asked_for_;       ///< by the job under way
  std::set<std::string> late_;            ///< agents that came after that job's spec: the next one is theirs
  std::optional<error> failed_;           ///< set while settled as failed
  git::cancel_flag cancel_;               ///< of the job under way
  std::size_t jobs_under_way_ = 0;
  std::size_t jobs_of_old_remote_ = 0; ///< the first of those under way: what they come to counts for nothing
  bool attempt_under_way_ = false;     ///< credentials or job
  bool again_ = false;                 ///< the spec moved on, or somebody asked, during the attempt
  bool credentials_refreshed_ = false;
  std::uint32_t attempts_ = 0; ///< in the current set
  std::int64_t total_attempts_ = 0;
  std::int64_t set_bytes_ = 0;
  std::int64_t fetched_bytes_ = 0;
  caf::actor_clock::time_point first_begun_{};
  caf::actor_clock::time_point set_begun_{};
  std::uint64_t retry_generation_ = 0;
  std::optional<git::credentials> login_;
  bool login_known_ = false; ///< the town was asked, and `login_` is its answer
  std::optional<caf::actor_clock::time_point> login_expires_;
  std::mt19937_64 random_;
};

rig_actor::behavior_type rig(rig_actor::stateful_pointer<rig_state> self, rig_config config);

} // namespace townkeeper
