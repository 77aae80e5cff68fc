#include "model_town.hpp"

#include <rapidjson/document.h>

#include <algorithm>
#include <utility>

#include "core/bounded_json.hpp"
#include "model_world.hpp"
#include "town/codec.hpp"
#include "town/decode.hpp"

namespace townkeeper::simulation {
namespace {

using namespace std::chrono_literals;

constexpr auto live_time = 90s;
constexpr auto stalled_retry = 60s;
constexpr int start_attempts = 5;

std::string success(const std::string& data) {
  return R"({"success":true,"data":)" + data + "}";
}
model_town::reply refusal(int status, const std::string& code) {
  return {status, R"({"success":false,"error":"because","code":")" + code + "\"}"};
}

std::chrono::milliseconds backoff(int failures) {
  return std::chrono::milliseconds{std::min(60'000, 2'000 << std::min(failures - 1, 16))};
}

/// The last but one segment of /rigs/{r}/agents/{a}/{what}.
std::string agent_of_path(const std::string& path) {
  const auto end = path.rfind('/');
  const auto begin = path.rfind('/', end - 1) + 1;
  return path.substr(begin, end - begin);
}

bool is_greater(const town::recovery_point& a, const town::recovery_point& b) {
  return std::pair{a.epoch, a.seq} > std::pair{b.epoch, b.seq};
}

} // namespace

std::string text_of(const rapidjson::Value& value, const char* key) {
  const auto it = value.FindMember(key);
  return it != value.MemberEnd() && it->value.IsString() ? it->value.GetString() : "";
}

// -- what it holds ----------------------------------------------------------------------------------------------------

bool model_town::has_heard_ready() const {
  return !containers_.empty() && containers_.rbegin()->second.outcome == "ready";
}

std::optional<model_town::time_point> model_town::drained_at(std::int64_t epoch) const {
  const auto it = containers_.find(epoch);
  return it == containers_.end() ? std::nullopt : it->second.drained_at;
}

bool model_town::all_at_work() const {
  return std::all_of(agents_.begin(), agents_.end(),
                     [](const auto& a) { return a.second.status == "working" || a.second.status == "idle"; });
}

const std::optional<town::recovery_point>& model_town::recovery_of(const std::string& agent_id) const {
  return agents_.at(agent_id).recovery;
}

std::string model_town::token() const {
  return "token-" + std::to_string(token_);
}

void model_town::add_agent(const std::string& rig_id, const std::string& agent_id) {
  auto& row = agents_[agent_id];
  row.rig_id = rig_id;
  row.status = "restoring";
  row.dispatch_id.clear();
  row.due_at.reset();
  changed_agents();
}

void model_town::finish_agent(const std::string& agent_id) {
  auto& row = agents_.at(agent_id);
  row.status = "idle";
  row.due_at.reset();
  row.dispatch_id.clear();
  changed_agents();
}

void model_town::changed_agents() {
  auto& listed = listed_[++version_];
  for (const auto& [agent_id, row] : agents_)
    if (row.status != "idle") listed.insert(agent_id);
}

bool model_town::is_live(const container_row& row) const {
  return !row.drained_at && world_.now() - row.heard_at <= live_time;
}

void model_town::write_agent(std::string& out, const std::string& agent_id, const agent_row& row) const {
  out += R"({"agentId":")" + agent_id + R"(","name":")" + agent_id +
         R"(","role":"polecat","identity":"Agent","status":")" + row.status + R"(","branch":"work/)" + agent_id +
         R"(","headCommit":")" + std::string(40, 'b') + R"(","priority":0)";
  if (row.recovery) out += R"(,"recovery":)" + town::encode(*row.recovery);
  if (row.maybe_lost_seconds) out += R"(,"maybeLostSeconds":)" + std::to_string(*row.maybe_lost_seconds);
  out += R"(,"kept":[)";
  for (auto it = row.kept.begin(); it != row.kept.end(); ++it)
    out += (it == row.kept.begin() ? "" : ",") + town::encode(it->second);
  out += "]}";
}

