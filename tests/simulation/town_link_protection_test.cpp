#include <catch2/catch_test_macros.hpp>

#include "tests/unit/core/result_printer.hpp"
#include "town_link_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

/// Point `seq` of this container's epoch.
report_point point(int seq, bool kept = false, const std::string& agent_id = "a1") {
  town::recovery_point p;
  p.epoch = 3;
  p.seq = seq;
  p.ref = "refs/townkeeper/t1/" + agent_id + (kept ? "/kept/3-" + std::to_string(seq) : "/3");
  p.commit = std::string(40, 'c');
  return {"r1", agent_id, std::move(p), kept};
}

report_drained last_word(std::chrono::milliseconds limit = 5s) {
  town::drained_agent saved;
  saved.agent_id = "a1";
  saved.saved = true;
  return {{"i-1", {saved}}, limit};
}

std::string recorded_json() {
  return success(R"({"recorded":true})");
}

bool says_seq(const open_request& r, int seq) {
  return r.request.what.body.find("\"seq\":" + std::to_string(seq) + ",") != std::string::npos;
}

struct protection_world : link_world {
  auto report(report_point r) { return ask<point_reported>(std::move(r)); }
  auto report(report_drained r) { return ask<drained_reported>(std::move(r)); }

  void fence() {
    const auto call = ask<agent_call_answer>(agent_call{"r1", "a1", "POST", "status", "{}"});
    answer("status", 409, refusal("fenced"));
    REQUIRE(heard.fenced == 1);
  }
};

} // namespace

// -- points -----------------------------------------------------------------------------------------------------------

TEST_CASE("a point is said until the town has recorded it, with the epoch") {
  protection_world w;
  w.start_booted();
  const auto said = w.report(point(1));
  CHECK(w.oldest("recovery-point").request.what.path == "/rigs/r1/agents/a1/recovery-point");
  CHECK(w.oldest("recovery-point").request.epoch == 3);
  for (int failures = 0; failures < 20; ++failures) {
    w.fail("recovery-point");
    CHECK_FALSE(*said);
    CHECK(w.health_heard.trouble);
    REQUIRE(w.advance_until([&] { return w.open_of("recovery-point") == 1; }, 11s));
  }
  w.answer("recovery-point", 200, recorded_json());
  REQUIRE(*said);
  CHECK((*said)->recorded);
  CHECK_FALSE(w.health_heard.trouble);
}

TEST_CASE("a newer point takes the place of one that waits for its next attempt") {
  protection_world w;
  w.start_booted();
  const auto first = w.report(point(1));
  w.fail("recovery-point");
  const auto third = w.report(point(3));
  const auto second = w.report(point(2)); // overtaken on its way
  REQUIRE(w.advance_until([&] { return w.open_of("recovery-point") == 1; }, 1s));
  CHECK(says_seq(w.oldest("recovery-point"), 3));
  w.answer("recovery-point", 200, recorded_json());
  CHECK(*first);
  CHECK(*second);
  CHECK(*third);
  w.advance(1min);
  CHECK(w.sent_of("recovery-point") == 2);
}

TEST_CASE("a point that comes while an older one is under way is said next, and answered by its own answer") {
  protection_world w;
  w.start_booted();
  const auto first = w.report(point(1));
  const auto second = w.report(point(2));
  CHECK(w.sent_of("recovery-point") == 1);
  w.answer("recovery-point", 200, recorded_json());
  CHECK(*first);
  CHECK_FALSE(*second);
  CHECK(says_seq(w.oldest("recovery-point"), 2));
  w.answer("recovery-point", 200, recorded_json());
  CHECK(*second);
}

TEST_CASE("agents do not wait for each other's points") {
  protection_world w;
  w.start_booted();
  const auto a = w.report(point(1, false, "a1"));
  const auto b = w.report(point(2, false, "a2"));
  CHECK(w.open_of("recovery-point") == 2);
  w.fail("recovery-point");
  w.answer("recovery-point", 200, recorded_json());
  CHECK_FALSE(*a);
  CHECK(*b);
  REQUIRE(w.advance_until([&] { return w.open_of("recovery-point") == 1; }, 1s));
  w.answer("recovery-point", 200, recorded_json());
  CHECK(*a);
}

TEST_CASE("a point the town refuses for good is answered with its reason, and holds up no other") {
  protection_world w;
  w.start_booted();
  const auto refused = w.report(point(1));
  w.answer("recovery-point", 404, refusal("unknown_agent"));
  REQUIRE(*refused);
  CHECK((*refused)->recorded.error().code == error_code::not_found);
  const auto next = w.report(point(2));
  w.answer("recovery-point", 200, recorded_json());
  CHECK((*next)->recorded);
}

TEST_CASE("kept points are all said: none takes another's place") {
  protection_world w;
  w.start_booted();
  const auto first = w.report(point(1, true));
  const auto second = w.report(point(2, true));
  REQUIRE(w.open_of("kept") == 2);
  CHECK(w.oldest("kept").request.what.path == "/rigs/r1/agents/a1/kept");
  w.fail("kept");
  w.answer("kept", 200, recorded_json());
  CHECK(*second);
  REQUIRE(w.advance_until([&] { return w.open_of("kept") == 1; }, 1s));
  CHECK(says_seq(w.oldest("kept"), 1));
  w.answer("kept", 200, recorded_json());
  CHECK(*first);
}

TEST_CASE("before boot no point can be of this container's epoch") {
  protection_world w;
  w.start();
  const auto said = w.report(point(1));
  REQUIRE(*said);
  CHECK((*said)->recorded.error().code == error_code::unavailable);
  CHECK(w.open_of("recovery-point") == 0);
}

