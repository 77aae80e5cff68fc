#include "town/codec.hpp"

#include <catch2/catch_test_macros.hpp>

#include "town/answer.hpp"
#include "town/health_document.hpp"

using namespace townkeeper;
using namespace townkeeper::town;

namespace {
const std::string commit(40, 'c');
const error refused{error_code::unauthorized, "r1", "the remote wants a token"};

bool is_json(const std::string& text) {
  return answer_data::parse(text).has_value();
}
} // namespace

TEST_CASE("boot says who boots, on which disk, and how to call back") {
  boot_request request{"i-1", "0.1.0", "2026-11-22T12:00:00Z", false, std::nullopt};
  CHECK(encode(request, secret{"control-token-1"}) ==
        R"~({"instanceId":"i-1","version":"0.1.0","startedAt":"2026-11-22T12:00:00Z","disk":"empty",)~"
        R"~("controlToken":"control-token-1"})~");
  request.warm_disk = true;
  request.control_url = "http://127.0.0.1:8080";
  CHECK(encode(request, secret{"control-token-1"}) ==
        R"~({"instanceId":"i-1","version":"0.1.0","startedAt":"2026-11-22T12:00:00Z","disk":"warm",)~"
        R"~("controlUrl":"http://127.0.0.1:8080","controlToken":"control-token-1"})~");
}

TEST_CASE("a ready report leaves out what it has not, and names the rest as the contract does") {
  ready_report report;
  report.instance_id = "i-1";
  report.desired_version = 7;
  report.outcome = "partial";
  report.duration_ms = 1200;
  CHECK(encode(report) ==
        R"~({"instanceId":"i-1","desiredVersion":7,"outcome":"partial","durationMs":1200,"rigs":[],"agents":[]})~");

  report.nonce = "n-1";
  report.number = 12;
  report.outcome = "degraded";
  report.rigs = {{"r1", rig_outcome::failed, std::nullopt, 10, 20, 5, refused},
                 {"r2", rig_outcome::ready, commit, 1, 2, 3, std::nullopt}};
  agent_report a;
  a.agent_id = "a1";
  a.outcome = agent_outcome::branch_missing;
  a.code = "branch_missing";
  a.branch = "gt/a1";
  a.note = "Nothing to work on.";
  a.failure = error{error_code::branch_missing, "a1", "gone"};
  agent_report b;
  b.agent_id = "b1";
  b.outcome = agent_outcome::recovered;
  b.branch = "gt/b1";
  b.commit = commit;
  b.worktree = "/w/b1";
  b.recovery = applied_recovery{"refs/townkeeper/t/b1/3", commit, true};
  b.unpushed_commits = 2;
  b.applied_files = 3;
  b.left_out = {{"big.bin", "too large"}};
  b.maybe_lost_seconds = 1.5;
  b.duration_ms = 9;
  report.agents = {a, b};
  CHECK(
      encode(report) ==
      R"~({"nonce":"n-1","report":12,"instanceId":"i-1","desiredVersion":7,"outcome":"degraded","durationMs":1200,"rigs":[)~"
      R"~({"rigId":"r1","outcome":"failed","fetchedBytes":10,"durationMs":20,"attempts":5,)~"
      R"~("error":"r1: the remote wants a token (unauthorized)"},)~"
      R"~({"rigId":"r2","outcome":"ready","commit":")~" +
          commit +
          R"~(","fetchedBytes":1,"durationMs":2,"attempts":3}],"agents":[)~"
          R"~({"agentId":"a1","outcome":"branch_missing","code":"branch_missing","branch":"gt/a1","unpushedCommits":0,)~"
          R"~("appliedFiles":0,"leftOut":[],"note":"Nothing to work on.","durationMs":0,)~"
          R"~("error":"a1: gone (branch_missing)"},)~"
          R"~({"agentId":"b1","outcome":"recovered","branch":"gt/b1","commit":")~" +
          commit + R"~(","worktree":"/w/b1","recovery":{"ref":"refs/townkeeper/t/b1/3","commit":")~" + commit +
          R"~(","applied":true},"unpushedCommits":2,"appliedFiles":3,)~"
          R"~("leftOut":[{"path":"big.bin","reason":"too large"}],"maybeLostSeconds":1.5,"note":"","durationMs":9}]})~");
}