std::string model_town::desired_state() const {
  std::string out = R"({"version":)" + std::to_string(version_) + R"(,"epoch":)" + std::to_string(epoch());
  if (const auto before = containers_.find(epoch() - 1);
      before != containers_.end() && before->second.live_at_succession && !before->second.drained_at)
    out += R"(,"predecessor":{"epoch":)" + std::to_string(before->first) + R"(,"draining":)" +
           (before->second.evicted ? "true" : "false") + R"(,"since":"2026-01-01T00:00:00Z"})";
  out += R"(,"rigs":[)";
  bool first = true;
  for (const auto& [rig_id, remote] : world_.remotes) {
    out += (std::exchange(first, false) ? R"({"rigId":")" : R"(,{"rigId":")") + rig_id + R"(","name":")" + rig_id +
           R"(","gitUrl":")" + remote.url + R"(","defaultBranch":"main","agents":[)";
    bool first_agent = true;
    for (const auto& [agent_id, row] : agents_) {
      if (row.rig_id != rig_id || row.status == "idle") continue;
      if (!std::exchange(first_agent, false)) out += ",";
      write_agent(out, agent_id, row);
    }
    out += "]}";
  }
  return out + "]}";
}

// -- routes -----------------------------------------------------------------------------------------------------------

model_town::reply model_town::handle(const town_request& request) {
  const auto& what = request.what;
  const auto& route = what.route;
  if (route == "refresh-container-token") return {200, success(R"({"token":")" + token() + "\"}")};
  if (request.token.reveal() != token()) return refusal(401, "token_expired");
  if (const auto it = containers_.find(request.epoch); it != containers_.end()) it->second.heard_at = world_.now();
  if (route == "container-boot") return boot(what.body);
  if (route == "desired-state") return {200, success(desired_state())};
  if (route == "refresh-git-token") return refusal(404, "not_found");
  if (what.method == "GET") return {200, success("{}")};
  // Every other write is fenced; without a header while a container is live as well.
  const bool is_fenced = request.epoch == 0 ? !containers_.empty() && is_live(current()) : request.epoch != epoch();
  if (is_fenced) {
    if (route == "recovery-point") {
      if (request.epoch != 0) record_point(agent_of_path(what.path), what.body, true, false);
    } else if (route == "container-drained" && request.epoch != 0 && request.epoch == epoch() - 1) {
      return drained_late(containers_.at(request.epoch), what.body);
    }
    return refusal(409, "fenced");
  }
  if (route == "container-ready") return ready(what.body);
  if (route == "container-heartbeat") return heartbeat();
  if (route == "container-eviction") return evict();
  if (route == "container-drained") return drained(current(), what.body);
  if (route == "recovery-point") return record_point(agent_of_path(what.path), what.body, false, false);
  if (route == "kept") return record_point(agent_of_path(what.path), what.body, false, true);
  if (route == "completed") return completed(agent_of_path(what.path), what.body);
  return {200, success("{}")};
}

model_town::reply model_town::boot(const std::string& body) {
  rapidjson::Document doc;
  if (parse_bounded(body, doc)) return refusal(400, "invalid_body");
  const auto instance = text_of(doc, "instanceId");
  const auto same = std::find_if(containers_.begin(), containers_.end(),
                                 [&](const auto& c) { return c.second.instance_id == instance; });
  if (same != containers_.end() && same->first != epoch()) return refusal(409, "fenced");
  if (same == containers_.end()) {
    if (!containers_.empty()) {
      note_losses(current());
      current().live_at_succession = is_live(current());
    }
    const auto next = epoch() + 1;
    containers_[next].instance_id = instance;
    world_.note("town: epoch " + std::to_string(next) + " is that of " + instance);
    for (auto& [agent_id, row] : agents_) {
      if (row.status == "idle") continue;
      row.status = "restoring";
      row.attempts = row.refusals = row.restarts = 0;
      row.due_at.reset();
      row.dispatch_id.clear();
    }
  }
  current().heard_at = world_.now();
  return {200, success(R"({"epoch":)" + std::to_string(epoch()) + R"(,"desiredState":)" + desired_state() + "}")};
}

/// An agent that was still being restored there keeps what an earlier loss left it with.
void model_town::note_losses(const container_row& before) {
  constexpr double most = 90;
  const double since = std::chrono::duration<double>(world_.now() - before.heard_at).count();
  for (auto& [agent_id, row] : agents_) {
    if (row.status == "idle" || row.status == "restoring") continue;
    row.maybe_lost_seconds.reset();
    if (!before.drained_at || before.drained_unsaved.contains(agent_id)) row.maybe_lost_seconds = std::min(most, since);
  }
}

