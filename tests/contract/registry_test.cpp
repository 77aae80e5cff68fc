#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

session with_rig() {
  session town{shared_town()};
  town.put_rig();
  return town;
}

/// That a PUT of agent a1 with this one field is refused, and for this field.
void check_refused(const session& town, const std::string& pointer, const std::string& value) {
  CAPTURE(pointer, value);
  const auto given = town.admin("PUT", agent_path("a1"), with(agent_body("a1"), pointer, value));
  CHECK(given.verdict() == invalid_body);
  REQUIRE(given.paths().size() == 1);
  CHECK("/" + given.paths()[0] == pointer);
}

} // namespace

TEST_CASE("a rig is answered as it was put") {
  session town{shared_town()};
  const auto given = town.admin("PUT", "/rigs/rig", rig_body());
  REQUIRE(given.verdict() == ok);
  CHECK(given.data() == json::parse(with(rig_body(), "/rigId", R"("rig")")));
}

TEST_CASE("a rig's URL must be one that a container may open") {
  session town{shared_town()};
  for (const auto* url : {"https://git.example/a.git", "http://127.0.0.1:8080/a.git", "https://[2001:db8::1]/a",
                          "HTTPS://git.example/a"}) {
    CAPTURE(url);
    CHECK(town.admin("PUT", "/rigs/rig", rig_body(url)).verdict() == ok);
  }
  for (const auto* url : {"",
                          "git.example/a.git",
                          "ssh://git.example/a.git",
                          "git@git.example:a.git",
                          "file:///etc",
                          "ext::sh -c id",
                          "https://",
                          "https://user@git.example/a",
                          "https://user:pw@git.example/a",
                          "https://@git.example/a",
                          "https://git.example/a?x=1",
                          "https://git.example/a#x",
                          "https://git.example/a b",
                          "https://git.example/a\nb",
                          "https://git.example\\a",
                          "--upload-pack=x",
                          "http://169.254.169.254/latest",
                          "http://2852039166/latest",
                          "http://[fe80::1]/a",
                          "http://[::ffff:169.254.169.254]/a"}) {
    CAPTURE(url);
    const auto given = town.admin("PUT", "/rigs/rig", rig_body(url));
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == words("gitUrl"));
  }
}

TEST_CASE("a rig that goes takes its agents along, and can go twice") {
  auto town = with_rig();
  town.put_agent("a1");
  CHECK(town.admin("DELETE", "/rigs/rig").data() == json::parse(R"({"deleted":true})"));
  CHECK(town.admin("DELETE", "/rigs/rig").data() == json::parse(R"({"deleted":false})"));
  CHECK(town.state()["rigs"].size() == 0);
  town.put_rig("rig2");
  town.put_agent("a1", {}, "rig2");
}

TEST_CASE("an agent of an unknown rig, and an unknown agent, are told apart") {
  const auto town = with_rig();
  CHECK(town.admin("PUT", agent_path("a1", "", "nowhere"), agent_body("a1")).verdict() == verdict{404, "unknown_rig"});
  for (const auto* rest : {"/checkpoint", "/done", "/completed", "/status", "/mail-ack", "/heartbeat"}) {
    CAPTURE(rest);
    const std::string body = R"({"data":1,"branch":"b","status":"completed","message":"m","ids":[]})";
    const bool heartbeat = std::string_view{rest} == "/heartbeat";
    const bool status = std::string_view{rest} == "/status";
    const auto sent = heartbeat || status ? R"({"message":"m"})" : body;
    CHECK(town.container("POST", agent_path("a9", rest), sent).verdict() == verdict{404, "unknown_agent"});
    CHECK(town.container("POST", agent_path("a9", rest, "nowhere"), sent).verdict() == verdict{404, "unknown_rig"});
  }
  CHECK(town.container("GET", agent_path("a9", "/prime")).verdict() == verdict{404, "unknown_agent"});
  CHECK(town.admin("DELETE", agent_path("a1", "", "nowhere")).verdict() == verdict{404, "unknown_rig"});
  CHECK(town.container("POST", "/rigs/nowhere/refresh-git-token").verdict() == verdict{404, "unknown_rig"});
}

TEST_CASE("an agent is answered as it stands") {
  const auto town = with_rig();
  const auto given = town.admin("PUT", agent_path("a1"), agent_body("a1"));
  REQUIRE(given.verdict() == ok);
  CHECK(given.data() == json::parse(with(with(agent_body("a1"), "/agentId", R"("a1")"), "/kept", "[]")));
}

