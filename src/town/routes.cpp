#include "town/routes.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/ids.hpp"
#include "http/message.hpp"
#include "town/codec.hpp"

namespace townkeeper::town::calls {
namespace {

constexpr auto get = "GET";
constexpr auto post = "POST";
constexpr auto remove = "DELETE";
constexpr auto nothing = "{}";

std::string rig_path(std::string_view rig_id) {
  return "/rigs/" + http::percent_encode(rig_id);
}

std::string agent_path(std::string_view rig_id, std::string_view agent_id) {
  return rig_path(rig_id) + "/agents/" + http::percent_encode(agent_id);
}

call to_town(std::string route, std::string body) {
  auto path = "/" + route;
  return {std::move(route), post, std::move(path), std::move(body), {}};
}

struct agent_route {
  std::string_view method, word;
};
constexpr std::array<agent_route, 6> agent_routes{
    {{post, "checkpoint"}, {post, "done"}, {post, "status"}, {post, "mail-ack"}, {get, "prime"}, {get, "checkpoints"}}};

/// `limit=5`, with at most three digits.
bool is_limit(std::string_view query) {
  constexpr std::string_view key = "limit=";
  if (!query.starts_with(key)) return false;
  query.remove_prefix(key.size());
  return !query.empty() && query.size() <= 3 &&
         std::all_of(query.begin(), query.end(), [](char c) { return c >= '0' && c <= '9'; });
}

} // namespace

call boot(const boot_request& request, const secret& control_token) {
  return to_town("container-boot", encode(request, control_token));
}

call desired_state() {
  return {"desired-state", get, "/desired-state", {}, {}};
}

call restore_progress(std::string health_document) {
  return to_town("restore-progress", std::move(health_document));
}

call ready(const ready_report& report) {
  return to_town("container-ready", encode(report));
}

call heartbeat(const heartbeat_request& request) {
  return to_town("container-heartbeat", encode(request));
}

call completed(std::string_view rig_id, std::string_view agent_id, const completed_request& request) {
  return {"completed", post, agent_path(rig_id, agent_id) + "/completed", encode(request), {}};
}

call eviction(std::string_view instance_id, std::string_view reason) {
  return to_town("container-eviction", encode_eviction(instance_id, reason));
}

call drained(const drained_request& request) {
  return to_town("container-drained", encode(request));
}

call refresh_container_token() {
  return to_town("refresh-container-token", nothing);
}

call refresh_git_token(std::string_view rig_id) {
  return {"refresh-git-token", post, rig_path(rig_id) + "/refresh-git-token", nothing, {}};
}

call recovery_point(std::string_view rig_id, std::string_view agent_id, const town::recovery_point& point) {
  return {"recovery-point", post, agent_path(rig_id, agent_id) + "/recovery-point", encode(point), {}};
}

call kept(std::string_view rig_id, std::string_view agent_id, const town::recovery_point& point) {
  return {"kept", post, agent_path(rig_id, agent_id) + "/kept", encode(point), {}};
}

call drop_kept(std::string_view rig_id, std::string_view agent_id, std::string_view commit) {
  return {"drop-kept", remove, agent_path(rig_id, agent_id) + "/kept/" + http::percent_encode(commit), {}, {}};
}

call state() {
  return {"state", get, "/state", {}, {}};
}

call accept_loss(std::string_view rig_id, std::string_view agent_id) {
  return {"accept-loss", remove, agent_path(rig_id, agent_id) + "/recovery", {}, {}};
}

std::optional<call> of_agent(std::string_view rig_id, std::string_view agent_id, std::string_view method,
                             std::string_view what, std::string body) {
  const auto question = what.find('?');
  const auto word = what.substr(0, question);
  const auto known = std::any_of(agent_routes.begin(), agent_routes.end(),
                                 [&](const auto& r) { return r.method == method && r.word == word; });
  if (!known) return std::nullopt;
  if (question != std::string_view::npos && (word != "checkpoints" || !is_limit(what.substr(question + 1))))
    return std::nullopt;
  constexpr std::size_t key_bytes = 16;
  const bool is_get = method == get;
  return call{std::string(word), std::string(method), agent_path(rig_id, agent_id) + "/" + std::string(what),
              is_get ? std::string{} : std::move(body), word == "checkpoint" ? random_hex(key_bytes) : std::string{}};
}

} // namespace townkeeper::town::calls