model_town::reply model_town::ready(const std::string& body) {
  rapidjson::Document doc;
  if (parse_bounded(body, doc)) return refusal(400, "invalid_body");
  auto& container = current();
  const auto answer = [&](bool cleared) -> reply {
    return {200, success(std::string(R"({"cleared":)") + (cleared ? "true" : "false") +
                         R"(,"pending":0,"desiredVersion":)" + std::to_string(version_) + "}")};
  };
  const auto number = doc["report"].GetInt64();
  if (number < container.last_report) return answer(!container.evicted); // it comes late
  container.last_report = number;
  const bool cleared = !container.evicted || text_of(doc, "nonce") == container.nonce;
  if (cleared) container.evicted = false;
  container.outcome = text_of(doc, "outcome");
  for (const auto& report : doc["agents"].GetArray())
    apply_report(text_of(report, "agentId"), text_of(report, "outcome"), container.outcome != "partial");
  for (auto& [agent_id, row] : agents_)
    if (row.status == "stalled") row.due_at = world_.now();
  arm();
  return answer(cleared);
}

void model_town::apply_report(const std::string& agent_id, const std::string& outcome, bool settled) {
  const auto it = agents_.find(agent_id);
  if (it == agents_.end() || outcome == "restoring" || it->second.status == "idle") return;
  auto& row = it->second;
  row.report_outcome = outcome;
  row.report_epoch = epoch();
  const bool restored = outcome == "restored" || outcome == "recovered" || outcome == "diverged";
  if (!restored) {
    if (row.status == "pending" || row.status == "stalled") {
      row.status = "restoring";
      row.dispatch_id.clear();
      row.due_at.reset();
    }
  } else if (row.status == "restoring") {
    row.status = "pending";
    row.attempts = row.refusals = 0;
    row.due_at = world_.now();
  } else if (row.status == "pending" && settled && row.refusals > 0) {
    row.due_at = world_.now();
  }
}

model_town::reply model_town::heartbeat() {
  const auto& container = current();
  return {200, success(R"({"desiredVersion":)" + std::to_string(version_) +
                       (container.evicted ? R"(,"drainNonce":")" + container.nonce + "\"}" : "}"))};
}

model_town::reply model_town::evict() {
  auto& container = current();
  if (container.nonce.empty()) container.nonce = "nonce-" + std::to_string(++last_nonce_);
  container.evicted = true;
  return {200, success(R"({"acknowledged":true,"drainNonce":")" + container.nonce + "\"}")};
}

model_town::reply model_town::drained(container_row& row, const std::string& body) {
  rapidjson::Document doc;
  if (parse_bounded(body, doc)) return refusal(400, "invalid_body");
  if (!row.drained_at) row.drained_at = world_.now();
  row.drained_unsaved.clear();
  for (const auto& agent : doc["agents"].GetArray())
    if (!agent["saved"].GetBool()) row.drained_unsaved.insert(text_of(agent, "agentId"));
  return {200, success(R"({"recorded":true})")};
}

/// What the container before this one saved at last is not lost after all.
model_town::reply model_town::drained_late(container_row& row, const std::string& body) {
  auto said = drained(row, body);
  rapidjson::Document doc;
  if (parse_bounded(body, doc)) return said;
  for (const auto& agent : doc["agents"].GetArray())
    if (const auto it = agents_.find(text_of(agent, "agentId")); agent["saved"].GetBool() && it != agents_.end())
      it->second.maybe_lost_seconds.reset();
  return said;
}

model_town::reply model_town::record_point(const std::string& agent_id, const std::string& body, bool late, bool kept) {
  const auto point = town::decode_recovery_point(body);
  const auto it = agents_.find(agent_id);
  if (!point) return refusal(400, "invalid_body");
  if (it == agents_.end()) return refusal(404, "unknown_agent");
  auto& row = it->second;
  if (late || kept) {
    if (!row.recovery || row.recovery->commit != point->commit) row.kept.insert_or_assign(point->commit, *point);
    return {200, success(R"({"recorded":true})")};
  }
  if (!row.recovery || is_greater(*point, *row.recovery)) row.recovery = *point;
  return {200, success(R"({"recorded":true})")};
}