TEST_CASE("ids repeated in a body must be those of the path") {
  const auto town = with_rig();
  const auto same = with(with(agent_body("a1"), "/agentId", R"("a1")"), "/rigId", R"("rig")");
  CHECK(town.admin("PUT", agent_path("a1"), same).verdict() == ok);
  check_refused(town, "/agentId", R"("a2")");
  check_refused(town, "/rigId", R"("rig2")");
  const auto rig = town.admin("PUT", "/rigs/rig", with(rig_body(), "/rigId", R"("rig2")"));
  CHECK(rig.paths() == words("rigId"));
}

TEST_CASE("an agent needs every field the contract does not make optional") {
  const auto town = with_rig();
  for (const auto* field : {"name", "role", "identity", "status", "branch", "priority"}) {
    CAPTURE(field);
    const auto given = town.admin("PUT", agent_path("a1"), without(agent_body("a1"), "/" + std::string{field}));
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == std::vector<std::string>{field});
  }
  check_refused(town, "/role", R"("witness")");
  check_refused(town, "/status", R"("sleeping")");
  check_refused(town, "/priority", "1.5");
  check_refused(town, "/headCommit", R"("abc")");
  const auto with_bead = with(agent_body("a1"), "/bead", R"({"beadId":7,"title":"t","body":"b","status":"open"})");
  CHECK(town.admin("PUT", agent_path("a1"), with_bead).paths() == words("bead.beadId"));
}

TEST_CASE("an agent's branch follows git's rules and never looks like an option") {
  const auto town = with_rig();
  for (const auto* branch : {"main", "gt/toast/1", "a.b", "a@b", "feature_x", "\xC3\xA4\xC3\xB6", "v1.0"}) {
    CAPTURE(branch);
    CHECK(town.admin("PUT", agent_path("a1"), with(agent_body("a1"), "/branch", json_string(branch))).verdict() == ok);
  }
  for (const auto* branch : {"",     "-x",     "--upload-pack=x",
                             "a..b", "a b",    "a~1",
                             "a^",   "a:b",    "a?",
                             "a*",   "a[b",    "a\\b",
                             "/a",   "a/",     "a//b",
                             "a.",   "a.lock", "a.lock/b",
                             ".a",   "a/.b",   "a@{b",
                             "@",    "HEAD",   "a\nb",
                             "a\x7f"}) {
    check_refused(town, "/branch", json_string(branch));
    const auto rig = town.admin("PUT", "/rigs/rig", with(rig_body(), "/defaultBranch", json_string(branch)));
    CHECK(rig.paths() == words("defaultBranch"));
  }
}

TEST_CASE("an identity is a name, with or without an address, that a commit can hold") {
  const auto town = with_rig();
  for (const auto* identity : {"Toast", "Toast Brown <toast@town.example>", "T\xC3\xB6st", "a"}) {
    CAPTURE(identity);
    CHECK(town.admin("PUT", agent_path("a1"), with(agent_body("a1"), "/identity", json_string(identity))).verdict() ==
          ok);
  }
  for (const auto* identity : {"", " ", "Toast <a@b", "Toast <>", "<a@b>", "a\nb <a@b>", "a <b> <c>", "Toast <a b>"})
    check_refused(town, "/identity", json_string(identity));
}

TEST_CASE("an agent id is unique in its town") {
  auto town = with_rig();
  town.put_rig("rig2");
  town.put_agent("a1");
  const auto elsewhere = town.admin("PUT", agent_path("a1", "", "rig2"), agent_body("a1"));
  CHECK(elsewhere.verdict() == verdict{409, "agent_elsewhere"});
  CHECK(town.container("GET", agent_path("a1", "/prime", "rig2")).verdict() == verdict{404, "unknown_agent"});
  CHECK(town.admin("DELETE", agent_path("a1", "", "rig2")).data() == json::parse(R"({"deleted":false})"));
  REQUIRE(town.admin("DELETE", agent_path("a1")).data() == json::parse(R"({"deleted":true})"));
  town.put_agent("a1", {}, "rig2");
}

