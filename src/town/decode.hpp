#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/secret.hpp"
#include "town/answer.hpp"
#include "town/model.hpp"

/// JSON from the town, and from those who call the control server, as values. Every error is `corrupt` for an answer
/// and `invalid_argument` for a request's body; `message` names the path within the body and the rule, never the value.
namespace townkeeper::town {

/// The desired state. One bad entry (wrong type, hostile id, branch or URL, an id or branch that stands twice) is set
/// aside with its reason and the others go on; a rig that is set aside takes its agents with it. A whole that cannot be
/// read (no version, rigs that are no array) is an error: never an empty town.
result<desired_state> decode_desired_state(const answer_data& data);

/// `epoch` is at least 1, and the desired state as above.
result<boot_answer> decode_boot_answer(const answer_data& data);

result<ready_answer> decode_ready_answer(const answer_data& data);
result<heartbeat_answer> decode_heartbeat_answer(const answer_data& data);

/// `POST /rigs/{r}/refresh-git-token`.
struct git_token {
  secret token;
  std::string username = "x-access-token";
  std::optional<std::chrono::system_clock::time_point>
      expires_at; ///< absent where none was given, or none that could be read
};
result<git_token> decode_git_token(const answer_data& data);

/// `POST /refresh-container-token`.
result<secret> decode_container_token(const answer_data& data);

/// One recovery point by itself, as `encode(const recovery_point&)` writes it. `commit` is what names it where the text
/// cannot (a point that lies in the very commit it is part of). Errors: `corrupt`.
result<recovery_point> decode_recovery_point(std::string_view json, const std::optional<std::string>& commit = {});

/// An agent that has said done and holds no work.
struct finished_agent {
  std::string rig_id, agent_id;
  std::optional<std::string> recovery_commit; ///< of the point that the town would ask for
  friend bool operator==(const finished_agent&, const finished_agent&) = default;
};
/// Of `GET /state`: who is finished. An agent whose entry cannot be read is not.
result<std::vector<finished_agent>> decode_finished_agents(const answer_data& data);

/// Of `GET /state`: the epoch of the container that lives; nothing: none does.
result<std::optional<std::int64_t>> decode_live_epoch(const answer_data& data);

/// The body of `POST /agents/start`. Ids, branches, URL and identity follow the rules of the desired state; names of
/// variables are
/// `[A-Za-z_][A-Za-z0-9_]*`. Fields that are not named in the contract are ignored.
result<start_request> decode_start_request(std::string_view body);

/// The body of the control server's `POST /refresh-token`.
struct token_refresh {
  secret token;
  std::optional<std::string> town_id;
};
result<token_refresh> decode_token_refresh(std::string_view body);

/// The body of the control server's `POST /snapshot`: whose work is to be saved; nothing, also for an empty body:
/// everyone's.
result<std::optional<std::string>> decode_snapshot_request(std::string_view body);

/// `2026-11-22T12:00:00Z`, with or without a fraction of a second, or with an offset (`+01:00`) in place of `Z` (RFC
/// 3339), of the years 1678 to 2261.
std::optional<std::chrono::system_clock::time_point> parse_time(std::string_view text);

} // namespace townkeeper::town
