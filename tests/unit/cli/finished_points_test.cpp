#include "cli/finished_points.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace townkeeper;
using namespace townkeeper::cli;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

git::listed_point listed(const std::string& town, const std::string& agent, const std::string& saved_at) {
  git::listed_point p{"refs/townkeeper/" + town + "/" + agent + "/3", std::string(40, 'c'), town, agent, false, 3, {}};
  if (saved_at.empty()) return p;
  p.details.emplace();
  p.details->point.saved_at = saved_at;
  return p;
}

} // namespace

TEST_CASE("of finished agents alone, what is old alone may go; the rest stays with its reason") {
  const std::vector<town::finished_agent> finished{{"r1", "a1", std::nullopt}, {"r1", "a2", std::nullopt}};
  const auto now = *town::parse_time("2026-11-24T12:00:00Z");
  const auto found = choose_finished(
      {
          listed("t1", "a1", "2026-11-17T11:59:59Z"), listed("t1", "a2", "2026-11-17T12:00:00Z"), // to the second
          listed("t1", "a2", ""), listed("t1", "a2", "yesterday"), listed("t1", "a3", "2026-01-01T00:00:00Z"),
          listed("t2", "a1", "2026-01-01T00:00:00Z"), listed("t1", "a1", "2027-01-01T00:00:00Z"), // another clock
      },
      finished, "t1", now, std::chrono::days{7});
  REQUIRE(found.old.size() == 1);
  CHECK(found.old.front().agent.rig_id == "r1");
  CHECK(found.old.front().point.agent_id == "a1");
  REQUIRE(found.staying.size() == 6);
  CHECK_THAT(found.staying[0], ContainsSubstring("2026-11-17T12:00:00Z"));
  CHECK_THAT(found.staying[1], ContainsSubstring("cannot be read"));
  CHECK_THAT(found.staying[2], ContainsSubstring("cannot be read"));
  CHECK_THAT(found.staying[3], ContainsSubstring("not finished"));
  CHECK_THAT(found.staying[4], ContainsSubstring("of town t2"));
}
