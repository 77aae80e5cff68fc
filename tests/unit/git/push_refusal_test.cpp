// Remotes that refuse a point, or go away: nothing is called saved that is not on the remote.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/secret.hpp"
#include "saved_rig.hpp"
#include "tests/support/fault_proxy.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

const std::string token = "gts_4f9c2e81d7b6a035";

git::pushed_point push_one(const git::push_job& job) {
  auto pushed = git::push_points(job);
  INFO((pushed ? std::string{} : to_string(pushed.error())));
  REQUIRE(pushed);
  REQUIRE(pushed->size() == 1);
  return pushed->front();
}

void dirty(const saved_rig& rig) {
  for (const auto& agent : rig.agents)
    rig.put("a.txt", "of " + agent + "\n", agent);
}

} // namespace

TEST_CASE("one ref that a hook refuses takes no other with it") {
  saved_rig rig({"a1", "a2", "a3"});
  dirty(rig);
  const bool whole_batch = GENERATE(false, true);
  if (whole_batch)
    install_hook(rig.served(), "pre-receive",
                 "while read old new ref; do case $ref in */a2/*) echo 'no secrets here' >&2; exit 1;; esac; done");
  else
    install_hook(rig.served(), "update", "case $1 in */a2/*) echo 'no secrets here' >&2; exit 1;; esac");
  const auto pushed = git::push_points(rig.push_job());
  REQUIRE(pushed);
  for (const auto& answer : *pushed) {
    const bool refused = answer.agent_id == "a2";
    CHECK(answer.point.has_error() == refused);
    CHECK(answer.refused == (refused ? git::refusal::content : git::refusal::none));
    CHECK(rig.on_remote(rig.ref(answer.agent_id)) == (refused ? std::string{} : (*answer.point)->commit));
    if (!refused) continue;
    CHECK(answer.point.error().code == error_code::forbidden);
    CHECK_THAT(answer.point.error().message, ContainsSubstring("no secrets here"));
    CHECK_THAT(answer.point.error().message, ContainsSubstring(rig.ref("a2")));
  }
}

TEST_CASE("a namespace the remote hides is refused by its name") {
  saved_rig rig;
  dirty(rig);
  run_git(rig.served(), {"config", "transfer.hideRefs", "refs/townkeeper"});
  const auto answer = push_one(rig.push_job());
  REQUIRE_FALSE(answer.point);
  CHECK(answer.refused == git::refusal::other);
  CHECK(answer.point.error().code == error_code::forbidden);
  CHECK_THAT(answer.point.error().message, ContainsSubstring("hidden ref"));
  CHECK_THAT(answer.point.error().message, ContainsSubstring("receive.hideRefs"));
  CHECK(rig.on_remote(rig.ref()).empty());
}

