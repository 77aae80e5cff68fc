#include "town/health_document.hpp"
#include "town/json_writer.hpp"
#include "town/wire_text.hpp"

namespace townkeeper::town {
namespace {

constexpr std::size_t max_health_text_bytes = 1024; // the document is published many times a second

void write(json_writer& out, const agent_health& a) {
  out.begin_object();
  out.member("agentId", a.agent_id);
  out.member("branch", a.branch);
  out.member("phase", to_string(a.phase));
  out.member("commit", a.commit);
  out.member("filesDone", a.files_done);
  out.member("filesTotal", a.files_total);
  if (a.outcome) out.member("outcome", to_string(*a.outcome));
  out.member("code", a.code);
  error_member(out, a.failure, max_health_text_bytes);
  out.end_object();
}

void write(json_writer& out, const rig_health& r) {
  out.begin_object();
  out.member("rigId", r.rig_id);
  out.member("phase", to_string(r.phase));
  out.member("receivedBytes", r.received_bytes);
  out.member("receivedObjects", r.received_objects);
  out.member("totalObjects", r.total_objects);
  out.member("attempts", r.attempts);
  out.member("elapsedMs", r.elapsed_ms);
  error_member(out, r.failure, max_health_text_bytes);
  out.list("agents", r.agents, [&](const agent_health& a) { write(out, a); });
  out.end_object();
}

void write(json_writer& out, const set_aside_entry& s) {
  out.begin_object();
  if (!s.rig_id.empty()) out.member("rigId", s.rig_id);
  if (!s.agent_id.empty()) out.member("agentId", s.agent_id);
  out.member("reason", wire_text(s.reason, max_health_text_bytes));
  out.end_object();
}

void write(json_writer& out, const agent_process_health& p) {
  out.begin_object();
  out.member("agentId", p.agent_id);
  out.member("rigId", p.rig_id);
  out.member("status", p.status);
  out.member("pid", p.pid);
  if (!p.started_at.empty()) out.member("startedAt", p.started_at);
  out.end_object();
}

void write(json_writer& out, const agent_protection_health& p) {
  out.begin_object();
  out.member("agentId", p.agent_id);
  if (!p.last_saved_at.empty()) out.member("lastSavedAt", p.last_saved_at);
  out.member("dirtyFiles", p.dirty_files);
  if (p.failure) out.member("lastError", wire_text(to_string(*p.failure), max_health_text_bytes));
  out.end_object();
}

} // namespace

std::string_view to_string(town_phase p) noexcept {
  switch (p) {
  case town_phase::booting:
    return "booting";
  case town_phase::reading_state:
    return "reading_state";
  case town_phase::restoring:
    return "restoring";
  case town_phase::ready:
    return "ready";
  case town_phase::degraded:
    return "degraded";
  case town_phase::draining:
    return "draining";
  case town_phase::drained:
    return "drained";
  case town_phase::fenced:
    return "fenced";
  }
  return "booting";
}

std::string_view to_string(rig_phase p) noexcept {
  switch (p) {
  case rig_phase::waiting:
    return "waiting";
  case rig_phase::checking:
    return "checking";
  case rig_phase::fetching:
    return "fetching";
  case rig_phase::ready:
    return "ready";
  case rig_phase::retrying:
    return "retrying";
  case rig_phase::failed:
    return "failed";
  }
  return "failed";
}

std::string_view to_string(agent_phase p) noexcept {
  switch (p) {
  case agent_phase::waiting:
    return "waiting";
  case agent_phase::branch:
    return "branch";
  case agent_phase::files:
    return "files";
  case agent_phase::recovery:
    return "recovery";
  case agent_phase::verifying:
    return "verifying";
  case agent_phase::done:
    return "done";
  case agent_phase::retrying:
    return "retrying";
  }
  return "waiting";
}

std::string encode(const health_document& doc) {
  json_writer out;
  out.begin_object();
  // Gastown's clients take any other word for a broken container; `recovery` says the rest.
  out.member("status", "ok");
  out.list("agents", doc.processes, [&](const agent_process_health& p) { write(out, p); });
  out.key("servers");
  out.begin_array();
  out.end_array();
  out.member("uptime", doc.uptime_seconds);
  out.member("draining", doc.draining);
  out.key("recovery");
  out.begin_object();
  out.member("phase", to_string(doc.phase));
  out.member("epoch", doc.epoch);
  out.member("instanceId", doc.instance_id);
  out.member("startedAt", doc.started_at);
  out.member("readyAt", doc.ready_at);
  out.member("progress", doc.progress);
  if (doc.trouble) {
    out.key("trouble");
    out.begin_object();
    out.member("code", to_string(doc.trouble->code));
    out.member("error", wire_text(to_string(*doc.trouble), max_health_text_bytes));
    out.end_object();
  }
  out.list("rigs", doc.rigs, [&](const rig_health& r) { write(out, r); });
  out.list("setAside", doc.set_aside, [&](const set_aside_entry& s) { write(out, s); });
  out.key("protection");
  out.begin_object();
  out.member("unsavedAgeSeconds", doc.unsaved_age_seconds);
  out.list("agents", doc.protection, [&](const agent_protection_health& p) { write(out, p); });
  out.end_object();
  out.end_object();
  out.end_object();
  return out.text();
}

} // namespace townkeeper::town
