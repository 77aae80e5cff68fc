#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/secret.hpp"

/// Everything an operator can set, read once at start. The member initialisers below are the defaults; names,
/// environment variables, ranges and help texts stand in one table (settings.hpp) that is checked against this struct,
/// the JSON Schema, config/townkeeper.json and the README by tests.
namespace townkeeper::config {

/// Where the control server listens.
struct listen_address {
  std::string host = "0.0.0.0"; ///< an IPv4 or IPv6 literal, without brackets
  std::uint16_t port = 8080;    ///< 0: any free port; the bound one stands in control.json
  friend bool operator==(const listen_address&, const listen_address&) = default;
};

/// The conversation with the Town Durable Object.
struct town_settings {
  std::string api_url;    ///< http(s) base without `/api/towns`; no default: `run` needs it (GASTOWN_API_URL)
  std::string id;         ///< an id of CONTRACT.md; no default: `run` needs it (GASTOWN_TOWN_ID)
  secret container_token; ///< may be absent at start: `POST /refresh-token` supplies it (GASTOWN_CONTAINER_TOKEN)
  std::filesystem::path ca_file;                     ///< PEM bundle for the town's https; empty: the system's
  std::chrono::milliseconds connect_timeout{10'000}; ///< 100 ms to 5 min
  std::chrono::milliseconds request_timeout{30'000}; ///< one request, connect included; 1 s to 10 min
  std::chrono::milliseconds retry_first{100};        ///< first pause after a failed call; 1 ms to 1 min
  std::chrono::milliseconds retry_max{10'000};       ///< the pause doubles up to this; 1 ms to 10 min
  std::chrono::milliseconds heartbeat_interval{
      30'000}; ///< 1 s to 80 s (after 90 s the town takes a container for dead)
};

/// How the town and the operator reach this container.
struct control_settings {
  secret token;    ///< what the town must send on control calls; absent: `run` makes 32 random bytes
  std::string url; ///< http(s) base said to the town at boot; empty: `http://<listen address>`
};

/// Limits of the control server.
struct http_settings {
  std::chrono::milliseconds header_timeout{5'000}; ///< a request's header must be complete by then; 100 ms to 5 min
  std::chrono::milliseconds idle_timeout{30'000};  ///< a connection without a request is closed; 100 ms to 1 h
  std::uint64_t header_limit_bytes = 16 * 1024;    ///< 1 KiB to 1 MiB
  std::uint64_t body_limit_bytes = 1024 * 1024;    ///< 1 KiB to 64 MiB
  std::uint32_t max_connections = 1024;            ///< 1 to 65,536
};

/// What remotes are spoken to, and how long.
struct git_settings {
  std::vector<std::string> allow_http;               ///< hosts that may be reached over plain http; loopback always may
  bool allow_file = false;                           ///< `file://` remotes (tests, demo)
  std::filesystem::path ca_file;                     ///< PEM bundle for remotes; empty: the system's
  std::chrono::milliseconds connect_timeout{10'000}; ///< 100 ms to 5 min
  std::chrono::milliseconds stall_timeout{15'000};   ///< no byte for this long ends an attempt; 100 ms to 10 min
  std::chrono::milliseconds attempt_timeout{300'000}; ///< one attempt in all; 1 s to 24 h
  std::string username =
      "x-access-token"; ///< goes with `token`; `oauth2` when that came from GITLAB_TOKEN and nothing else was set
  secret token;         ///< for rigs whose token the town does not hold (GIT_TOKEN, else GITLAB_TOKEN)
};

/// Lanes and retries of a restore.
struct restore_settings {
  std::uint32_t network_jobs = 32;                ///< fetches at once, one per rig; 1 to 256
  std::uint32_t disk_jobs = 0;                    ///< worktrees written at once; 0: one per core; up to 256
  std::uint32_t attempts = 5;                     ///< fetches of one rig before it settles as failed; 1 to 100
  std::chrono::milliseconds backoff_first{250};   ///< 1 ms to 1 min
  std::chrono::milliseconds backoff_max{30'000};  ///< 1 ms to 1 h
  std::chrono::milliseconds retry_failed{60'000}; ///< what settled as failed is tried again; 1 s to 24 h
  std::chrono::milliseconds no_byte_limit{
      60'000}; ///< a rig without any byte for this long in all settles as failed; 1 s to 1 h
};

/// One-for-one supervision of rig, worktree and agent actors.
struct supervision_settings {
  std::uint32_t intensity = 5;                    ///< crashes within `window` before an actor is failed; 1 to 1,000
  std::chrono::milliseconds window{60'000};       ///< 1 s to 1 h
  std::chrono::milliseconds backoff_first{250};   ///< 1 ms to 1 min
  std::chrono::milliseconds backoff_max{30'000};  ///< 1 ms to 1 h
  std::chrono::milliseconds retry_failed{60'000}; ///< a failed actor is started again; 1 s to 24 h
};

/// Saving what agents have not committed or not pushed.
struct protect_settings {
  bool enabled = true;
  std::chrono::milliseconds push_interval{10'000}; ///< between the starts of two pushes of a rig; 100 ms to 1 h
  std::chrono::milliseconds quiet{2'000};          ///< a push is wanted after this long without a change; 0 to 1 min
  std::chrono::milliseconds latest{8'000};        ///< … and at the latest this long after the first; 100 ms to 10 min
  std::chrono::milliseconds poll_interval{5'000}; ///< where the kernel has no watch to give; 100 ms to 1 h
  std::chrono::milliseconds backoff_first{1'000}; ///< after a save that failed; 1 ms to 1 min
  std::chrono::milliseconds backoff_max{60'000};  ///< 1 ms to 1 h
  std::uint64_t file_limit_bytes = 95ULL << 20;   ///< a larger file is left out; 1 KiB to 16 GiB
  std::uint64_t point_limit_bytes = 1ULL << 30;   ///< of new content in one point; 1 MiB to 64 GiB
  std::uint32_t untracked_limit = 20'000;         ///< untracked files in one point; 0 to 10,000,000
  std::vector<std::string> include;               ///< gitignore(5) patterns of ignored files to save all the same
  std::chrono::milliseconds save_deadline{10'000}; ///< one save in a drain or on demand; 1 s to 5 min
};

/// Agent processes.
struct agent_settings {
  std::vector<std::string> command; ///< argv with placeholders (agent_command.hpp); empty: nothing can be started
  std::chrono::milliseconds stop_grace{10'000};   ///< from SIGTERM to SIGKILL; 0 to 1 h
  std::chrono::milliseconds drain_limit{840'000}; ///< the same when the container is to end; 0 to 24 h
  std::uint64_t log_max_bytes = 10 * 1024 * 1024; ///< of one log file; 4 KiB to 1 GiB
  std::uint32_t log_files = 5;                    ///< kept per agent, the current one included; 1 to 100
  /// Variables of the daemon's own environment that agents get as well. Never one that holds a secret of the daemon.
  std::vector<std::string> environment{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TERM", "TMPDIR"};
};

enum class log_format { json, text };
enum class log_level { debug, info, warn, error };

struct log_settings {
  log_format format = log_format::json; ///< one JSON object a line, or text for people; on stderr
  log_level level = log_level::info;
};

struct config {
  std::filesystem::path workspace = "/workspace"; ///< rigs, worktrees and `.townkeeper` live below; absolute
  listen_address listen;
  town_settings town;
  control_settings control;
  http_settings http;
  git_settings git;
  restore_settings restore;
  supervision_settings supervision;
  protect_settings protect;
  agent_settings agents;
  log_settings log;

  /// Where each value that is not a default came from: key → "flag --x", "environment X" or "file PATH".
  std::map<std::string, std::string, std::less<>> origins;
};

/// What `load` reads. `environment` and `flags` are given so that a test needs no process of its own.
struct sources {
  /// `--config`. Absent: the variable TOWNKEEPER_CONFIG, else no file at all.
  std::optional<std::filesystem::path> file;
  /// The whole environment. An empty value counts as not set.
  std::map<std::string, std::string, std::less<>> environment;
  /// Flags as they were given: name with dashes ("--listen"), value. The last one of a name wins.
  std::vector<std::pair<std::string, std::string>> flags;
};

/// Flag > environment > file > default. An unknown flag, key or `TOWNKEEPER_` variable, a value out of range, a syntax
/// error (with line and column) or an unreadable file is `error_code::invalid_config`; `object` names the key, flag,
/// variable or file, the message where it stood and what is accepted. No message shows the value of a secret. Reads one
/// file; touches nothing else.
result<config> load(const sources& from);

/// What `run` needs beyond a readable configuration: town.api_url and town.id. The message names both forms of what is
/// missing.
result<void> check_runnable(const config& c);

/// One JSON object: key → `{"value": …, "origin": "default"|"file …"|"environment …"|"flag …"}`, in the table's order,
/// secrets as "***" (null when absent).
std::string describe(const config& c);

} // namespace townkeeper::config
