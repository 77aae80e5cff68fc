#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json.hpp"
#include "tests/support/town.hpp"

namespace townkeeper::contract {

/// How a call ended: the HTTP status and, of a refusal, its stable word.
struct verdict {
  int status = 0;
  std::string code = {};

  friend bool operator==(const verdict&, const verdict&) = default;
  friend std::ostream& operator<<(std::ostream& out, const verdict& v);
};

inline const verdict ok{200};
inline const verdict fenced{409, "fenced"};
inline const verdict invalid_body{400, "invalid_body"};

struct answer {
  int status = 0;
  std::map<std::string, std::string> headers = {}; ///< names in lower case
  json body = {};
  std::string raw = {}; ///< the body as it came

  json data() const { return body["data"]; }
  contract::verdict verdict() const;

  /// The paths of a validation error, in the order given.
  std::vector<std::string> paths() const;
};

/// What a call is sent with.
struct call {
  std::string body = {};
  std::string token = {}; ///< none: no Authorization header
  std::optional<std::string> epoch = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
};

/// One town of its own on a workerd, and everything an operator and a container say to it.
///
/// Whatever comes back is held against the envelope of the contract: JSON, `success` and `data`, or `success`, `error`,
/// `code` and, for a 400, `issues`. Short words (`boot`, `put_agent`, …) fail the test when the town refuses.
class session {
public:
  explicit session(const test::town& host);

  const std::string& town_id() const noexcept { return town_id_; }
  std::string container_token() const { return host_.mint(town_id_, "container"); }
  std::string admin_token() const { return host_.mint(town_id_, "admin"); }

  /// `path` is what follows `/api/towns/{townId}`.
  answer send(const std::string& method, const std::string& path, const call& with = {}) const;

  /// With a token of scope admin and no epoch.
  answer admin(const std::string& method, const std::string& path, const std::string& body = "") const;

  /// As the container that booted last: with its token and epoch.
  answer container(const std::string& method, const std::string& path, const std::string& body = "") const;

  /// As the container of an epoch, or as a client that knows no epochs.
  answer as_epoch(std::int64_t epoch, const std::string& method, const std::string& path,
                  const std::string& body = "") const;
  answer without_epoch(const std::string& method, const std::string& path, const std::string& body = "") const;

  /// As `container` (or as admin, for `/mail`), with an Idempotency-Key.
  answer keyed(const std::string& key, const std::string& path, const std::string& body) const;

  void put_rig(const std::string& rig = "rig", const std::string& git_url = "https://git.example/rig.git") const;

  /// Into rig `rig`, pending, on a branch of its own; `body` from `agent_body`.
  void put_agent(const std::string& agent, std::optional<std::string> body = {}, const std::string& rig = "rig") const;

  /// Boots a container and goes on as it. Answers its epoch.
  std::int64_t boot(const std::string& instance = "instance-1", const std::string& control_url = "");

  /// Says ready for the booted container.
  json ready(const std::string& outcome, const std::vector<std::string>& reports,
             const std::optional<std::string>& nonce = {}) const;

  /// Boots and reports the agents restored.
  void boot_ready(const std::vector<std::string>& agents, const std::string& control_url = "",
                  const std::string& instance = "instance-1");

  std::int64_t epoch() const noexcept { return epoch_; }
  const std::string& instance() const noexcept { return instance_; }

  json state() const;                               ///< GET /state
  json agent_state(const std::string& agent) const; ///< out of GET /state
  std::string status_of(const std::string& agent) const;
  json desired_state() const;                         ///< GET /desired-state
  json desired_agent(const std::string& agent) const; ///< missing when it is not listed
  json prime(const std::string& agent) const;
  json dispatches(std::int64_t after = 0) const;

private:
  const test::town& host_;
  std::string town_id_;
  std::string instance_;
  std::int64_t epoch_ = 0;
};

/// The path of an agent of rig `rig`, with what follows it.
std::string agent_path(const std::string& agent, const std::string& rest = "", const std::string& rig = "rig");

/// The workerd that the tests of one executable share.
const test::town& shared_town();

/// Another one, whose clock runs `scale` times as fast.
const test::town& fast_town(int scale);

/// Asks again every 5 ms until it holds; false at the deadline.
bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds deadline = std::chrono::seconds{10});

} // namespace townkeeper::contract