model_town::reply model_town::completed(const std::string& agent_id, const std::string& body) {
  const reply answer{200, success(R"({"completed":true})")};
  rapidjson::Document doc;
  const auto it = agents_.find(agent_id);
  if (parse_bounded(body, doc) || it == agents_.end()) return refusal(400, "invalid_body");
  auto& row = it->second;
  if (current().evicted || current().drained_at) return answer;
  const auto known = dispatches_.find(text_of(doc, "dispatchId"));
  if (known == dispatches_.end() || std::exchange(known->second, true)) return answer;
  if (row.status != "working" && row.dispatch_id.empty()) return answer;
  if (row.status == "idle") return answer;
  const bool whole = row.report_epoch != epoch() || row.report_outcome == "restored" ||
                     row.report_outcome == "recovered" || row.report_outcome == "diverged";
  row.status = whole ? "pending" : "restoring";
  row.dispatch_id.clear();
  ++row.restarts;
  row.due_at.reset();
  if (whole) row.due_at = world_.now() + backoff(row.restarts);
  arm();
  return answer;
}

// -- the alarm --------------------------------------------------------------------------------------------------------

bool model_town::callable() const {
  if (containers_.empty()) return false;
  const auto& newest = containers_.rbegin()->second;
  return !newest.evicted && !newest.drained_at;
}

void model_town::arm() {
  std::optional<time_point> due;
  for (const auto& [agent_id, row] : agents_)
    if (row.due_at && !row.calling && (row.status == "pending" || row.status == "stalled") &&
        (!due || *row.due_at < *due))
      due = row.due_at;
  if (!due || !callable() || (alarm_ && *alarm_ <= *due)) return;
  alarm_ = due;
  const auto pause = std::max(*due - world_.now(), time_point::duration::zero());
  world_.later(std::chrono::duration_cast<std::chrono::milliseconds>(pause) + 1ms, [this, mine = incarnation_] {
    if (mine == incarnation_) run_alarm();
  });
}

void model_town::run_alarm() {
  alarm_.reset();
  if (!callable()) return;
  for (auto& [agent_id, row] : agents_)
    if (row.due_at && *row.due_at <= world_.now() && !row.calling &&
        (row.status == "pending" || row.status == "stalled"))
      dispatch(agent_id, row);
  arm();
}

void model_town::dispatch(const std::string& agent_id, agent_row& row) {
  if (row.dispatch_id.empty()) row.dispatch_id = "d" + std::to_string(++last_dispatch_);
  dispatches_.try_emplace(row.dispatch_id, false);
  row.calling = true;
  world_.call_start(epoch(), row.rig_id, agent_id, row.dispatch_id,
                    [this, agent_id, mine = incarnation_, said_to = epoch(), id = row.dispatch_id](int status) {
                      if (mine == incarnation_) apply_start(agent_id, said_to, id, status);
                    });
}

void model_town::apply_start(const std::string& agent_id, std::int64_t said_to, const std::string& dispatch_id,
                             int status) {
  auto& row = agents_.at(agent_id);
  row.calling = false;
  const bool waits =
      row.dispatch_id == dispatch_id && said_to == epoch() && (row.status == "pending" || row.status == "stalled");
  if (waits && (status == 200 || status == 201)) {
    row.status = "working";
    row.attempts = row.refusals = 0;
    row.due_at.reset();
  } else if (waits && (status == 0 || status == 503 || status == 409)) {
    ++row.refusals;
    row.due_at = world_.now() + (row.status == "stalled" ? stalled_retry : backoff(row.refusals));
    if (status != 0) row.dispatch_id.clear();
  } else if (waits) {
    const bool stalled = ++row.attempts >= start_attempts;
    row.status = stalled ? "stalled" : "pending";
    row.due_at = world_.now() + (stalled ? stalled_retry : backoff(row.attempts));
    row.dispatch_id.clear();
  }
  arm();
}

void model_town::restart() {
  ++incarnation_;
  alarm_.reset();
  for (auto& [agent_id, row] : agents_) {
    if (!std::exchange(row.calling, false)) continue;
    row.due_at = world_.now() + 2s; // no answer: the same dispatch once more
  }
  arm();
}

} // namespace townkeeper::simulation
