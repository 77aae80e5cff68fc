#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>

#include "messages/interfaces.hpp"
#include "messages/lifecycle.hpp"
#include "messages/restore.hpp"
#include "messages/town.hpp"

namespace townkeeper::cli {

/// How HTTP asks the actors. Thread-safe; never waits. Before `open` and after `close`, every question is answered at
/// once with `unavailable`.
class actor_gateway {
public:
  template <class Answer>
  using answered = std::function<void(result<Answer>)>;

  /// `system` must live until `close` has returned.
  void open(caf::actor_system& system, supervisor_actor supervisor, town_link_actor town);
  void close();

  void start(town::start_request wanted, answered<start_answer> done);
  void stop(std::string agent_id, answered<stop_answer> done);
  void status(std::string agent_id, answered<agent_status_answer> done);
  void snapshot(snapshot_query query, answered<snapshot_answer> done);
  void credentials(git_credentials_query query, answered<git_credentials_answer> done);
  void call_town(agent_call call, answered<agent_call_answer> done);

  /// Has the daemon end as a signal would; false where there is nobody to tell.
  bool drain(std::string reason);

  /// Hands a new container token to the town link; false where there is none yet.
  bool take_token(const secret& token);

  /// The town waits 10 s for the answer to a start; one that takes longer is 503, and the next finds the agent running.
  static constexpr std::chrono::seconds start_limit{9};
  /// Longer than the town link tries.
  static constexpr std::chrono::seconds town_limit{20};
  static constexpr std::chrono::seconds credentials_limit{50};
  /// Longer than the greatest `protect.save_deadline`.
  static constexpr std::chrono::seconds snapshot_limit{310};
  static constexpr std::chrono::seconds other_limit{10};

private:
  struct actors {
    caf::actor_system* system;
    supervisor_actor supervisor;
    town_link_actor town;
  };
  std::mutex mutex_;
  std::optional<actors> actors_;

  template <class Answer, class Pick, class Message>
  void put(Pick pick, std::chrono::seconds limit, Message message, answered<Answer> done);
};

} // namespace townkeeper::cli
