#include "core/error.hpp"

#include <catch2/catch_test_macros.hpp>

#include <set>

#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;

TEST_CASE("every code has a stable word of its own") {
  std::set<std::string_view> words;
  const auto last = static_cast<int>(error_code::internal);
  for (int i = 0; i <= last; ++i)
    words.insert(to_string(static_cast<error_code>(i)));
  CHECK(words.size() == static_cast<std::size_t>(last) + 1);
  CHECK(to_string(error_code::branch_missing) == "branch_missing");
  CHECK(to_string(error_code::token_expired) == "token_expired");
}

TEST_CASE("only trouble that may pass by itself is transient") {
  CHECK(is_transient(error_code::unavailable));
  CHECK(is_transient(error_code::timed_out));
  CHECK(is_transient(error_code::rate_limited));
  CHECK_FALSE(is_transient(error_code::unauthorized));
  CHECK_FALSE(is_transient(error_code::fenced));
  CHECK_FALSE(is_transient(error_code::not_found));
  CHECK_FALSE(is_transient(error_code::tls_failed));
  CHECK_FALSE(is_transient(error_code::internal));
}

TEST_CASE("an error reads as object, message and code") {
  CHECK(to_string(error{error_code::not_found, "rig r1", "no such repository"}) ==
        "rig r1: no such repository (not_found)");
  CHECK(to_string(error{error_code::disk, {}, "disk full"}) == "disk full (disk)");
}

TEST_CASE("asking a failed result for its value says which error it was") {
  const result<int> failed = error{error_code::corrupt, "pack", "flipped byte"};
  REQUIRE_FALSE(failed);
  try {
    (void)failed.value();
    FAIL("no exception");
  } catch (const bad_result& e) {
    CHECK(std::string(e.what()).find("pack: flipped byte (corrupt)") != std::string::npos);
  }
}
