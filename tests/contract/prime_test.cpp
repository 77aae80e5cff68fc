#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

const std::string bead = R"({"beadId":"gt-1","title":"Fix it","body":"all of it","status":"open"})";

session with_agent() {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1", with(agent_body("a1"), "/bead", bead));
  return town;
}

std::string mail(const session& town, const std::string& body) {
  const auto given = town.admin("POST", agent_path("a1", "/mail"), body);
  REQUIRE(given.verdict() == ok);
  CHECK(given.data().keys() == words("id"));
  return given.data()["id"].string();
}

std::int64_t acknowledge(const session& town, const std::string& ids) {
  const auto given = town.container("POST", agent_path("a1", "/mail-ack"), R"({"ids":)" + ids + "}");
  REQUIRE(given.verdict() == ok);
  CHECK(given.data().keys() == words("acked"));
  return given.data()["acked"].integer();
}

json undelivered(const session& town) {
  return town.prime("a1")["undelivered_mail"];
}

} // namespace

TEST_CASE("the prime context has its parts where clients read them") {
  const auto town = with_agent();
  const auto prime = town.prime("a1");
  CHECK(prime.keys() == words("agent hooked_bead undelivered_mail open_beads recovery"));
  CHECK(prime["agent"]["agentId"] == "a1");
  CHECK(prime["agent"]["rigId"] == "rig");
  CHECK(prime["agent"]["townId"] == town.town_id());
  CHECK(prime["agent"]["branch"] == "gt/a1");
  CHECK(prime["agent"]["checkpoint"] == nullptr);
  CHECK(prime["agent"]["checkpoint_meta"] == nullptr);
  CHECK(prime["hooked_bead"] == json::parse(bead));
  CHECK(prime["undelivered_mail"] == json::parse("[]"));
  CHECK(prime["recovery"] == json::parse(R"({"outcome":null,"commit":null,"kept":[],"leftOut":[],"note":""})"));
}

TEST_CASE("the checkpoint is given whole, its circumstances beside it") {
  auto town = with_agent();
  town.boot();
  const auto body = with(R"({"data":{"step":3}})", "/commit", json_string(commit_a));
  REQUIRE(town.container("POST", agent_path("a1", "/checkpoint"), body).verdict() == ok);
  const auto agent = town.prime("a1")["agent"];
  CHECK(agent["checkpoint"] == json::parse(R"({"step":3})"));
  CHECK(agent["checkpoint_meta"].keys() == words("seq savedAt epoch commit"));
  CHECK(agent["checkpoint_meta"]["seq"] == 1);
  CHECK(agent["checkpoint_meta"]["epoch"] == 1);
  CHECK(agent["checkpoint_meta"]["commit"] == commit_a);
}

TEST_CASE("open beads are those of the rig that nobody has closed") {
  const auto town = with_agent();
  town.put_rig("rig2");
  const auto with_bead = [](const std::string& agent, const std::string& id, const std::string& status) {
    auto body = with(agent_body(agent), "/bead", bead);
    return with(with(body, "/bead/beadId", json_string(id)), "/bead/status", json_string(status));
  };
  town.put_agent("a2", with_bead("a2", "gt-2", "open"));
  town.put_agent("a3", with_bead("a3", "gt-3", "closed"));
  town.put_agent("b1", with_bead("b1", "gt-4", "open"), "rig2");
  const auto open = town.prime("a1")["open_beads"];
  CHECK(open.size() == 2);
  CHECK(open.where("beadId", "gt-1")["agentId"] == "a1");
  CHECK(open.where("beadId", "gt-2")["agentId"] == "a2");
}

TEST_CASE("a bead is closed by done, and not hooked any more") {
  const auto town = with_agent();
  REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})").verdict() == ok);
  CHECK(town.prime("a1")["hooked_bead"] == nullptr);
  CHECK(town.prime("a1")["open_beads"].size() == 0);
  CHECK(town.agent_state("a1")["bead"]["status"] == "closed");
}

TEST_CASE("the recovery part is what the last report said, note included") {
  auto town = with_agent();
  town.boot();
  auto said = with(report("a1", "recovered"), "/commit", json_string(commit_b));
  said = with(said, "/note", R"("Restored at bbbbbbb; 3 files were put back.")");
  said = with(said, "/leftOut", R"([{"path":"big.bin","reason":"larger than 95 MiB"}])");
  said = with(said, "/maybeLostSeconds", "12");
  said = with(said, "/recovery", R"({"ref":"refs/townkeeper/t/a1/1","applied":true})");
  said = with(said, "/recovery/commit", json_string(commit_a));
  town.ready("ready", {said});
  const auto recovery = town.prime("a1")["recovery"];
  CHECK(recovery.keys() == words("outcome commit recovery kept leftOut maybeLostSeconds note"));
  CHECK(recovery["outcome"] == "recovered");
  CHECK(recovery["commit"] == commit_b);
  CHECK(recovery["recovery"] == json::parse(said)["recovery"]);
  CHECK(recovery["leftOut"] == json::parse(said)["leftOut"]);
  CHECK(recovery["maybeLostSeconds"] == 12);
  CHECK(recovery["note"] == "Restored at bbbbbbb; 3 files were put back.");
}

