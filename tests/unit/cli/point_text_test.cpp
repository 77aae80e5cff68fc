#include "cli/point_text.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "cli/control_answers.hpp"
#include "tests/unit/core/result_printer.hpp"
#include "town/codec.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;
using Catch::Matchers::ContainsSubstring;

namespace {

town::recovery_point point() {
  town::recovery_point p;
  p.epoch = 3;
  p.seq = 17;
  p.ref = "refs/townkeeper/t1/a1/3";
  p.commit = std::string(40, 'c');
  p.git_url = "https://git.example/r.git";
  p.branch = "gt/a1";
  p.branch_commit = std::string(40, 'b');
  p.head = {"refs/heads/gt/a1", std::string(40, 'b')};
  p.saved_at = "2026-11-24T12:00:00Z";
  p.kind = "manual";
  p.files = {1, 2, 3, 4};
  return p;
}

} // namespace

TEST_CASE("a point in a list shows what is known of it, and its ref") {
  git::listed_point listed{"refs/townkeeper/t1/a1/3", std::string(40, 'c'), "t1", "a1", false, 3, std::nullopt};
  const auto unknown = points_table({listed});
  CHECK_THAT(unknown, ContainsSubstring("a1") && ContainsSubstring("cccccccccccc  refs/townkeeper/t1/a1/3\n"));
  listed.details = git::found_recovery{point(), {}};
  CHECK_THAT(points_table({listed}),
             ContainsSubstring("3.17") && ContainsSubstring("2026-11-24T12:00:00Z manual 1 staged, 2 modified, 3 "
                                                            "untracked, 4 left out"));
  listed.kept = true;
  CHECK_THAT(points_table({listed}), ContainsSubstring(" kept "));
}

TEST_CASE("a shown point names every path, and what is not in it with the reason") {
  git::shown_point shown;
  shown.found = {point(), {{"big.bin", "larger than 95 MiB"}}};
  shown.identity = "Ann <ann@example.invalid>";
  shown.staged = {"s"};
  shown.deleted = {"gone"};
  shown.untracked = {"new\x1b[2Jfile\n"};
  const auto text = shown_text(shown);
  CHECK_THAT(text, ContainsSubstring("staged (1):\n  s\n") && ContainsSubstring("deleted (1):\n  gone\n"));
  CHECK_THAT(text, ContainsSubstring("untracked (1):\n  new?[2Jfile?\n"));
  CHECK_THAT(text, ContainsSubstring("big.bin: larger than 95 MiB") && ContainsSubstring("Ann <ann@example.invalid>"));
  CHECK_THAT(text, ContainsSubstring("none on the remote then") && !ContainsSubstring("in conflict"));
}

TEST_CASE("an unborn and a detached HEAD are shown as such") {
  git::shown_point shown;
  shown.found.point = point();
  shown.found.point.head = {std::nullopt, std::nullopt};
  CHECK_THAT(shown_text(shown), ContainsSubstring("HEAD     detached, no commit yet"));
}

TEST_CASE("what the control server says of a snapshot is read back whole") {
  SECTION("all is saved") {
    const auto answer = snapshot_response(snapshot_answer{{point()}, {}});
    const auto told = read_snapshot_answer(answer.status, answer.body_view());
    REQUIRE(told);
    CHECK(told->points == std::vector{point()});
    CHECK(told->unsaved.empty());
    CHECK_THAT(saved_text(told->points), ContainsSubstring("refs/townkeeper/t1/a1/3"));
  }
  SECTION("some is not") {
    const auto answer =
        snapshot_response(snapshot_answer{{point()}, {{error_code::unavailable, "a2", "the remote does not answer"}}});
    CHECK(answer.status == 503);
    const auto told = read_snapshot_answer(answer.status, answer.body_view());
    REQUIRE(told);
    CHECK(told->points.size() == 1);
    REQUIRE(told->unsaved.size() == 1);
    CHECK_THAT(to_string(told->unsaved.front()),
               ContainsSubstring("a2") && ContainsSubstring("the remote does not answer"));
  }
  SECTION("nothing was to be saved") {
    const auto answer = snapshot_response(snapshot_answer{});
    const auto told = read_snapshot_answer(answer.status, answer.body_view());
    REQUIRE(told);
    CHECK_THAT(saved_text(told->points), ContainsSubstring("nothing to save"));
  }
  SECTION("what is missing is not the agent") {
    const auto answer = snapshot_response(snapshot_answer{{}, {{error_code::not_found, "a1", "object not found"}}});
    CHECK(answer.status == 503);
    const auto told = read_snapshot_answer(answer.status, answer.body_view());
    REQUIRE(told);
    CHECK(told->unsaved.size() == 1);
  }
  SECTION("there is no such agent") {
    const auto answer = snapshot_response(snapshot_answer{{}, {{error_code::not_found, "a9", "no such agent"}}, true});
    CHECK(answer.status == 404);
    CHECK(read_snapshot_answer(answer.status, answer.body_view()).error().code == error_code::not_found);
  }
  SECTION("it is no answer of ours") {
    CHECK(read_snapshot_answer(200, "<html>").error().code == error_code::corrupt);
    CHECK(read_snapshot_answer(200, R"({"success":true,"data":{}})").error().code == error_code::corrupt);
    CHECK(read_snapshot_answer(401, R"({"success":false,"error":"no","code":"unauthorized"})").error().code ==
          error_code::unauthorized);
  }
}

TEST_CASE("a snapshot is asked of one agent or of all") {
  CHECK(snapshot_body(std::nullopt) == "{}");
  CHECK(snapshot_body("a\"1") == R"({"agentId":"a\"1"})");
}