TEST_CASE("an agent without a branch does not cost the whole ready report") {
  ready_report report;
  agent_report unreadable, good;
  unreadable.agent_id = "a1";
  unreadable.outcome = agent_outcome::failed;
  good.agent_id = "a2";
  good.branch = "main";
  report.agents = {unreadable, good};
  const auto text = encode(report);
  CHECK(text.find("a1") == std::string::npos);
  CHECK(text.find(R"~("agents":[{"agentId":"a2")~") != std::string::npos);
}

TEST_CASE("a heartbeat says of each agent what is known") {
  CHECK(encode(heartbeat_request{"i-1", {{"a1", "running", "2026-11-22T12:00:00Z", 2.5}, {"a2", "exited", "", {}}}}) ==
        R"~({"instanceId":"i-1","agents":[)~"
        R"~({"agentId":"a1","status":"running","lastActivityAt":"2026-11-22T12:00:00Z","unsavedAgeSeconds":2.5},)~"
        R"~({"agentId":"a2","status":"exited"}]})~");
}

TEST_CASE("the end of an agent, an eviction and the last word") {
  CHECK(encode(completed_request{"completed", {}, "d-1", 0, {}}) ==
        R"~({"status":"completed","dispatchId":"d-1","exitCode":0})~");
  CHECK(encode(completed_request{"failed", "ended by signal 9", {}, {}, 9}) ==
        R"~({"status":"failed","reason":"ended by signal 9","signal":9})~");
  CHECK(encode_eviction("i-1", "SIGTERM") == R"~({"instanceId":"i-1","reason":"SIGTERM"})~");
  CHECK(encode_eviction("i-1", "") == R"~({"instanceId":"i-1"})~");
  CHECK(encode_eviction("i-1", "two\nlines") == R"~({"instanceId":"i-1","reason":"two lines"})~");
  CHECK(encode(drained_request{"i-1", {{"a1", false, {}, {}, refused}, {"a2", true, "refs/x", commit, {}}}}) ==
        R"~({"instanceId":"i-1","agents":[)~"
        R"~({"agentId":"a1","saved":false,"error":"r1: the remote wants a token (unauthorized)"},)~"
        R"~({"agentId":"a2","saved":true,"ref":"refs/x","commit":")~" +
            commit + R"~("}]})~");
}

TEST_CASE("an agent's status shows what there is of its process") {
  agent_status s;
  s.agent_id = "a1";
  s.rig_id = "r1";
  s.status = "idle";
  CHECK(encode(s) == R"~({"agentId":"a1","rigId":"r1","status":"idle"})~");
  s.status = "exited";
  s.pid = 42;
  s.started_at = "S";
  s.last_activity_at = "L";
  s.exit_reason = "exited with code 1";
  s.exit_code = 1;
  s.signal = 9;
  s.dispatch_id = "d-1";
  CHECK(encode(s) ==
        R"~({"agentId":"a1","rigId":"r1","status":"exited","pid":42,"startedAt":"S","lastActivityAt":"L",)~"
        R"~("exitReason":"exited with code 1","exitCode":1,"signal":9,"dispatchId":"d-1"})~");
}

