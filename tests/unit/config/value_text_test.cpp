#include "config/value_text.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace townkeeper::config;
using namespace std::chrono_literals;

TEST_CASE("a duration is a number with its unit") {
  CHECK(parse_duration("250ms") == 250ms);
  CHECK(parse_duration("10s") == 10s);
  CHECK(parse_duration("5m") == 5min);
  CHECK(parse_duration("24h") == 24h);
  CHECK(parse_duration("0") == 0ms);
}

TEST_CASE("a duration without a unit, with another one or out of any range cannot be read") {
  const auto text = GENERATE(as<std::string>{}, "", "10", "s", "-1s", "+1s", "1.5s", "1 s", "1d", "1s ", " 1s", "0x1s",
                             "99999999999999999999s", "9223372036854775807h");
  CAPTURE(text);
  CHECK_FALSE(parse_duration(text));
}

TEST_CASE("a duration is shown in the largest unit that divides it, and reads back") {
  const auto [value, text] = GENERATE(table<std::chrono::milliseconds, std::string>(
      {{0ms, "0"}, {1ms, "1ms"}, {1500ms, "1500ms"}, {30s, "30s"}, {90s, "90s"}, {120s, "2m"}, {24h, "24h"}}));
  CHECK(show_duration(value) == text);
  CHECK(parse_duration(text) == value);
}

TEST_CASE("a size is bytes, or a number with a binary unit") {
  CHECK(parse_size("4096") == 4096);
  CHECK(parse_size("16KiB") == 16384);
  CHECK(parse_size("10MiB") == 10485760);
  CHECK(parse_size("1GiB") == 1073741824);
  CHECK(show_size(16384) == "16KiB");
  CHECK(show_size(1500) == "1500");
  for (const auto* text : {"", "1KB", "1K", "-1", "1.5MiB", "99999999999999999999", "18446744073709551615GiB"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("a list is a JSON array of strings, or words between commas where that is allowed") {
  using words = std::vector<std::string>;
  CHECK(parse_list(R"(["a","b c"])", false) == words{"a", "b c"});
  CHECK(parse_list("[]", true) == words{});
  CHECK(parse_list("a, b,c ", true) == words{"a", "b", "c"});
  CHECK_FALSE(parse_list("a,b", false));
  CHECK_FALSE(parse_list("[1]", true));
  CHECK_FALSE(parse_list("[\"a\"", true));
  CHECK_FALSE(parse_list(R"({"a":1})", false));
  CHECK(parse_list(show_list({"x\"y", "\xc3\xa4"}), false) == words{"x\"y", "\xc3\xa4"});
}