TEST_CASE("two active agents are never on one branch of one rig") {
  const auto town = with_rig();
  const auto on_branch = [](const std::string& status) {
    return with(agent_body("x", status), "/branch", R"("shared")");
  };
  const verdict in_use{409, "branch_in_use"};
  town.put_agent("a1", on_branch("pending"));
  for (const auto* status : {"pending", "restoring", "working", "stalled"})
    CHECK(town.admin("PUT", agent_path("a2"), on_branch(status)).verdict() == in_use);
  CHECK(town.agent_state("a2").missing());
  town.put_agent("a1", on_branch("pending"));

  town.put_agent("a2", on_branch("idle"));
  CHECK(town.admin("PUT", agent_path("a2"), on_branch("pending")).verdict() == in_use);
  REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"shared"})").verdict() == ok);
  town.put_agent("a2", on_branch("pending"));

  town.put_rig("rig2");
  town.put_agent("a3", on_branch("pending"), "rig2");
}

TEST_CASE("an upsert leaves alone what is the town's own") {
  auto town = with_rig();
  town.put_agent("a1");
  REQUIRE(town.container("POST", agent_path("a1", "/checkpoint"), R"({"data":{"step":1}})").verdict() == ok);
  town.boot();
  const auto recovery = point(town.town_id(), "a1", 1, 2);
  const auto kept = with(point(town.town_id(), "a1", 1, 1, commit_c), "/ref",
                         json_string("refs/townkeeper/" + town.town_id() + "/a1/kept/1-1"));
  REQUIRE(town.container("POST", agent_path("a1", "/recovery-point"), recovery).verdict() == ok);
  REQUIRE(town.container("POST", agent_path("a1", "/kept"), kept).verdict() == ok);
  auto body = with(with(agent_body("a1"), "/checkpoint", "null"), "/recovery", "null");
  body = with(with(body, "/kept", "[]"), "/name", R"("Bread")");
  town.put_agent("a1", body);
  const auto agent = town.desired_agent("a1");
  CHECK(agent["name"] == "Bread");
  CHECK(agent["checkpoint"]["seq"] == 1);
  CHECK(agent["recovery"] == json::parse(recovery));
  CHECK(agent["kept"][0] == json::parse(kept));
}

TEST_CASE("an optional field that an upsert leaves out is gone") {
  const auto town = with_rig();
  town.put_agent("a1", with(with(agent_body("a1"), "/baseRef", R"("main")"), "/headCommit", json_string(commit_a)));
  town.put_agent("a1");
  CHECK(town.desired_agent("a1")["baseRef"].missing());
  CHECK(town.desired_agent("a1")["headCommit"].missing());
}

TEST_CASE("new work said while a container is live has to be restored first") {
  auto town = with_rig();
  town.boot();
  town.put_agent("a1");
  CHECK(town.status_of("a1") == "restoring");
  town.ready("ready", {report("a1", "restored")});
  town.put_agent("a1");
  CHECK(town.status_of("a1") == "pending");

  town.put_agent("a1", with(agent_body("a1"), "/branch", R"("gt/another")"));
  CHECK(town.status_of("a1") == "restoring");
  town.ready("ready", {report("a1", "restored")});
  CHECK(town.status_of("a1") == "restoring");
  town.ready("ready", {with(report("a1", "restored"), "/branch", R"("gt/another")")});
  CHECK(town.status_of("a1") == "pending");

  town.put_agent("a1", agent_body("a1", "idle"));
  CHECK(town.status_of("a1") == "idle");
  town.put_agent("a1");
  CHECK(town.status_of("a1") == "restoring");
}

TEST_CASE("new work said after the container drained is pending") {
  auto town = with_rig();
  town.boot();
  REQUIRE(town.container("POST", "/container-drained", drained_body("instance-1", "a1", true)).verdict() == ok);
  town.put_agent("a1");
  CHECK(town.status_of("a1") == "pending");
}

TEST_CASE("a rig that moves to another repository has its agents restored anew") {
  auto town = with_rig();
  town.put_agent("a1");
  town.boot_ready({"a1"});
  REQUIRE(town.status_of("a1") == "pending");
  town.put_rig("rig", "https://git.example/moved.git");
  CHECK(town.status_of("a1") == "restoring");
}

