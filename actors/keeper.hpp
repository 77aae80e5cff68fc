#pragma once

#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "watch/watcher.hpp"

namespace townkeeper {

struct keeper_config {
  std::string rig_id, agent_id;
  watch::watch_factory watch;                     ///< empty, or one that fails: changes are looked for by polling
  std::chrono::milliseconds quiet{2'000};         ///< a save is wanted after so long without a change
  std::chrono::milliseconds latest{8'000};        ///< after the first change, quiet or not
  std::chrono::milliseconds poll_interval{5'000}; ///< where the watches do not see everything
  std::chrono::milliseconds first_retry{1'000};   ///< upper bound of the pause after the first failure
  std::chrono::milliseconds max_retry{60'000};    ///< of every pause
  std::chrono::milliseconds report_interval{250}; ///< between two words to health
  saver_actor saver;
  health_actor health;
  std::uint64_t seed = 0; ///< of the jitter
};

/// Protects one worktree. Told: protect, what the watcher sees, save_now, the saver's words. Tells: its saver when a
/// save is wanted; health since when something is unsaved, and why. The unsaved age counts from the first change that
/// no remote has acknowledged: a change that comes after a snapshot was begun is not in it. Where the moment of a
/// change cannot be known (at the beginning, while polling) the earliest possible one counts. Fails: a save that failed
/// is wanted again with backoff, for ever. After stop_protecting it saves what is there, and ends.
class keeper_state {
public:
  static inline const char* name = "keeper";

  explicit keeper_state(keeper_actor::pointer self)
      : self_(self) {}
  ~keeper_state();
  keeper_state(const keeper_state&) = delete;
  keeper_state& operator=(const keeper_state&) = delete;

  keeper_actor::behavior_type make_behavior(keeper_config config);

private:
  using time_point = caf::actor_clock::time_point;
  using save_promise = caf::typed_response_promise<save_answer>;

  /// A snapshot that was begun and whose fate is open.
  struct open_round {
    std::uint64_t ticket = 0;
    std::optional<time_point> oldest; ///< the oldest unsaved change it holds
  };
  struct owed_answer {
    save_promise promise;
    std::uint64_t ticket = 0; ///< a round of this or a later one answers it
    time_point deadline{};
  };

  void take(protect& wanted);
  void watch();
  void take(const worktree_changed& change);
  save_promise save(const save_now& wanted);
  void stop();
  void take(const save_begun& begun);
  void take(save_done& done);
  void succeed(const open_round& saved, save_done& done);
  void fail(const open_round& failed, const error& why);
  void note_change(time_point since);
  void ask(bool urgent);
  void offer();
  save_wanted next_want();
  void answer_owed(std::uint64_t up_to_ticket, const result<std::optional<town::recovery_point>>& point);
  bool has_lost_a_race() const;
  error unsaved_error(const error& why) const;
  void tick();
  void tell_health();
  void wake_at(time_point when);
  void finish();
  bool is_asked() const { return wanted_ticket_ > begun_ticket_; }
  std::optional<time_point> unsaved_since() const;
  time_point quiet_at() const;

  keeper_actor::pointer self_;
  keeper_config config_;
  std::optional<protect> protected_;
  std::map<std::string, std::string> replaces_; ///< ref → commit of the applied point, until ours is saved
  bool must_save_ = false;                      ///< a point is to be made, changed or not
  bool must_claim_ = false;                     ///< likewise, as far as the remote takes it
  std::uint64_t must_ticket_ = 0;               ///< by a save of this or a later ticket
  std::optional<town::recovery_point> applied_; ///< the last one we were told of
  watch::watch_handle watch_;
  bool polling_ = false;
  bool watches_stand_ = false; ///< the watcher has said so, or anything else
  std::optional<time_point> next_poll_, last_look_;
  std::optional<time_point> pending_since_;            ///< the oldest change that is in no open round
  std::optional<time_point> burst_began_, burst_last_; ///< changes a save was not begun for
  std::map<std::uint64_t, open_round> rounds_;
  std::uint64_t asked_ticket_ = 0, begun_ticket_ = 0;
  std::uint64_t wanted_ticket_ = 0; ///< the last that was asked for and not only offered
  std::string kind_ = "auto";       ///< of the next save
  std::vector<owed_answer> owed_;
  std::uint32_t failures_ = 0;
  std::optional<time_point> retry_at_;
  std::optional<error> failure_; ///< why it is not saved, or what was left out
  std::optional<town::recovery_point> point_;
  std::string last_saved_at_;
  std::int64_t dirty_files_ = 0;
  bool stopping_ = false, gone_ = false;
  bool unreported_ = false;
  std::optional<time_point> last_report_;
  std::optional<time_point> next_wake_;
  std::uint64_t wake_generation_ = 0;
  std::mt19937_64 random_;
};

keeper_actor::behavior_type keeper(keeper_actor::stateful_pointer<keeper_state> self, keeper_config config);

} // namespace townkeeper
