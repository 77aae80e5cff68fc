#include "town/routes.hpp"

#include <catch2/catch_test_macros.hpp>

#include <set>

#include "town/codec.hpp"

using namespace townkeeper;
using namespace townkeeper::town;

TEST_CASE("each call goes where the contract says") {
  const auto line = [](const call& c) { return c.method + " " + c.path; };
  CHECK(line(calls::boot({}, secret{"control token"})) == "POST /container-boot");
  CHECK(line(calls::desired_state()) == "GET /desired-state");
  CHECK(line(calls::restore_progress("{}")) == "POST /restore-progress");
  CHECK(line(calls::ready({})) == "POST /container-ready");
  CHECK(line(calls::heartbeat({})) == "POST /container-heartbeat");
  CHECK(line(calls::completed("r1", "a1", {})) == "POST /rigs/r1/agents/a1/completed");
  CHECK(line(calls::eviction("i", "SIGTERM")) == "POST /container-eviction");
  CHECK(line(calls::drained({})) == "POST /container-drained");
  CHECK(line(calls::refresh_container_token()) == "POST /refresh-container-token");
  CHECK(line(calls::refresh_git_token("r1")) == "POST /rigs/r1/refresh-git-token");
  CHECK(line(calls::recovery_point("r1", "a1", {})) == "POST /rigs/r1/agents/a1/recovery-point");
  CHECK(line(calls::kept("r1", "a1", {})) == "POST /rigs/r1/agents/a1/kept");
  CHECK(line(calls::drop_kept("r1", "a1", "0abc")) == "DELETE /rigs/r1/agents/a1/kept/0abc");
  CHECK(line(calls::state()) == "GET /state");
  CHECK(line(calls::accept_loss("r1", "a1")) == "DELETE /rigs/r1/agents/a1/recovery");
  for (const auto* word : {"checkpoint", "done", "status", "mail-ack"})
    CHECK(line(*calls::of_agent("r1", "a1", "POST", word, "{}")) == "POST /rigs/r1/agents/a1/" + std::string(word));
  for (const auto* word : {"prime", "checkpoints", "checkpoints?limit=20"})
    CHECK(line(*calls::of_agent("r1", "a1", "GET", word, "")) == "GET /rigs/r1/agents/a1/" + std::string(word));
}

TEST_CASE("an id cannot leave its segment of a path") {
  CHECK(calls::refresh_git_token("../a b?c#d%2e").path == "/rigs/..%2Fa%20b%3Fc%23d%252e/refresh-git-token");
  CHECK(calls::drop_kept("r", "a", "../recovery").path == "/rigs/r/agents/a/kept/..%2Frecovery");
  CHECK(calls::accept_loss("r", "a/b").path == "/rigs/r/agents/a%2Fb/recovery");
  CHECK(calls::completed("r", "a/../../x", {}).path == "/rigs/r/agents/a%2F..%2F..%2Fx/completed");
}

TEST_CASE("an agent makes the calls that are its own, and no other") {
  for (const auto* word : {"", "completed", "heartbeat", "recovery-point", "kept", "../../desired-state", "prime/x",
                           "checkpoint?limit=1", "checkpoints?limit=", "checkpoints?limit=1000", "checkpoints?limit=1x",
                           "checkpoints?after=1", "prime?limit=1"}) {
    CAPTURE(word);
    CHECK_FALSE(calls::of_agent("r1", "a1", "POST", word, "{}"));
    CHECK_FALSE(calls::of_agent("r1", "a1", "GET", word, ""));
  }
  CHECK_FALSE(calls::of_agent("r1", "a1", "GET", "checkpoint", ""));
  CHECK_FALSE(calls::of_agent("r1", "a1", "POST", "prime", ""));
  CHECK_FALSE(calls::of_agent("r1", "a1", "DELETE", "status", ""));
}

TEST_CASE("what is dropped has no body, and what is saved has the point") {
  town::recovery_point saved;
  saved.seq = 17;
  CHECK(calls::recovery_point("r", "a", saved).body == encode(saved));
  CHECK(calls::kept("r", "a", saved).body == encode(saved));
  CHECK(calls::drop_kept("r", "a", "0abc").body.empty());
  CHECK(calls::accept_loss("r", "a").body.empty());
}

TEST_CASE("a checkpoint is one checkpoint however often its call is repeated, and the next is another") {
  std::set<std::string> keys;
  for (int i = 0; i < 20; ++i)
    keys.insert(calls::of_agent("r1", "a1", "POST", "checkpoint", "{}")->idempotency_key);
  CHECK(keys.size() == 20);
  CHECK(keys.begin()->size() >= 16);
  CHECK(calls::of_agent("r1", "a1", "POST", "status", "{}")->idempotency_key.empty());
  CHECK(calls::ready({}).idempotency_key.empty());
}

TEST_CASE("a body is handed on as the agent gave it, and a question has none") {
  CHECK(calls::of_agent("r1", "a1", "POST", "checkpoint", R"({"data":12345678901234567890.10})")->body ==
        R"({"data":12345678901234567890.10})");
  CHECK(calls::of_agent("r1", "a1", "GET", "prime", "anything")->body.empty());
}