TEST_CASE("the health document keeps Gastown's fields and adds the recovery") {
  health_document doc;
  doc.instance_id = "i-1";
  doc.started_at = "S";
  CHECK(encode(doc) == R"~({"status":"ok","agents":[],"servers":[],"uptime":0.0,"draining":false,"recovery":{)~"
                       R"~("phase":"booting","epoch":0,"instanceId":"i-1","startedAt":"S","progress":0.0,)~"
                       R"~("rigs":[],"setAside":[],"protection":{"unsavedAgeSeconds":0.0,"agents":[]}}})~");

  doc.phase = town_phase::degraded;
  doc.epoch = 3;
  doc.ready_at = "R";
  doc.progress = 1;
  doc.uptime_seconds = 2.5;
  doc.draining = true;
  doc.trouble = error{error_code::unavailable, "container-boot", "connection refused"};
  doc.processes = {{"a1", "r1", "running", 42, "P"}};
  doc.set_aside = {{"r9", "", "rigs[1].gitUrl is missing"}, {"", "", "rigs[2].rigId is missing"}};
  rig_health rig;
  rig.rig_id = "r1";
  rig.phase = rig_phase::fetching;
  rig.received_bytes = 1;
  rig.received_objects = 2;
  rig.total_objects = 3;
  rig.attempts = 4;
  rig.elapsed_ms = 5;
  rig.failure = refused;
  rig.agents = {{"a1", "main", agent_phase::files, commit, 6, 7, agent_outcome::restored, "code", refused}};
  doc.rigs = {rig};
  doc.unsaved_age_seconds = 1.5;
  doc.protection = {{"a1", "T", 2, refused}, {"a2", "", 0, std::nullopt}};
  CHECK(
      encode(doc) ==
      R"~({"status":"ok","agents":[{"agentId":"a1","rigId":"r1","status":"running","pid":42,"startedAt":"P"}],)~"
      R"~("servers":[],"uptime":2.5,"draining":true,"recovery":{)~"
      R"~("phase":"degraded","epoch":3,"instanceId":"i-1","startedAt":"S","readyAt":"R","progress":1.0,)~"
      R"~("trouble":{"code":"unavailable","error":"container-boot: connection refused (unavailable)"},)~"
      R"~("rigs":[{"rigId":"r1","phase":"fetching","receivedBytes":1,"receivedObjects":2,"totalObjects":3,)~"
      R"~("attempts":4,"elapsedMs":5,"error":"r1: the remote wants a token (unauthorized)",)~"
      R"~("agents":[{"agentId":"a1","branch":"main","phase":"files","commit":")~" +
          commit +
          R"~(","filesDone":6,"filesTotal":7,"outcome":"restored","code":"code",)~"
          R"~("error":"r1: the remote wants a token (unauthorized)"}]}],)~"
          R"~("setAside":[{"rigId":"r9","reason":"rigs[1].gitUrl is missing"},{"reason":"rigs[2].rigId is missing"}],)~"
          R"~("protection":{"unsavedAgeSeconds":1.5,"agents":[{"agentId":"a1","lastSavedAt":"T","dirtyFiles":2,)~"
          R"~("lastError":"r1: the remote wants a token (unauthorized)"},{"agentId":"a2","dirtyFiles":0}]}}})~");
}

