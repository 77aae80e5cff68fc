#include "cli/control_answers.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace townkeeper;
using namespace townkeeper::cli;
using town::town_phase;

namespace {

int readyz(town_phase phase, bool converged, bool strict = false) {
  health_snapshot now;
  now.phase = phase;
  now.converged = converged;
  return readiness(now, strict).status;
}

} // namespace

TEST_CASE("ready is who has converged, and does not drain and is not fenced") {
  CHECK(readyz(town_phase::booting, false) == 503);
  CHECK(readyz(town_phase::restoring, false) == 503);
  CHECK(readyz(town_phase::ready, true) == 200);
  CHECK(readyz(town_phase::degraded, true) == 200);
  CHECK(readyz(town_phase::draining, true) == 503);
  CHECK(readyz(town_phase::drained, true) == 503);
  CHECK(readyz(town_phase::fenced, true) == 503);
}

TEST_CASE("strictly ready is only a town without a failure") {
  CHECK(readyz(town_phase::ready, true, true) == 200);
  CHECK(readyz(town_phase::degraded, true, true) == 503);
}

TEST_CASE("the answer of readyz says which phase it is, and when to ask again") {
  health_snapshot now;
  now.phase = town_phase::degraded;
  now.converged = true;
  CHECK(readiness(now, false).body_view() == R"({"success":true,"data":{"phase":"degraded"}})");
  const auto refused = readiness(now, true);
  CHECK(refused.headers.find("Retry-After") == "1");
  CHECK(refused.body_view().find("degraded") != std::string_view::npos);
}

TEST_CASE("a control call of another epoch is refused") {
  CHECK_FALSE(epoch_refusal(std::nullopt, 3));
  CHECK_FALSE(epoch_refusal("3", 3));
  CHECK(epoch_refusal("2", 3)->status == 409);
  CHECK(epoch_refusal("4", 3)->body_view().find("\"fenced\"") != std::string_view::npos);
  CHECK(epoch_refusal("3", 0)->status == 503);
  for (const auto* wrong : {"", "x", "-1", "0", "3 ", "3.0", "99999999999999999999"})
    CHECK(epoch_refusal(wrong, 3)->status == 400);
}

TEST_CASE("a start is answered with the agent, or with why it is not started") {
  agent_status running;
  running.agent_id = "a1";
  running.status = "running";
  const auto started = start_response(start_answer{201, running, std::nullopt, 0});
  CHECK(started.status == 201);
  CHECK(started.body_view().find(R"("status":"running")") != std::string_view::npos);

  const auto later =
      start_response(start_answer{503, std::nullopt, error{error_code::unavailable, "a1", "is being restored"}, 2});
  CHECK(later.status == 503);
  CHECK(later.headers.find("Retry-After") == "2");

  const auto unknown =
      start_response(start_answer{404, std::nullopt, error{error_code::not_found, "a9", "no such agent"}, 0});
  CHECK(unknown.status == 404);
  CHECK(unknown.body_view().find(R"("code":"unknown_agent")") != std::string_view::npos);

  const auto failed = start_response(
      start_answer{500, running, error{error_code::invalid_config, "agents.command", "no such program"}, 0});
  CHECK(failed.status == 500);
  CHECK(failed.body_view().find("no such program") != std::string_view::npos);
}

TEST_CASE("an actor that does not answer in time makes the caller come again") {
  const result<start_answer> late(boost::system::in_place_error, error{error_code::timed_out, "townkeeper", "late"});
  CHECK(start_response(late).status == 503);
  CHECK(start_response(late).headers.find("Retry-After").has_value());
  CHECK(unanswered({error_code::internal, "townkeeper", "refused the message"}).status == 500);
}
