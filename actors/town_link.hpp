#pragma once

#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/secret.hpp"
#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/protection.hpp"
#include "messages/restore.hpp"
#include "messages/town.hpp"
#include "town/answer.hpp"
#include "town/routes.hpp"

namespace townkeeper {

/// One HTTP request to the town, as the transport sends it.
struct town_request {
  town::call what;
  secret token;
  std::int64_t epoch = 0; ///< 0: not booted yet, no header
};

/// Sends a request; `answered` is called exactly once, from any thread. The id of the answer is filled in by the town
/// link.
using town_transport = std::function<void(town_request, std::function<void(town_answered)> answered)>;

struct town_link_config {
  std::string instance_id;
  std::string version;
  std::string started_at;
  bool warm_disk = false;
  std::string control_url;
  secret control_token;
  secret container_token; ///< may come later
  town_transport transport;
  std::chrono::milliseconds retry_first{100};
  std::chrono::milliseconds retry_max{10'000};
  std::chrono::milliseconds heartbeat_interval{30'000};
  std::chrono::milliseconds agent_call_limit{15'000};  ///< how long an agent's call is tried
  std::chrono::milliseconds credentials_limit{45'000}; ///< how long a rig's credentials are asked for
  std::function<void(std::string_view result)> count;  ///< one ended request, for the metrics
  /// Only to tell how long credentials are good for.
  std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
  std::uint64_t seed = 0;
};

/// The conversation with the Durable Object. Owns epoch, token and the retry state of everything that is said; at most
/// one call of a kind is under way, and a newer ready report or recovery point replaces one that waits. Told: what to
/// say. Tells: the supervisor the desired state and that it is fenced, health the phase and what is in the way. Fails:
/// never by the network; it keeps trying while the container lives, with backoff and Retry-After. A 401 refreshes the
/// token once and is tried once more; what is refused even so, and everything while there is no token, waits for one,
/// and is tried again with the next heartbeat. Once fenced it says nothing more that changes the town, but what it has
/// saved: late points, and the last word of a drain. From that last word on, everything still to be said has its limit.
class town_link_state {
public:
  static inline const char* name = "town_link";

  explicit town_link_state(town_link_actor::pointer self)
      : self_(self) {}

  town_link_actor::behavior_type make_behavior(town_link_config config);

private:
  /// Gets the final answer: `data`, or why there is none, and the answer itself. An error says that the data could not
  /// be read; then the call is made again.
  using done_handler = std::function<result<void>(const result<town::answer_data>& data, const town_answered& answer)>;
  using desired_promise = caf::typed_response_promise<desired_state_answer>;
  using call_promise = caf::typed_response_promise<agent_call_answer>;
  using credentials_promise = caf::typed_response_promise<git_credentials_answer>;
  using point_promise = caf::typed_response_promise<point_reported>;
  using drained_promise = caf::typed_response_promise<drained_reported>;
  using time_point = caf::actor_clock::time_point;

  /// How long a call is tried.
  enum class patience {
    once,         ///< no second attempt, and nobody is troubled
    limited,      ///< until its deadline, or a final refusal
    forever,      ///< while the container lives, or until a final refusal
    unconditional ///< while the container lives, whatever the town says: nothing can go on without it
  };

  /// What the town is to know of one agent's points: the newest. Lives while there is something to say.
  struct agent_points {
    struct asker {
      std::pair<std::int64_t, std::int64_t> order; ///< (epoch, seq)
      point_promise promise;
    };
    std::string rig_id;
    town::recovery_point newest, said; ///< `said`: in the last attempt
    std::uint64_t id = 0;              ///< the conversation
    std::vector<asker> askers;
  };

  /// Something that is being said.
  struct conversation {
    town::call what;
    done_handler done;
    std::function<town::call()> renew{}; ///< what is said in a further attempt, where that may be newer
    patience how_long = patience::forever;
    time_point deadline{}; ///< when limited
    time_point next_try{}; ///< a timer that fires before was overtaken
    std::uint32_t failures = 0;
    std::uint64_t token_generation = 0; ///< of the token it was last sent with
    bool token_refreshed = false;       ///< its one refresh is used up
    bool waits_for_token = false;
    bool under_way = false;  ///< sent, the answer is awaited
    bool saved_work = false; ///< a point: the last word of a drain waits for it
  };

  // how anything is said
  std::uint64_t say(town::call what, patience how_long, done_handler done, std::chrono::milliseconds limit = {});
  void send(std::uint64_t id);
  void take(town_answered& answer);
  void take_success(std::uint64_t id, const town::answer_data& data, const town_answered& answer);
  void take_refusal(std::uint64_t id, const error& why, const town_answered& answer);
  void take_unauthorized(std::uint64_t id, const error& why, const town_answered& answer);
  void retry(std::uint64_t id, std::optional<std::chrono::milliseconds> retry_after, const error& why,
             const town_answered& answer);
  void retry_due(std::uint64_t id);
  void end(std::uint64_t id, const error& why, const town_answered& answer);

  // the token
  void refresh_token();
  void take_token(secret token, bool refreshed);
  void release_waiting(bool new_round);

  // the desired state
  void boot(const boot_town& to);
  result<void> take_boot(const result<town::answer_data>& data);
  void read_desired_state();
  result<void> take_desired(const result<town::answer_data>& data);
  void pass_on(town::desired_state desired);
  desired_promise reread();
  void answer_rereaders(const error& why);
  void newer_version(std::int64_t version);

  // what is said
  void ready(report_ready& r);
  void say_ready();
  result<void> take_ready(const result<town::answer_data>& data);
  void progress(report_progress& p);
  town::call ready_call();
  void not_cleared();
  void heartbeat_tick();
  void heartbeat();
  void say_heartbeat(heartbeat_facts& facts);
  result<void> take_heartbeat(const result<town::answer_data>& data);
  void completed(const report_completed& c);
  void eviction(const report_eviction& e);
  call_promise call(agent_call& c);

  // what is saved
  point_promise point(report_point& r);
  void say_point(const std::string& agent_id);
  result<void> take_point(const std::string& agent_id, const result<town::answer_data>& data,
                          const town_answered& answer);
  void say_kept(report_point r, point_promise promise);
  drained_promise drained(const report_drained& d);
  void mark_saved_work(std::uint64_t id);
  void limit_to_drain(std::uint64_t id, conversation& c);
  void points_settled();

  // credentials
  credentials_promise credentials(const git_credentials_query& q);

  // what is in the way
  static error fenced_error(const std::string& route);
  static error not_booted(const std::string& object);
  void fence();
  void in_the_way(const std::string& route, const error& why);
  void out_of_the_way(const std::string& route);
  void tell_trouble();
  void tell_phase(town::town_phase phase);

  town_link_actor::pointer self_;
  town_link_config config_;
  caf::actor_addr supervisor_, health_;
  secret token_;
  std::uint64_t token_generation_ = 1;
  std::uint64_t refresh_id_ = 0; ///< the conversation, 0 when none is under way
  std::int64_t epoch_ = 0;
  bool fenced_ = false;
  bool evicted_ = false; ///< by ourselves: the container drains

  std::int64_t version_ = -1;              ///< of the desired state that was passed on
  std::int64_t heard_of_version_ = -1;     ///< the newest that an answer named
  std::uint64_t reading_id_ = 0;           ///< the conversation, 0 when none is under way
  std::vector<desired_promise> rereaders_; ///< answered by the read under way
  /// Came while it was under way: its answer may be older than their question.
  std::vector<desired_promise> next_rereaders_;

  std::optional<town::ready_report> last_ready_; ///< the newest there is
  std::int64_t last_ready_number_ = 0;           ///< its number; said again, it keeps it
  std::uint64_t ready_id_ = 0;                   ///< its conversation, 0 when none is under way
  bool ready_unsaid_ = false;                    ///< the town has not been sent the newest
  std::optional<std::string> drain_nonce_;       ///< the town takes this container for evicted
  std::optional<std::string> said_nonce_;        ///< of the last report that was said
  bool heartbeat_under_way_ = false;
  bool progress_under_way_ = false;

  std::map<std::string, agent_points> points_;                       ///< by agent
  std::optional<time_point> drain_ends_;                             ///< nothing is said any more after it
  std::vector<std::pair<drained_promise, result<void>>> last_words_; ///< answered when no point is unsaid

  std::map<std::string, error> troubles_; ///< by route
  std::optional<error> told_;             ///< what health knows
  std::map<std::uint64_t, conversation> conversations_;
  std::uint64_t last_id_ = 0;
  std::mt19937_64 random_;
};

town_link_actor::behavior_type town_link(town_link_actor::stateful_pointer<town_link_state> self,
                                         town_link_config config);

} // namespace townkeeper
