#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "../core/result_printer.hpp"
#include "json_object.hpp"
#include "town/decode.hpp"

using namespace townkeeper;
using namespace townkeeper::town;
using test::json_object;

namespace {

const std::string commit(40, 'a');
const std::string quoted_commit = "\"" + commit + "\"";

const json_object point{{"epoch", "3"},
                        {"seq", "5"},
                        {"ref", R"("refs/townkeeper/t1/a1/3")"},
                        {"commit", quoted_commit},
                        {"gitUrl", R"("https://example.org/r.git")"},
                        {"branch", R"("gt/a1")"},
                        {"remoteCommit", "null"},
                        {"branchCommit", quoted_commit},
                        {"head", R"({"ref":"refs/heads/gt/a1","commit":null})"},
                        {"clean", "false"},
                        {"savedAt", R"("2026-11-22T12:00:00Z")"},
                        {"kind", R"("drain")"},
                        {"files", R"({"staged":1,"modified":2,"untracked":3,"leftOut":4})"}};

const json_object agent{{"agentId", R"("a1")"},
                        {"name", R"("Ada")"},
                        {"role", R"("polecat")"},
                        {"identity", R"("Ada <ada@example.org>")"},
                        {"status", R"("restoring")"},
                        {"branch", R"("gt/a1")"},
                        {"priority", "5"},
                        {"checkpoint", "null"},
                        {"recovery", "null"},
                        {"kept", "[]"}};

json_object agent_named(const std::string& id) {
  return agent.with("agentId", "\"" + id + "\"").with("branch", "\"gt/" + id + "\"");
}

json_object rig(const std::string& id, const std::string& agents) {
  return {{"rigId", "\"" + id + "\""},
          {"name", R"("Rig")"},
          {"gitUrl", R"("https://example.org/r.git")"},
          {"defaultBranch", R"("main")"},
          {"agents", "[" + agents + "]"}};
}

json_object state(const std::string& rigs) {
  return {{"version", "7"}, {"epoch", "2"}, {"rigs", "[" + rigs + "]"}};
}

json_object state(const json_object& only_rig) {
  return state(only_rig.text());
}

result<desired_state> decode(const json_object& json) {
  const auto parsed = answer_data::parse(json.text());
  if (!parsed) return parsed.error();
  return decode_desired_state(*parsed);
}

desired_state read(const json_object& json) {
  auto got = decode(json);
  REQUIRE(got.has_value());
  return *got;
}

} // namespace

TEST_CASE("a desired state is read whole") {
  const auto whole = agent.with("baseRef", R"("main")")
                         .with("headCommit", quoted_commit)
                         .with("bead", R"({"beadId":"b-1","title":"T","body":"B\nB","status":"open"})")
                         .with("checkpoint", R"({"seq":4,"savedAt":"2026-11-22T12:00:00Z"})")
                         .with("recovery", point.text())
                         .with("kept", "[" + point.with("seq", "1").text() + "]")
                         .with("maybeLostSeconds", "12.5");
  const auto got = read(state(rig("r1", whole.text()))
                            .with("predecessor", R"({"epoch":1,"draining":true,"since":"2026-11-22T12:00:00Z"})"));
  CHECK(got.version == 7);
  CHECK(got.epoch == 2);
  CHECK(got.old_container == predecessor{1, true, "2026-11-22T12:00:00Z"});
  CHECK(got.set_aside.empty());
  REQUIRE(got.rigs.size() == 1);
  CHECK(got.rigs[0].rig_id == "r1");
  CHECK(got.rigs[0].name == "Rig");
  CHECK(got.rigs[0].git_url == "https://example.org/r.git");
  CHECK(got.rigs[0].default_branch == "main");
  recovery_point p{3,
                   5,
                   "refs/townkeeper/t1/a1/3",
                   commit,
                   "https://example.org/r.git",
                   "gt/a1",
                   std::nullopt,
                   commit,
                   {"refs/heads/gt/a1", std::nullopt},
                   false,
                   "2026-11-22T12:00:00Z",
                   "drain",
                   {1, 2, 3, 4}};
  agent_spec a{"a1",
               "Ada",
               "polecat",
               "Ada <ada@example.org>",
               "restoring",
               "gt/a1",
               "main",
               commit,
               bead{"b-1", "T", "B\nB", "open"},
               5,
               checkpoint_mark{4, "2026-11-22T12:00:00Z"},
               p,
               {},
               12.5};
  p.seq = 1;
  a.kept = {p};
  REQUIRE(got.rigs[0].agents.size() == 1);
  CHECK(got.rigs[0].agents[0] == a);
}

TEST_CASE("an empty town is one that says so") {
  const auto got = read(state(""));
  CHECK(got.version == 7);
  CHECK(got.rigs.empty());
}

TEST_CASE("a whole that cannot be read is an error, never an empty town") {
  CHECK(decode(state("").without("rigs")).error().message == "rigs is missing");
  CHECK(decode(state("").with("rigs", "null")).error().message == "rigs is missing");
  CHECK(decode(state("").with("rigs", "{}")).error().message == "rigs must be an array");
  CHECK(decode(state("").without("version")).error().message == "version is missing");
  CHECK(decode(state("").with("version", "\"7\"")).error().message == "version must be an integer of at least 0");
  CHECK(decode(state("").with("version", "-1")).has_error());
  CHECK(decode(state("").without("epoch")).error().message == "epoch is missing");
  CHECK(decode(state("").with("predecessor", "[]")).error().message == "predecessor must be an object");
  CHECK(decode(state("").with("predecessor", R"({"epoch":1})")).error().message == "predecessor.draining is missing");
  for (const auto* text : {"null", "[]", "7", "\"rigs\""}) {
    const auto got = decode_desired_state(*answer_data::parse(text));
    CHECK(got.error().code == error_code::corrupt);
  }
}

TEST_CASE("a text that is cut off anywhere is not read") {
  const auto text = state(rig("r1", agent.text())).text();
  for (std::size_t n = 0; n < text.size(); ++n)
    CHECK(answer_data::parse(text.substr(0, n)).has_error());
}

TEST_CASE("one bad agent among good ones is set aside with its path and the rule, and the others go on") {
  const auto [key, value, problem] = GENERATE(table<std::string, std::string, std::string>({
      {"agentId", R"("../a1")", "agentId must be 1 to 128"},
      {"agentId", "7", "agentId must be a string"},
      {"name", R"("")", "name must not be empty"},
      {"name", R"("a\u001b[2J")", "name must not hold a control character"},
      {"role", R"("a b")", "role must be"},
      {"identity", R"("A <a@b> <c@d>")", "identity must be"},
      {"status", R"("idle")", "status must be one of pending, restoring, working, stalled"},
      {"branch", R"("-x")", "branch is not a branch name that git accepts"},
      {"branch", R"("a..b")", "branch is not a branch name"},
      {"branch", R"("refs/heads/x\n")", "branch is not a branch name"},
      {"branch", "\"" + std::string(600, 'b') + "\"", "branch must have at most 512 bytes"},
      {"baseRef", R"("a b")", "baseRef is not a branch name"},
      {"headCommit", R"("abc")", "headCommit must be a full commit id"},
      {"headCommit", "\"" + std::string(40, 'A') + "\"", "headCommit must be a full commit id"},
      {"priority", "1.5", "priority must be an integer"},
      {"bead", "[]", "bead must be an object"},
      {"bead", "{}", "bead.beadId is missing"},
      {"checkpoint", R"({"seq":-1,"savedAt":"x"})", "checkpoint.seq must be an integer of at least 0"},
      {"kept", "{}", "kept must be an array"},
      {"kept", "[{}]", "kept[0].epoch is missing"},
      {"recovery", point.with("ref", R"("refs/heads/main")").text(), "recovery.ref must begin with refs/townkeeper/"},
      {"recovery", point.with("ref", R"("refs/townkeeper/../x")").text(), "recovery.ref"},
      {"recovery", point.with("commit", R"("HEAD")").text(), "recovery.commit must be a full commit id"},
      {"recovery", point.with("gitUrl", R"("-u")").text(), "recovery.gitUrl must not begin with '-'"},
      {"recovery", point.with("head", "null").text(), "recovery.head is missing"},
      {"recovery", point.with("head", R"({"ref":"HEAD"})").text(), "recovery.head.ref must begin with refs/"},
      {"recovery", point.with("kind", R"("other")").text(), "recovery.kind must be one of auto, drain, manual"},
      {"recovery", point.without("files").text(), "recovery.files is missing"},
      {"recovery", point.with("clean", "0").text(), "recovery.clean must be true or false"},
      {"maybeLostSeconds", "-1", "maybeLostSeconds must be a number of at least 0"},
  }));
  CAPTURE(key, value);
  const auto got = read(state(
      rig("r1", agent_named("g1").text() + "," + agent.with(key, value).text() + "," + agent_named("g2").text())));
  REQUIRE(got.rigs.size() == 1);
  REQUIRE(got.rigs[0].agents.size() == 2);
  CHECK(got.rigs[0].agents[0].agent_id == "g1");
  CHECK(got.rigs[0].agents[1].agent_id == "g2");
  REQUIRE(got.set_aside.size() == 1);
  CHECK(got.set_aside[0].rig_id == "r1");
  CHECK(got.set_aside[0].agent_id == (key == "agentId" ? "" : "a1"));
  CHECK(got.set_aside[0].reason.starts_with("rigs[0].agents[1]." + problem));
}

TEST_CASE("an agent that lacks what it cannot be without is set aside") {
  for (const auto* key : {"agentId", "name", "role", "identity", "status", "branch"}) {
    const auto got = read(state(rig("r1", agent.without(key).text())));
    REQUIRE(got.set_aside.size() == 1);
    CHECK(got.set_aside[0].reason == "rigs[0].agents[0]." + std::string(key) + " is missing");
  }
  CHECK(
      read(state(rig("r1", agent.without("priority").without("kept").without("recovery").without("checkpoint").text())))
          .set_aside.empty());
}

TEST_CASE("one bad rig takes its agents with it, and no other rig") {
  const auto [key, value, problem] = GENERATE(table<std::string, std::string, std::string>({
      {"rigId", R"("..")", "rigId must be"},
      {"rigId", "null", "rigId is missing"},
      {"name", "[]", "name must be a string"},
      {"gitUrl", R"("--upload-pack=evil")", "gitUrl must not begin with '-'"},
      {"gitUrl", R"("https://u:p@example.org/r")", "gitUrl must not hold a user name or token"},
      {"gitUrl", R"("https://example.org/a\nb")", "gitUrl must not hold white space"},
      {"gitUrl", R"("example.org/r")", "gitUrl must be a URL with a scheme"},
      {"defaultBranch", R"("a..b")", "defaultBranch is not a branch name"},
      {"agents", "{}", "agents must be an array"},
      {"agents", "null", "agents is missing"},
  }));
  CAPTURE(key, value);
  const auto got = read(
      state(rig("good", agent_named("g1").text()).text() + "," + rig("bad", agent.text()).with(key, value).text()));
  REQUIRE(got.rigs.size() == 1);
  CHECK(got.rigs[0].rig_id == "good");
  CHECK(got.rigs[0].agents.size() == 1);
  REQUIRE(got.set_aside.size() == 1);
  CHECK(got.set_aside[0].rig_id == (key == "rigId" ? "" : "bad"));
  CHECK(got.set_aside[0].agent_id.empty());
  CHECK(got.set_aside[0].reason.starts_with("rigs[1]." + problem));
  CHECK(got.set_aside[0].reason.find("evil") == std::string::npos);
}

TEST_CASE("entries that are no objects are set aside") {
  const auto got = read(state("null,7," + rig("r1", "[],\"a\"," + agent.text()).text()));
  REQUIRE(got.rigs.size() == 1);
  CHECK(got.rigs[0].agents.size() == 1);
  CHECK(got.set_aside.size() == 4);
}

TEST_CASE("of two that claim one id or one branch, the first keeps it") {
  const auto twice = read(state(rig("r1", agent_named("a1").text()).text() + "," +
                                rig("r2", agent_named("a1").text()).text() + "," + rig("r1", "").text()));
  REQUIRE(twice.rigs.size() == 2);
  CHECK(twice.rigs[1].agents.empty());
  REQUIRE(twice.set_aside.size() == 2);
  CHECK(twice.set_aside[0] == set_aside_entry{"r2", "a1", "rigs[1].agents[0].agentId stands twice in this town"});
  CHECK(twice.set_aside[1] == set_aside_entry{"r1", "", "rigs[2].rigId stands twice"});

  const auto branches = read(
      state(rig("r1", agent_named("a1").text() + "," + agent_named("a2").with("branch", R"("gt/a1")").text()).text() +
            "," + rig("r2", agent_named("a3").with("branch", R"("gt/a1")").text()).text()));
  REQUIRE(branches.set_aside.size() == 1);
  CHECK(branches.set_aside[0] == set_aside_entry{"r1", "a2", "rigs[0].agents[1].branch is that of agent a1 already"});
  CHECK(branches.rigs[1].agents.size() == 1);
}

TEST_CASE("a town of many agents is read whole, and a bead may be long") {
  std::string agents;
  for (int i = 0; i < 2'000; ++i)
    agents += (i > 0 ? "," : "") + agent_named("a" + std::to_string(i))
                                       .with("bead", R"({"beadId":"b","title":"t","body":")" + std::string(1'000, 'x') +
                                                         R"(","status":"open"})")
                                       .text();
  const auto got = read(state(rig("r1", agents)));
  CHECK(got.rigs[0].agents.size() == 2'000);
  CHECK(got.set_aside.empty());
}

TEST_CASE("boot's answer holds an epoch and a desired state, both or nothing") {
  const auto decode_boot = [](const std::string& text) { return decode_boot_answer(*answer_data::parse(text)); };
  const auto got = decode_boot(R"({"epoch":2,"desiredState":)" + state(rig("r1", agent.text())).text() + "}");
  REQUIRE(got.has_value());
  CHECK(got->epoch == 2);
  CHECK(got->desired.rigs.size() == 1);
  CHECK(decode_boot(R"({"epoch":2})").error().message == "desiredState is missing");
  CHECK(decode_boot(R"({"epoch":2,"desiredState":[]})").error().message == "desiredState must be an object");
  CHECK(decode_boot(R"({"epoch":2,"desiredState":{}})").error().message == "desiredState.version is missing");
  CHECK(decode_boot(R"({"epoch":0,"desiredState":)" + state("").text() + "}").error().message ==
        "epoch must be an integer of at least 1");
  CHECK(decode_boot("{}").error().code == error_code::corrupt);
}