TEST_CASE("a pack that is too large for the remote is a refusal of the content, and only for whom it concerns") {
  saved_rig rig({"a1", "a2"});
  dirty(rig);
  rig.put("large", noise(200'000), "a1");
  run_git(rig.served(), {"config", "receive.maxInputSize", "100000"});
  const auto pushed = git::push_points(rig.push_job());
  REQUIRE(pushed);
  REQUIRE_FALSE(pushed->at(0).point);
  CHECK(pushed->at(0).refused == git::refusal::content);
  CHECK(pushed->at(0).point.error().code == error_code::too_large);
  REQUIRE(pushed->at(1).point);
  CHECK(rig.on_remote(rig.ref("a1")).empty());
  CHECK(rig.on_remote(rig.ref("a2")) == (*pushed->at(1).point)->commit);
}

TEST_CASE("413 is a refusal of the content") {
  saved_rig rig;
  dirty(rig);
  auto job = rig.push_job();
  // The advertisement is answered; what is posted is not.
  rig.server.answer_posts_with("app", {.status = 413});
  const auto answer = push_one(job);
  REQUIRE_FALSE(answer.point);
  CHECK(answer.refused == git::refusal::content);
  CHECK(answer.point.error().code == error_code::too_large);
}

TEST_CASE("a token that is missing, wrong or not enough is an error of the whole push") {
  saved_rig rig;
  dirty(rig);
  auto job = rig.push_job();
  auto expected = error_code::unauthorized;
  SECTION("missing") {
    rig.server.demand_token("app", "x-access-token", token);
  }
  SECTION("wrong") {
    rig.server.demand_token("app", "x-access-token", token);
    job.login = git::credentials{"x-access-token", secret{"gts_expired_0123456789"}};
  }
  SECTION("not enough") {
    run_git(rig.served(), {"config", "http.receivepack", "false"});
    expected = error_code::forbidden;
  }
  SECTION("not enough for what is posted") {
    rig.server.answer_posts_with("app", {.status = 403});
    expected = error_code::forbidden;
  }
  const auto pushed = git::push_points(job);
  REQUIRE_FALSE(pushed);
  CHECK(pushed.error().code == expected);
  CHECK_THAT(to_string(pushed.error()), !ContainsSubstring("gts_"));
  CHECK(rig.on_remote(rig.ref()).empty());
}

TEST_CASE("the right token is taken for the pack as well") {
  saved_rig rig;
  dirty(rig);
  rig.server.demand_token("app", "x-access-token", token);
  auto job = rig.push_job();
  job.login = git::credentials{"x-access-token", secret{token}};
  const auto answer = push_one(job);
  REQUIRE(answer.point);
  CHECK(rig.on_remote(rig.ref()) == (*answer.point)->commit);
}

TEST_CASE("a remote that goes away, or says nothing more, leaves the point unsaved") {
  saved_rig rig;
  dirty(rig);
  fault_proxy proxy(rig.server.port());
  auto job = rig.push_job();
  job.url = proxy.url("app");
  job.limits.stall = std::chrono::milliseconds{400};
  auto expected = std::set{error_code::unavailable, error_code::corrupt};
  SECTION("in the advertisement") {
    proxy.set({fault::kind::cut, 300});
  }
  SECTION("before it says that it has the pack") {
    install_hook(rig.served(), "pre-receive", "kill -9 $PPID");
  }
  SECTION("hanging") {
    proxy.set({fault::kind::hang, 0});
    expected = {error_code::timed_out};
  }
  SECTION("gone") {
    rig.server.stop();
    expected = {error_code::unavailable};
  }
  const auto pushed = git::push_points(job);
  REQUIRE_FALSE(pushed);
  INFO(to_string(pushed.error()));
  CHECK(expected.contains(pushed.error().code));
}

TEST_CASE(
    "a remote that has everything and does not answer in time leaves each agent of the push unsaved, and says so") {
  saved_rig rig({"a1", "a2"});
  dirty(rig);
  run_git(rig.served(), {"config", "receive.keepAlive", "0"});
  // Of this ref alone: the others could have been set.
  install_hook(rig.served(), "pre-receive",
               "while read old new ref; do case $ref in */a2/*) exec sleep 5;; esac; done");
  auto job = rig.push_job();
  job.limits.stall = std::chrono::milliseconds{400};
  const auto together = git::push_points(job);
  INFO((together ? std::string{} : to_string(together.error())));
  REQUIRE(together);
  REQUIRE(together->size() == 2);
  for (const auto& answer : *together) {
    CHECK(answer.refused == git::refusal::no_answer);
    REQUIRE_FALSE(answer.point);
    CHECK(answer.point.error().code == error_code::timed_out);
    CHECK(answer.point.error().object == answer.agent_id);
  }
  auto alone = rig.push_job({"a1"});
  CHECK(push_one(alone).point.value());
  CHECK_FALSE(rig.on_remote(rig.ref("a1")).empty());
}

TEST_CASE("a push that is cancelled ends at once") {
  saved_rig rig;
  dirty(rig);
  auto job = rig.push_job();
  job.cancel = std::make_shared<std::atomic<bool>>(true);
  const auto pushed = git::push_points(job);
  REQUIRE_FALSE(pushed);
  CHECK(pushed.error().code == error_code::cancelled);
  CHECK(rig.on_remote(rig.ref()).empty());
}

TEST_CASE("a push whose answer was lost is repeated, and the ref moves on") {
  saved_rig rig;
  dirty(rig);
  const auto lost = rig.save();
  rig.put("a.txt", "moved on\n");
  const auto next = rig.save();
  CHECK(rig.on_remote(rig.ref()) == next.commit);
  CHECK(next.seq > lost.seq);
}
