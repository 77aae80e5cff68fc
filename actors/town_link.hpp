#pragma once

#include <caf/actor_clock.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "actors/retry_policy.hpp"
#include "core/secret.hpp"
#include "messages/health.hpp"
#include "messages/interfaces.hpp"
#include "messages/restore.hpp"
#include "messages/town.hpp"
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
  std::string town_id;
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
  std::chrono::milliseconds agent_call_limit{15'000}; ///< how long an agent's call is tried
  std::function<void(std::string_view result)> count; ///< one ended request, for the metrics
  std::uint64_t seed = 0;
};

/// The conversation with the Durable Object. Owns epoch, token and the retry state of everything that is said; at most
/// one call of a kind is under way, and a newer ready or progress report replaces one that waits. Told: what to say.
/// Tells: the supervisor the desired state and that it is fenced, health the phase and what is in the way. Fails: never
/// by the network; it keeps trying while the container lives, with backoff and Retry-After. A 401 refreshes the token
/// once and is tried once more.
class town_link_state {
public:
  static inline const char* name = "town_link";

  explicit town_link_state(town_link_actor::pointer self)
      : self_(self) {}

  town_link_actor::behavior_type make_behavior(town_link_config config);

private:
  using done_handler = std::function<void(const town_answered&)>;
  using desired_promise = caf::typed_response_promise<desired_state_answer>;
  using call_promise = caf::typed_response_promise<agent_call_answer>;
  using credentials_promise = caf::typed_response_promise<git_credentials_answer>;

  /// Something that is being said.
  struct conversation {
    town::call what;
    done_handler done;   ///< gets the final answer
    bool forever = true; ///< try while the container lives; else until `deadline`
    caf::actor_clock::time_point deadline{};
    std::uint32_t failures = 0;
    bool token_refreshed = false; ///< its one refresh is used up
    bool waits_for_token = false;
    bool under_way = false; ///< sent, the answer is awaited
  };

  std::uint64_t say(town::call what, done_handler done, std::optional<std::chrono::milliseconds> limit = std::nullopt);
  void send(std::uint64_t id);
  void take(town_answered& answer);
  void retry(std::uint64_t id, std::optional<std::chrono::milliseconds> retry_after, const error& why);
  void end(std::uint64_t id, const town_answered& answer);
  void refresh_token(std::uint64_t for_id);
  void take_token(secret token);
  void release_waiting();

  void boot(const boot_town& to);
  void take_boot(const town_answered& answer);
  void read_desired_state();
  void take_desired(const town_answered& answer);
  void pass_on(town::desired_state desired);
  desired_promise reread();
  void ready(report_ready& r);
  void say_ready();
  void take_ready(const town_answered& answer);
  void progress(const report_progress& p);
  void heartbeat();
  void take_heartbeat(const town_answered& answer);
  void completed(const report_completed& c);
  void eviction(const report_eviction& e);
  call_promise call(const agent_call& c);
  credentials_promise credentials(const git_credentials_query& q);
  void fence();
  void newer_version(std::int64_t version);
  void tell_trouble(std::optional<error> why);

  town_link_actor::pointer self_;
  town_link_config config_;
  caf::actor_addr supervisor_, health_;
  secret token_;
  std::int64_t epoch_ = 0;
  std::int64_t version_ = -1; ///< of the desired state that was passed on
  bool fenced_ = false;
  bool refreshing_ = false;
  bool troubled_ = false;
  bool progress_under_way_ = false;
  bool reading_ = false;
  std::optional<std::string> drain_nonce_;
  std::optional<town::ready_report> unsaid_ready_; ///< the newest that the town has not heard
  bool ready_under_way_ = false;
  std::vector<desired_promise> rereaders_;
  std::map<std::uint64_t, conversation> conversations_;
  std::uint64_t last_id_ = 0;
  std::mt19937_64 random_;
};

town_link_actor::behavior_type town_link(town_link_actor::stateful_pointer<town_link_state> self,
                                         town_link_config config);

} // namespace townkeeper