TEST_CASE("kept points are told to the agent") {
  auto town = with_agent();
  town.boot();
  const auto kept = point(town.town_id(), "a1", 1, 1);
  REQUIRE(town.container("POST", agent_path("a1", "/kept"), kept).verdict() == ok);
  CHECK(town.prime("a1")["recovery"]["kept"][0] == json::parse(kept));
}

TEST_CASE("mail is delivered when it is acknowledged, not when it is read") {
  const auto town = with_agent();
  const auto first = mail(town, R"({"from":"mayor","subject":"plan","body":"read this"})");
  const auto second = mail(town, R"({"body":"and this"})");
  REQUIRE(undelivered(town).size() == 2);
  REQUIRE(undelivered(town).size() == 2);
  const auto read = undelivered(town)[0];
  CHECK(read.keys() == words("id from subject body sentAt"));
  CHECK(read["id"] == first);
  CHECK(read["from"] == "mayor");
  CHECK(read["subject"] == "plan");
  CHECK(read["body"] == "read this");
  CHECK(acknowledge(town, "[\"" + first + "\"]") == 1);
  CHECK(undelivered(town).size() == 1);
  CHECK(undelivered(town)[0]["id"] == second);
}

TEST_CASE("mail that was not acknowledged is still there after another container booted") {
  auto town = with_agent();
  mail(town, R"({"body":"read this"})");
  town.boot("i1");
  town.boot("i2");
  CHECK(undelivered(town)[0]["body"] == "read this");
}

TEST_CASE("an acknowledgement said twice answers the same and one of unknown mail counts nothing") {
  const auto town = with_agent();
  town.put_agent("a2");
  const auto id = mail(town, R"({"body":"x"})");
  const auto ids = "[\"" + id + "\",\"" + id + "\",\"999\",\"x\",\"-1\"]";
  CHECK(acknowledge(town, ids) == 1);
  CHECK(acknowledge(town, ids) == 1);
  CHECK(acknowledge(town, "[]") == 0);
}

TEST_CASE("nobody acknowledges another agent's mail") {
  const auto town = with_agent();
  town.put_agent("a2");
  const auto id = mail(town, R"({"body":"x"})");
  const auto given = town.container("POST", agent_path("a2", "/mail-ack"), R"({"ids":[")" + id + R"("]})");
  CHECK(given.data()["acked"] == 0);
  CHECK(undelivered(town).size() == 1);
}

TEST_CASE("mail sent again under one key is one mail") {
  const auto town = with_agent();
  const auto path = agent_path("a1", "/mail");
  const auto first = town.keyed("key", path, R"({"body":"x"})");
  CHECK(town.keyed("key", path, R"({"body":"x"})").data() == first.data());
  CHECK(undelivered(town).size() == 1);
}

TEST_CASE("mail without a body is refused") {
  const auto town = with_agent();
  CHECK(town.admin("POST", agent_path("a1", "/mail"), R"({"subject":"x"})").paths() == words("body"));
  CHECK(town.admin("POST", agent_path("a9", "/mail"), R"({"body":"x"})").verdict() == verdict{404, "unknown_agent"});
}

TEST_CASE("the status line of an agent has 1 to 280 characters") {
  const auto town = with_agent();
  const auto say = [&](const std::string& message) {
    return town.container("POST", agent_path("a1", "/status"), with("{}", "/message", json_string(message)));
  };
  CHECK(say("compiling").data() == json::parse(R"({"ok":true})"));
  CHECK(town.agent_state("a1")["message"]["text"] == "compiling");
  std::string crabs;
  for (int i = 0; i < 280; ++i)
    crabs += "\xF0\x9F\xA6\x80";
  CHECK(say(crabs).verdict() == ok);
  CHECK(say(crabs + "x").paths() == words("message"));
  CHECK(say("").paths() == words("message"));
  CHECK(town.container("POST", agent_path("a1", "/status"), "{}").paths() == words("message"));
}

TEST_CASE("done is recorded with what was said, and may be said twice") {
  const auto town = with_agent();
  const auto body = R"({"branch":"gt/a1","pr_url":"https://git.example/pr/1","summary":"all of it"})";
  for (int i = 0; i < 2; ++i) {
    const auto given = town.container("POST", agent_path("a1", "/done"), body);
    REQUIRE(given.verdict() == ok);
    CHECK(given.data() == json::parse(R"({"done":true})"));
  }
  CHECK(town.status_of("a1") == "idle");
  CHECK(town.desired_agent("a1").missing());
  const auto done = town.agent_state("a1")["done"];
  CHECK(done["branch"] == "gt/a1");
  CHECK(done["pr_url"] == "https://git.example/pr/1");
  CHECK(done["summary"] == "all of it");
  CHECK(town.container("POST", agent_path("a1", "/done"), "{}").paths() == words("branch"));
}

TEST_CASE("any state with work ends with done") {
  session town{shared_town()};
  town.put_rig();
  for (const auto* status : {"pending", "restoring", "working", "stalled", "idle", "dead"}) {
    town.put_agent(status, agent_body(status, status));
    REQUIRE(town.container("POST", agent_path(status, "/done"), R"({"branch":"b"})").verdict() == ok);
    CHECK(town.status_of(status) == "idle");
  }
}