// -- fenced -----------------------------------------------------------------------------------------------------------

TEST_CASE("a late point is refused and listed: that counts as recorded, and tells that this container is fenced") {
  protection_world w;
  w.start_booted();
  const auto said = w.report(point(1));
  w.answer("recovery-point", 409, refusal("fenced"));
  REQUIRE(*said);
  CHECK((*said)->recorded);
  CHECK(w.heard.fenced == 1);
}

TEST_CASE("a fenced container still says its points, and repeats them where the town cannot be reached") {
  protection_world w;
  w.start_booted();
  const auto before = w.report(point(1));
  w.fail("recovery-point");
  w.fence();
  CHECK_FALSE(*before);
  REQUIRE(w.advance_until([&] { return w.open_of("recovery-point") == 1; }, 1s));
  w.answer("recovery-point", 409, refusal("fenced"));
  CHECK((*before)->recorded);
  const auto after = w.report(point(2));
  REQUIRE(w.open_of("recovery-point") == 1);
  w.answer("recovery-point", 409, refusal("fenced"));
  CHECK((*after)->recorded);
}

TEST_CASE("a fenced container has its kept points listed as late ones") {
  protection_world w;
  w.start_booted();
  const auto before = w.report(point(1, true));
  w.answer("kept", 409, refusal("fenced"));
  CHECK_FALSE(*before);
  CHECK(says_seq(w.oldest("recovery-point"), 1));
  w.answer("recovery-point", 409, refusal("fenced"));
  CHECK((*before)->recorded);
  const auto after = w.report(point(2, true));
  CHECK(w.open_of("kept") == 0);
  w.answer("recovery-point", 409, refusal("fenced"));
  CHECK((*after)->recorded);
}

TEST_CASE("a fenced container whose token is refused gets another round with each heartbeat interval") {
  protection_world w;
  w.start_booted();
  w.fence();
  const auto said = w.report(point(1));
  w.answer("recovery-point", 401, refusal("token_expired"));
  w.fail("refresh-container-token");
  REQUIRE(w.advance_until([&] { return w.open_of("refresh-container-token") == 1; }, 1s));
  w.answer("refresh-container-token", 403, refusal("forbidden"));
  CHECK(w.open.empty());
  REQUIRE(w.advance_until([&] { return w.open_of("recovery-point") == 1; }, 31s));
  w.answer("recovery-point", 409, refusal("fenced"));
  CHECK((*said)->recorded);
  CHECK(w.sent_of("container-heartbeat") == 0);
}

// -- the last word ----------------------------------------------------------------------------------------------------

TEST_CASE("the last word names what was saved, and is answered when the town has it") {
  protection_world w;
  w.start_booted();
  const auto said = w.report(last_word());
  CHECK(w.oldest("container-drained").request.what.body ==
        R"({"instanceId":"i-1","agents":[{"agentId":"a1","saved":true}]})");
  w.fail("container-drained");
  CHECK_FALSE(*said);
  REQUIRE(w.advance_until([&] { return w.open_of("container-drained") == 1; }, 1s));
  w.answer("container-drained", 200, recorded_json());
  REQUIRE(*said);
  CHECK((*said)->recorded);
}

TEST_CASE("the last word is tried for its limit and no longer, whatever the town does") {
  protection_world w;
  w.start_booted();
  const auto said = w.report(last_word(5s));
  SECTION("it hangs") {
    w.advance(5s - 1ms);
    CHECK_FALSE(*said);
    w.advance(1ms);
  }
  SECTION("it cannot be reached") {
    while (!*said) {
      w.fail("container-drained");
      w.advance_until([&] { return *said || w.open_of("container-drained") == 1; }, 5s);
    }
    CHECK(w.now().time_since_epoch() <= 5s);
  }
  REQUIRE(*said);
  CHECK((*said)->recorded.has_error());
}

TEST_CASE("from the last word on, points have its limit, and it is answered only when none is unsaid") {
  protection_world w;
  w.start_booted();
  const auto before = w.report(point(1));
  w.advance(10min);
  const auto kept = w.report(point(9, true));
  const auto said = w.report(last_word(5s));
  const auto after = w.report(point(1, false, "a2"));
  w.answer("container-drained", 200, recorded_json());
  CHECK_FALSE(*said);
  SECTION("the town answers") {
    w.answer("recovery-point", 200, recorded_json());
    w.answer("recovery-point", 200, recorded_json());
    CHECK_FALSE(*said);
    w.answer("kept", 200, recorded_json());
    REQUIRE(*said);
    CHECK((*after)->recorded);
  }
  SECTION("the town hangs") {
    w.advance(5s - 1ms);
    CHECK_FALSE(*said);
    w.advance(1ms);
    REQUIRE(*said);
    for (const auto& point : {before, after, kept}) {
      REQUIRE(*point);
      CHECK((*point)->recorded.error().code == error_code::timed_out);
    }
  }
  CHECK((*said)->recorded);
}

TEST_CASE("the last word of a fenced container is said: the one before the current is marked drained") {
  protection_world w;
  w.start_booted();
  w.fence();
  const auto said = w.report(last_word());
  SECTION("it was the one before") {
    w.answer("container-drained", 200, recorded_json());
    CHECK((*said)->recorded);
  }
  SECTION("it is older still") {
    w.answer("container-drained", 409, refusal("fenced"));
    CHECK((*said)->recorded.error().code == error_code::fenced);
    w.advance(1min);
    CHECK(w.sent_of("container-drained") == 1);
  }
}

TEST_CASE("a container that never booted has no last word") {
  protection_world w;
  w.start();
  const auto said = w.report(last_word());
  REQUIRE(*said);
  CHECK((*said)->recorded.error().code == error_code::unavailable);
}