TEST_CASE("whatever a string or number holds, the result is JSON") {
  health_document doc;
  doc.instance_id = "\xff\"\\\x01</script>";
  doc.progress = std::numeric_limits<double>::quiet_NaN();
  doc.uptime_seconds = std::numeric_limits<double>::infinity();
  doc.trouble = error{error_code::disk, std::string("\0\xc3", 2), std::string(10'000, '\xe4')};
  CHECK(is_json(encode(doc)));
  CHECK(encode(doc).size() < 10'000);
  ready_report report;
  agent_report a;
  a.branch = "a\xff";
  a.note = std::string(1'000'000, 'x');
  a.left_out = {{"a\nb\xff", std::string(5'000, 'r')}};
  report.agents = {a};
  CHECK(is_json(encode(report)));
  CHECK(encode(report).size() < 50'000);
  CHECK(encode(report).find("a b\xef\xbf\xbd") != std::string::npos);
}

TEST_CASE("no secret leaves in an error, a note or a reason") {
  const secret token{"tok-4711-very-secret"};
  const error leaky{error_code::unavailable, "r1", "GET https://x:tok-4711-very-secret@host/ failed"};
  health_document doc;
  doc.trouble = leaky;
  doc.set_aside = {{"r1", "", "tok-4711-very-secret"}};
  ready_report report;
  report.rigs = {{"r1", rig_outcome::failed, {}, 0, 0, 0, leaky}};
  for (const auto& text : {encode(doc), encode(report), encode_eviction("i", token.reveal()), refusal_body(leaky),
                           encode(completed_request{"failed", token.reveal(), {}, {}, {}})}) {
    CHECK(text.find("very-secret") == std::string::npos);
    CHECK(text.find("***") != std::string::npos);
  }
}

TEST_CASE("a refusal is the contract's envelope") {
  CHECK(refusal_body(refused) ==
        R"~({"success":false,"error":"r1: the remote wants a token (unauthorized)","code":"unauthorized"})~");
}

TEST_CASE("the data of an envelope is taken out as the town wrote it") {
  CHECK(envelope_data(R"~({"success":true,"data": {"n": 12345678901234567890.10 } })~") ==
        R"~({"n": 12345678901234567890.10 })~");
  CHECK(envelope_data(R"~({"data":"a }\"] b","success":true})~") == R"~("a }\"] b")~");
  for (const auto* body : {"", "{}", "null", R"~({"success":false,"data":1})~", R"~({"success":true})~",
                           R"~({"success":true,)~", R"~({"success":1,"data":1})~"}) {
    CAPTURE(body);
    CHECK(envelope_data(body).empty());
  }
}

TEST_CASE("each word of an enumeration is the contract's") {
  using to = std::string_view;
  CHECK(to_string(rig_outcome::restoring) == to("restoring"));
  CHECK(to_string(rig_outcome::ready) == to("ready"));
  CHECK(to_string(rig_outcome::failed) == to("failed"));
  CHECK(to_string(agent_outcome::restoring) == to("restoring"));
  CHECK(to_string(agent_outcome::restored) == to("restored"));
  CHECK(to_string(agent_outcome::recovered) == to("recovered"));
  CHECK(to_string(agent_outcome::diverged) == to("diverged"));
  CHECK(to_string(agent_outcome::branch_missing) == to("branch_missing"));
  CHECK(to_string(agent_outcome::failed) == to("failed"));
  CHECK(to_string(town_phase::booting) == to("booting"));
  CHECK(to_string(town_phase::reading_state) == to("reading_state"));
  CHECK(to_string(town_phase::restoring) == to("restoring"));
  CHECK(to_string(town_phase::ready) == to("ready"));
  CHECK(to_string(town_phase::degraded) == to("degraded"));
  CHECK(to_string(town_phase::draining) == to("draining"));
  CHECK(to_string(town_phase::drained) == to("drained"));
  CHECK(to_string(town_phase::fenced) == to("fenced"));
  CHECK(to_string(rig_phase::waiting) == to("waiting"));
  CHECK(to_string(rig_phase::checking) == to("checking"));
  CHECK(to_string(rig_phase::fetching) == to("fetching"));
  CHECK(to_string(rig_phase::ready) == to("ready"));
  CHECK(to_string(rig_phase::retrying) == to("retrying"));
  CHECK(to_string(rig_phase::failed) == to("failed"));
  CHECK(to_string(agent_phase::waiting) == to("waiting"));
  CHECK(to_string(agent_phase::branch) == to("branch"));
  CHECK(to_string(agent_phase::files) == to("files"));
  CHECK(to_string(agent_phase::recovery) == to("recovery"));
  CHECK(to_string(agent_phase::verifying) == to("verifying"));
  CHECK(to_string(agent_phase::done) == to("done"));
  CHECK(to_string(agent_phase::retrying) == to("retrying"));
}
