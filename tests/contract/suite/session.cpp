#include "session.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <ostream>
#include <stdexcept>
#include <thread>

#include "bodies.hpp"
#include "tests/support/http_request.hpp"

namespace townkeeper::contract {

namespace {

void check_envelope(const answer& given) {
  CHECK(given.headers.at("content-type") == "application/json; charset=utf-8");
  CHECK(given.headers.at("cache-control") == "no-store");
  if (given.status == 200) {
    CHECK(given.body.keys() == words("success data"));
    CHECK(given.body["success"] == true);
    return;
  }
  CHECK(given.body["success"] == false);
  CHECK_FALSE(given.body["error"].string().empty());
  CHECK_FALSE(given.body["code"].string().empty());
  CHECK(given.body["issues"].missing() == (given.status != 400));
  for (const auto& issue : given.body["issues"].items())
    CHECK(issue.keys() == words("path message"));
}

} // namespace

std::ostream& operator<<(std::ostream& out, const verdict& v) {
  return out << v.status << (v.code.empty() ? "" : " ") << v.code;
}

contract::verdict answer::verdict() const {
  return {status, body["code"].missing() ? "" : body["code"].string()};
}

std::vector<std::string> answer::paths() const {
  std::vector<std::string> out;
  for (const auto& issue : body["issues"].items())
    out.push_back(issue["path"].string());
  return out;
}

session::session(const test::town& host)
    : host_{host} {
  static std::atomic<int> count = 0;
  town_id_ = "town-" + std::to_string(++count);
}

answer session::send(const std::string& method, const std::string& path, const call& with) const {
  test::http_request request{method, host_.base_url() + "/api/towns/" + town_id_ + path, with.headers, with.body};
  if (!with.token.empty()) request.headers.emplace_back("Authorization", "Bearer " + with.token);
  if (with.epoch) request.headers.emplace_back("X-Gastown-Epoch", *with.epoch);
  const auto response = test::send(request);
  if (!response) throw std::runtime_error{method + " " + path + ": " + to_string(response.error())};
  UNSCOPED_INFO(method << " " << path << " answered " << response->status << " " << response->body.substr(0, 2000));
  answer given{response->status, response->headers, json::parse(response->body), response->body};
  check_envelope(given);
  return given;
}

answer session::admin(const std::string& method, const std::string& path, const std::string& body) const {
  return send(method, path, {.body = body, .token = admin_token()});
}

answer session::container(const std::string& method, const std::string& path, const std::string& body) const {
  return epoch_ == 0 ? without_epoch(method, path, body) : as_epoch(epoch_, method, path, body);
}

answer session::as_epoch(std::int64_t epoch, const std::string& method, const std::string& path,
                         const std::string& body) const {
  return send(method, path, {.body = body, .token = container_token(), .epoch = std::to_string(epoch)});
}

answer session::without_epoch(const std::string& method, const std::string& path, const std::string& body) const {
  return send(method, path, {.body = body, .token = container_token()});
}

answer session::keyed(const std::string& key, const std::string& path, const std::string& body) const {
  call with{.body = body, .token = admin_token(), .headers = {{"Idempotency-Key", key}}};
  if (epoch_ != 0) with.epoch = std::to_string(epoch_);
  return send("POST", path, with);
}

void session::put_rig(const std::string& rig, const std::string& git_url) const {
  REQUIRE(admin("PUT", "/rigs/" + rig, rig_body(git_url)).verdict() == ok);
}

void session::put_agent(const std::string& agent, std::optional<std::string> body, const std::string& rig) const {
  REQUIRE(admin("PUT", agent_path(agent, "", rig), body ? *body : agent_body(agent)).verdict() == ok);
}

std::int64_t session::boot(const std::string& instance, const std::string& control_url) {
  const auto given = without_epoch("POST", "/container-boot", boot_body(instance, control_url));
  REQUIRE(given.verdict() == ok);
  instance_ = instance;
  epoch_ = given.data()["epoch"].integer();
  return epoch_;
}

json session::ready(const std::string& outcome, const std::vector<std::string>& reports,
                    const std::optional<std::string>& nonce) const {
  auto body = ready_body(instance_, outcome, reports);
  if (nonce) body = with(body, "/nonce", json_string(*nonce));
  const auto given = container("POST", "/container-ready", body);
  REQUIRE(given.verdict() == ok);
  return given.data();
}

void session::boot_ready(const std::vector<std::string>& agents, const std::string& control_url,
                         const std::string& instance) {
  boot(instance, control_url);
  std::vector<std::string> reports;
  for (const auto& agent : agents)
    reports.push_back(report(agent, "restored"));
  ready("ready", reports);
}

json session::state() const {
  const auto given = admin("GET", "/state");
  REQUIRE(given.verdict() == ok);
  return given.data();
}

json session::agent_state(const std::string& agent) const {
  for (const auto& rig : state()["rigs"].items())
    if (const auto found = rig["agents"].where("agentId", agent); !found.missing()) return found;
  return {};
}

std::string session::status_of(const std::string& agent) const {
  return agent_state(agent)["status"].string();
}

json session::desired_state() const {
  const auto given = container("GET", "/desired-state");
  REQUIRE(given.verdict() == ok);
  return given.data();
}

json session::desired_agent(const std::string& agent) const {
  for (const auto& rig : desired_state()["rigs"].items())
    if (const auto found = rig["agents"].where("agentId", agent); !found.missing()) return found;
  return {};
}

json session::prime(const std::string& agent) const {
  const auto given = container("GET", agent_path(agent, "/prime"));
  REQUIRE(given.verdict() == ok);
  return given.data();
}

json session::dispatches(std::int64_t after) const {
  const auto given = admin("GET", "/dispatches?after=" + std::to_string(after));
  REQUIRE(given.verdict() == ok);
  return given.data();
}

std::string agent_path(const std::string& agent, const std::string& rest, const std::string& rig) {
  return "/rigs/" + rig + "/agents/" + agent + rest;
}

const test::town& shared_town() {
  static const test::town town;
  return town;
}

const test::town& fast_town(int scale) {
  static std::map<int, test::town> towns;
  return towns.try_emplace(scale, test::town_options{.time_scale = scale}).first->second;
}

bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return true;
}

} // namespace townkeeper::contract
