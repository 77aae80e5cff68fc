#pragma once

#include <caf/actor_addr.hpp>
#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "git/recovery.hpp"
#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"
#include "metrics/daemon_metrics.hpp"

namespace townkeeper {

struct saver_config {
  std::string rig_id;
  std::string town_id;
  std::int64_t epoch = 0;                         ///< of this container: part of every ref
  std::shared_ptr<std::atomic<std::int64_t>> seq; ///< one counter per container, the same for every saver
  git::recovery_limits limits;
  git::transfer_limits transfer;
  git::url_policy urls;
  std::string ca_file;
  std::function<std::string()> wall_clock;                ///< RFC 3339: `savedAt`, never for order
  std::shared_ptr<metrics::daemon_metrics> metrics;       ///< may be empty
  std::chrono::milliseconds push_interval{10'000};        ///< between the starts of two pushes that are not urgent
  std::chrono::milliseconds gather_delay{20};             ///< so that what is wanted together goes together
  std::chrono::milliseconds late_after{1'000};            ///< a snapshot that is not done so long after the others
  std::chrono::milliseconds credentials_limit{5'000};     ///< then the last known ones are used
  std::chrono::milliseconds delete_again_after{60'000};   ///< old refs that could not be deleted
  std::chrono::milliseconds answer_patience{30'000};      ///< a push of several agents that takes longer is broken up
  std::chrono::milliseconds refused_again_after{600'000}; ///< untracked files that the remote refused are sent again
  std::size_t max_rounds = 8;                             ///< under way at once, when earlier ones hang
  std::size_t max_alone = 4; ///< pushes at once of agents that go alone because the remote may hang on one of them
  git_executor_actor executor;
  town_link_actor town;
  caf::actor_addr supervisor; ///< asked for the rig's credentials
  std::uint64_t seed = 0;
};

/// Saves the agents of one rig: which go together, when, and what the remote said. Told: the rig's spec, save_wanted
/// by keepers, keep_disk, delete_refs. A round is begun when it is wanted and `push_interval` since the last has passed
/// (at once when urgent, also beside one that hangs): every agent that wants or offers is snapshotted, what has changed
/// goes in one push, each keeper hears what became of its own. A snapshot that is late goes in a round of its own,
/// which holds nobody up; so does each agent of a push that the remote did not answer in time, until it is answered.
/// Nobody is in two snapshots at a time. Saved means acknowledged by the remote; the town is told afterwards, and the
/// refs a point replaces are deleted when the town has recorded it. Fails: never by a round; the keepers retry.
class saver_state {
public:
  static inline const char* name = "saver";

  explicit saver_state(saver_actor::pointer self)
      : self_(self) {}
  ~saver_state();
  saver_state(const saver_state&) = delete;
  saver_state& operator=(const saver_state&) = delete;

  saver_actor::behavior_type make_behavior(saver_config config);

private:
  using time_point = caf::actor_clock::time_point;
  using keep_promise = caf::typed_response_promise<keep_disk_answer>;

  struct wanted_save {
    save_wanted want;
    time_point since{};
  };
  struct item {
    save_wanted want;
    std::uint64_t told_round = 0;                   ///< as its keeper knows it
    std::optional<git::snapshot> taken;             ///< nothing: it is being taken
    std::uint64_t order = 0;                        ///< grows with each snapshot: the later moment of two
    std::shared_ptr<std::atomic<bool>> overtaken;   ///< of the push under way
    bool is_first_push = false;                     ///< of this agent: nothing of ours can lie under its ref
    std::optional<std::string> refused_fingerprint; ///< of the moment whose content was refused: without untracked now
    std::optional<keep_promise> kept;               ///< who waits for what an unrestored worktree holds
    bool only_work = false, may_be_newest = false;  ///< as in keep_disk, and so is what follows
    std::optional<town::recovery_point> recorded;
  };
  enum class step { gathering, ready, pushing };
  struct round {
    std::map<std::string, item> items; ///< by agent
    step at = step::gathering;
    bool late = false;  ///< holds nobody up
    bool alone = false; ///< its agent may be the one that the remote hangs on
    time_point begun{};
    std::optional<time_point> last_arrival;
    time_point ready_at{};
    time_point pushed_at{};
    time_point interval_before{}; ///< what `last_start_` was
    bool started_interval = false;
    bool pushed = false;
    bool refreshed = false; ///< the credentials, after a 401
    std::string url;
    git::cancel_flag cancel;
  };
  using rounds = std::map<std::uint64_t, round>;
  /// The moment that is on the remote.
  struct acknowledged {
    std::set<std::string> fingerprints; ///< of what was saved, and of what it stands for
    std::uint64_t order = 0;            ///< of that moment
    std::optional<town::recovery_point> point;
    // Where it lacks untracked files that the remote refused:
    std::optional<std::string> refused; ///< the whole moment's fingerprint, among the others
    std::optional<time_point> again_at; ///< it is tried again with them
    save_wanted again;                  ///< as this, without its keeper
    caf::actor_addr keeper;
  };

  void take(protect_rig& rig);
  void take(save_wanted& want);
  keep_promise keep(keep_disk& wanted);
  void pump();
  bool may_begin_regular(time_point now) const;
  void begin_round(const std::vector<std::string>& agents);
  void request_snapshot(std::uint64_t id, item& what);
  void take(snapshot_result& done);
  void look_at(rounds::iterator it);
  void split_late(rounds::iterator it);
  void split_doubtful(rounds::iterator it);
  void look_at_push(rounds::iterator it);
  void push_alone(item&& what);
  bool goes_alone(const std::string& agent_id) const;
  bool may_push_alone() const;
  void ready(rounds::iterator it);
  void submit(std::uint64_t id, const result<std::optional<git::credentials>>& login);
  void take(push_result& done);
  void drop_overtaken(round& r);
  bool is_overtaken(const item& what) const;
  void overtake(const std::string& agent_id, std::uint64_t order);
  void settle(item&& what, const git::pushed_point* pushed, bool together);
  void try_refused_later(acknowledged& known, const item& what);
  void try_refused(time_point now);
  static void forget_refusal(acknowledged& known);
  void acknowledge(item& what, const std::optional<town::recovery_point>& point);
  void report(const item& what, const town::recovery_point& point);
  void answer_kept(item& what, const std::optional<town::recovery_point>& point);
  void report_kept(item& what, const town::recovery_point& point);
  void end(item& what, save_done done);
  void end_with(item& what, const error& why);
  void close(rounds::iterator it);
  void tidy(const std::string& agent_id, const std::filesystem::path& repository, const std::string& commit);
  void delete_old_refs();
  void take(delete_result& done);
  void with_credentials(bool refresh, const std::function<void(const result<std::optional<git::credentials>>&)>& next);
  bool is_pushing(const std::string& agent_id) const;
  void wake_at(time_point when);
  void count(std::string_view result) const;

  saver_actor::pointer self_;
  saver_config config_;
  town::rig_spec spec_;
  std::filesystem::path repository_;
  std::map<std::string, wanted_save> wanted_;
  rounds rounds_;
  std::map<std::string, std::uint64_t> taking_; ///< the round whose snapshot of this agent is being taken
  std::map<std::string, acknowledged> acknowledged_;
  std::map<std::string, std::uint64_t> submitted_; ///< by agent: the latest moment that a push was begun for
  std::uint64_t last_order_ = 0;
  std::set<std::string> unanswered_;                 ///< agents whose last push the remote did not answer in time
  std::map<std::string, std::string> to_delete_;     ///< ref → commit
  std::map<std::string, std::string> deleting_refs_; ///< those of the job under way
  bool deleting_ = false;
  bool delete_refused_ = false; ///< with the credentials we have
  std::optional<time_point> delete_again_at_;
  std::optional<time_point> last_start_;
  std::optional<std::optional<git::credentials>> login_; ///< the last the rig had for this remote
  std::uint64_t last_round_ = 0;
  std::optional<time_point> next_wake_;
  std::uint64_t wake_generation_ = 0;
};

saver_actor::behavior_type saver(saver_actor::stateful_pointer<saver_state> self, saver_config config);

} // namespace townkeeper
