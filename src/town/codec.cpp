#include "town/codec.hpp"

#include <optional>

#include "http/message.hpp"
#include "town/answer.hpp"
#include "town/json_writer.hpp"
#include "town/wire_text.hpp"

namespace townkeeper::town {
namespace {

// What the town takes at most (town/src/shapes.js), in bytes here and in characters there.
constexpr std::size_t max_text_bytes = 16 * 1024;
constexpr std::size_t max_line_bytes = 512;
constexpr std::size_t max_path_bytes = 4096;

void not_empty_member(json_writer& out, std::string_view name, const std::string& value) {
  if (!value.empty()) out.member(name, value);
}

void nullable_member(json_writer& out, std::string_view name, const std::optional<std::string>& value) {
  out.key(name);
  if (value)
    out.value(*value);
  else
    out.null();
}

void write(json_writer& out, const rig_report& r) {
  out.begin_object();
  out.member("rigId", r.rig_id);
  out.member("outcome", to_string(r.outcome));
  out.member("commit", r.commit);
  out.member("fetchedBytes", r.fetched_bytes);
  out.member("durationMs", r.duration_ms);
  out.member("attempts", r.attempts);
  error_member(out, r.failure, max_text_bytes);
  out.end_object();
}

void write(json_writer& out, const agent_report& a) {
  out.begin_object();
  out.member("agentId", a.agent_id);
  out.member("outcome", to_string(a.outcome));
  out.member("code", a.code);
  out.member("branch", a.branch);
  out.member("commit", a.commit);
  out.member("worktree", a.worktree);
  if (a.recovery) {
    out.key("recovery");
    out.begin_object();
    out.member("ref", a.recovery->ref);
    out.member("commit", a.recovery->commit);
    out.member("applied", a.recovery->applied);
    out.end_object();
  }
  out.member("unpushedCommits", a.unpushed_commits);
  out.member("appliedFiles", a.applied_files);
  out.list("leftOut", a.left_out, [&](const left_out_file& f) {
    out.begin_object();
    out.member("path", wire_line(f.path, max_path_bytes));
    out.member("reason", wire_line(f.reason, max_line_bytes));
    out.end_object();
  });
  out.member("maybeLostSeconds", a.maybe_lost_seconds);
  out.member("note", wire_text(a.note, max_text_bytes));
  out.member("durationMs", a.duration_ms);
  error_member(out, a.failure, max_text_bytes);
  out.end_object();
}

} // namespace

std::string_view to_string(rig_outcome o) noexcept {
  switch (o) {
  case rig_outcome::restoring:
    return "restoring";
  case rig_outcome::ready:
    return "ready";
  case rig_outcome::failed:
    return "failed";
  }
  return "failed";
}

std::string_view to_string(agent_outcome o) noexcept {
  switch (o) {
  case agent_outcome::restoring:
    return "restoring";
  case agent_outcome::restored:
    return "restored";
  case agent_outcome::recovered:
    return "recovered";
  case agent_outcome::diverged:
    return "diverged";
  case agent_outcome::branch_missing:
    return "branch_missing";
  case agent_outcome::failed:
    return "failed";
  }
  return "failed";
}

std::string encode(const boot_request& request, const secret& control_token) {
  json_writer out;
  out.begin_object();
  out.member("instanceId", request.instance_id);
  out.member("version", request.version);
  out.member("startedAt", request.started_at);
  out.member("disk", request.warm_disk ? "warm" : "empty");
  out.member("controlUrl", request.control_url);
  out.member("controlToken", control_token.reveal());
  out.end_object();
  return out.text();
}

std::string encode(const ready_report& report) {
  json_writer out;
  out.begin_object();
  out.member("nonce", report.nonce);
  out.member("report", report.number);
  out.member("instanceId", report.instance_id);
  out.member("desiredVersion", report.desired_version);
  out.member("outcome", report.outcome);
  out.member("durationMs", report.duration_ms);
  out.list("rigs", report.rigs, [&](const rig_report& r) { write(out, r); });
  out.key("agents");
  out.begin_array();
  for (const auto& a : report.agents)
    if (!a.branch.empty()) write(out, a);
  out.end_array();
  out.end_object();
  return out.text();
}

std::string encode(const heartbeat_request& request) {
  json_writer out;
  out.begin_object();
  out.member("instanceId", request.instance_id);
  out.list("agents", request.agents, [&](const agent_heartbeat& a) {
    out.begin_object();
    out.member("agentId", a.agent_id);
    out.member("status", a.status);
    not_empty_member(out, "lastActivityAt", a.last_activity_at);
    out.member("unsavedAgeSeconds", a.unsaved_age_seconds);
    out.end_object();
  });
  out.end_object();
  return out.text();
}

std::string encode(const completed_request& request) {
  json_writer out;
  out.begin_object();
  out.member("status", request.status);
  if (request.reason) out.member("reason", wire_text(*request.reason, max_text_bytes));
  out.member("dispatchId", request.dispatch_id);
  out.member("exitCode", request.exit_code);
  out.member("signal", request.signal);
  out.end_object();
  return out.text();
}

std::string encode(const drained_request& request) {
  json_writer out;
  out.begin_object();
  out.member("instanceId", request.instance_id);
  out.list("agents", request.agents, [&](const drained_agent& a) {
    out.begin_object();
    out.member("agentId", a.agent_id);
    out.member("saved", a.saved);
    out.member("ref", a.ref);
    out.member("commit", a.commit);
    error_member(out, a.failure, max_text_bytes);
    out.end_object();
  });
  out.end_object();
  return out.text();
}

std::string encode(const recovery_point& point) {
  json_writer out;
  out.begin_object();
  out.member("epoch", point.epoch);
  out.member("seq", point.seq);
  out.member("ref", point.ref);
  not_empty_member(out, "commit", point.commit);
  out.member("gitUrl", point.git_url);
  out.member("branch", point.branch);
  nullable_member(out, "remoteCommit", point.remote_commit);
  nullable_member(out, "branchCommit", point.branch_commit);
  out.key("head");
  out.begin_object();
  nullable_member(out, "ref", point.head.ref);
  nullable_member(out, "commit", point.head.commit);
  out.end_object();
  out.member("clean", point.clean);
  out.member("savedAt", point.saved_at);
  out.member("kind", point.kind);
  out.key("files");
  out.begin_object();
  out.member("staged", point.files.staged);
  out.member("modified", point.files.modified);
  out.member("untracked", point.files.untracked);
  out.member("leftOut", point.files.left_out);
  out.end_object();
  out.end_object();
  return out.text();
}

std::string encode_eviction(std::string_view instance_id, std::string_view reason) {
  json_writer out;
  out.begin_object();
  out.member("instanceId", std::string(instance_id));
  if (!reason.empty()) out.member("reason", wire_line(reason, max_line_bytes));
  out.end_object();
  return out.text();
}

std::string encode(const agent_status& status) {
  json_writer out;
  out.begin_object();
  out.member("agentId", status.agent_id);
  out.member("rigId", status.rig_id);
  out.member("status", status.status);
  out.member("pid", status.pid);
  not_empty_member(out, "startedAt", status.started_at);
  not_empty_member(out, "lastActivityAt", status.last_activity_at);
  if (!status.exit_reason.empty()) out.member("exitReason", wire_text(status.exit_reason, max_text_bytes));
  out.member("exitCode", status.exit_code);
  out.member("signal", status.signal);
  not_empty_member(out, "dispatchId", status.dispatch_id);
  out.end_object();
  return out.text();
}

std::string refusal_body(const error& why) {
  return std::string(http::failure(503, to_string(why.code), to_string(why)).body_view());
}

std::string envelope_data(std::string_view body) {
  const auto answer = classify({}, 200, body, {});
  return answer.data ? std::string(answer.data->text()) : std::string{};
}

} // namespace townkeeper::town
