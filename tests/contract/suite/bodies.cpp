#include "bodies.hpp"

#include "json.hpp"

namespace townkeeper::contract {

std::string rig_body(const std::string& git_url) {
  return with(R"({"name":"Rig","gitUrl":"","defaultBranch":"main"})", "/gitUrl", json_string(git_url));
}

std::string agent_body(const std::string& agent) {
  auto body = std::string{
      R"({"name":"Toast","role":"polecat","identity":"Toast <toast@town.example>","status":"pending","priority":0})"};
  return with(body, "/branch", json_string("gt/" + agent));
}

std::string agent_body(const std::string& agent, const std::string& status) {
  return with(agent_body(agent), "/status", json_string(status));
}

std::string agent_body(const std::string& agent, int priority) {
  return with(agent_body(agent), "/priority", std::to_string(priority));
}

std::string boot_body(const std::string& instance, const std::string& control_url) {
  auto body = std::string{R"({"version":"0.1.0","startedAt":"2026-11-24T12:00:00Z","disk":"empty"})"};
  body = with(body, "/instanceId", json_string(instance));
  body = with(body, "/controlToken", json_string(control_token));
  return control_url.empty() ? body : with(body, "/controlUrl", json_string(control_url));
}

std::string report(const std::string& agent, const std::string& outcome) {
  auto body = std::string{R"({"unpushedCommits":0,"appliedFiles":0,"leftOut":[],"note":"","durationMs":12})"};
  body = with(body, "/agentId", json_string(agent));
  body = with(body, "/outcome", json_string(outcome));
  return with(body, "/branch", json_string("gt/" + agent));
}

std::string ready_body(const std::string& instance, const std::string& outcome,
                       const std::vector<std::string>& reports) {
  std::string agents = "[";
  for (const auto& entry : reports)
    agents += (agents.size() > 1 ? "," : "") + entry;
  auto body = std::string{R"({"desiredVersion":1,"durationMs":40,"rigs":[]})"};
  body = with(body, "/instanceId", json_string(instance));
  body = with(body, "/outcome", json_string(outcome));
  return with(body, "/agents", agents + "]");
}

std::string point(const std::string& town, const std::string& agent, std::int64_t epoch, std::int64_t seq,
                  const std::string& commit) {
  auto body = std::string{R"({"gitUrl":"https://git.example/rig.git","clean":false,"savedAt":"2026-11-24T12:00:00Z",
    "kind":"auto","files":{"staged":1,"modified":2,"untracked":3,"leftOut":0}})"};
  const auto branch = "gt/" + agent;
  body = with(body, "/epoch", std::to_string(epoch));
  body = with(body, "/seq", std::to_string(seq));
  body = with(body, "/ref", json_string("refs/townkeeper/" + town + "/" + agent + "/" + std::to_string(epoch)));
  body = with(body, "/commit", json_string(commit));
  body = with(body, "/branch", json_string(branch));
  body = with(body, "/remoteCommit", json_string(commit_b));
  body = with(body, "/branchCommit", json_string(commit_b));
  body = with(body, "/head/ref", json_string("refs/heads/" + branch));
  return with(body, "/head/commit", json_string(commit_b));
}

std::string heartbeat_body(const std::string& instance, const std::string& agent, double unsaved_age_seconds) {
  auto body = std::string{R"({"agents":[{"status":"running","lastActivityAt":"2026-11-24T12:00:00Z"}]})"};
  body = with(body, "/instanceId", json_string(instance));
  body = with(body, "/agents/0/agentId", json_string(agent));
  return with(body, "/agents/0/unsavedAgeSeconds", std::to_string(unsaved_age_seconds));
}

std::string drained_body(const std::string& instance, const std::string& agent, bool saved) {
  auto body = std::string{R"({"agents":[{}]})"};
  body = with(body, "/instanceId", json_string(instance));
  body = with(body, "/agents/0/agentId", json_string(agent));
  return with(body, "/agents/0/saved", saved ? "true" : "false");
}

} // namespace townkeeper::contract