TEST_CASE("the head commit is the operator's word, else what the last recovery point saw on the remote") {
  auto town = with_rig();
  town.put_agent("a1");
  town.boot();
  REQUIRE(town.desired_agent("a1")["headCommit"].missing());
  const auto save = [&](int seq, const std::string& remote) {
    const auto body = with(point(town.town_id(), "a1", 1, seq), "/remoteCommit", remote);
    REQUIRE(town.container("POST", agent_path("a1", "/recovery-point"), body).verdict() == ok);
  };
  save(1, "null");
  CHECK(town.desired_agent("a1")["headCommit"].missing());
  save(2, json_string(commit_b));
  CHECK(town.desired_agent("a1")["headCommit"] == commit_b);
  town.put_agent("a1", with(agent_body("a1"), "/headCommit", json_string(commit_c)));
  CHECK(town.desired_agent("a1")["headCommit"] == commit_c);
  town.put_agent("a1", with(agent_body("a1"), "/branch", R"("gt/another")"));
  CHECK(town.desired_agent("a1")["headCommit"].missing());
}

TEST_CASE("a rig's git token is handed out with its user name and expiry, and shown nowhere else") {
  const auto town = with_rig();
  const auto refresh = [&] { return town.container("POST", "/rigs/rig/refresh-git-token"); };
  CHECK(refresh().verdict() == verdict{404, "no_git_token"});
  REQUIRE(town.admin("PUT", "/rigs/rig/git-token", R"({"token":"git-token-0123"})").verdict() == ok);
  CHECK(refresh().data() == json::parse(R"({"token":"git-token-0123"})"));
  const std::string rotated = R"({"token":"git-token-4567","username":"oauth2","expiresAt":"2026-11-24T13:00:00Z"})";
  REQUIRE(town.admin("PUT", "/rigs/rig/git-token", rotated).verdict() == ok);
  CHECK(refresh().data() == json::parse(rotated));
  CHECK(town.state()["rigs"][0]["gitToken"] == "***");
  CHECK(town.state().text().find("git-token-4567") == std::string::npos);
  town.put_rig();
  CHECK(refresh().data()["token"] == "git-token-4567");
}

TEST_CASE("a git token that would break a header is refused, without repeating it") {
  const auto town = with_rig();
  for (const auto* token : {"", "two words", "two\nlines", "\xC3\xA4"}) {
    CAPTURE(token);
    const auto given = town.admin("PUT", "/rigs/rig/git-token", with("{}", "/token", json_string(token)));
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == words("token"));
    CHECK(given.body["error"].string().find("two") == std::string::npos);
  }
  CHECK(town.admin("PUT", "/rigs/nowhere/git-token", R"({"token":"git-token-0123"})").verdict() ==
        verdict{404, "unknown_rig"});
}

TEST_CASE("the state shows no secret, wherever somebody wrote one") {
  auto town = with_rig();
  town.put_agent("a1");
  REQUIRE(town.admin("PUT", "/rigs/rig/git-token", R"({"token":"git+token/0123"})").verdict() == ok);
  town.boot();
  const auto quoting = [](const std::string& secret) { return "the remote said: " + secret + " is not valid"; };
  auto failed = with(report("a1", "failed"), "/error", json_string(quoting("git+token/0123")));
  failed = with(failed, "/note",
                json_string("see https://git.example/?token=git%2Btoken%2F0123 and https://x:hunter2hunter2@h/"));
  town.ready("degraded", {failed});
  REQUIRE(town.container("POST", "/restore-progress", with("{}", "/error", json_string(quoting(control_token))))
              .verdict() == ok);
  REQUIRE(
      town.container("POST", agent_path("a1", "/status"), with("{}", "/message", json_string(shared_town().secret())))
          .verdict() == ok);
  // "git+token/0123" in base64, as in an Authorization header.
  REQUIRE(town.admin("POST", agent_path("a1", "/mail"), R"({"body":"Basic Z2l0K3Rva2VuLzAxMjM="})").verdict() == ok);
  const auto shown = town.state().text();
  for (const auto& secret :
       {std::string{"git+token/0123"}, std::string{"git%2Btoken%2F0123"}, std::string{"Z2l0K3Rva2VuLzAxMjM="},
        std::string{"hunter2hunter2"}, control_token, shared_town().secret()}) {
    CAPTURE(secret);
    CHECK(shown.find(secret) == std::string::npos);
  }
  CHECK(shown.find("the remote said: *** is not valid") != std::string::npos);
}

TEST_CASE("a megabyte of letters in a document does not keep the state from being shown") {
  auto town = with_rig();
  town.boot();
  REQUIRE(town.container("POST", "/restore-progress", with("{}", "/pad", json_string(std::string(900'000, 'x'))))
              .verdict() == ok);
  CHECK(town.state()["container"]["progress"]["pad"].string().size() == 900'000);
}
