#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "crash_scenario.hpp"
#include "fault_points.hpp"
#include "tests/integration/scenario.hpp"

using namespace townkeeper;
using namespace townkeeper::faults;

namespace {

/// Those that come only with time, or with much work.
const std::vector<std::string> slow_points{"agent-log-rotated", "completed-answered", "heartbeat-answered",
                                           pruning_point};

struct injected_fault {
  std::string point, kind;
  int occurrence = 1;
  int life = 1; ///< the first in which it occurs

  std::string text() const { return point + "=" + kind + "@" + std::to_string(occurrence); }
};

/// A disk fails by being full, a connection by being reset.
std::string error_of(const std::string& point) {
  for (const auto* end : {"-told", "-answered", "-pushed", "-acknowledged", "-deleted"})
    if (point.ends_with(end)) return "error:ECONNRESET";
  return "error:ENOSPC";
}

std::vector<std::string> words_of(const char* variable) {
  std::vector<std::string> words;
  const char* text = std::getenv(variable);
  std::istringstream in{text == nullptr ? "" : text};
  for (std::string word; std::getline(in, word, ',');)
    words.push_back(word);
  return words;
}

std::string listed(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines)
    text += line + '\n';
  return text;
}

using passed_in_life = std::map<int, std::map<std::string, int>>;

std::vector<injected_fault> all_faults(const std::set<std::string>& points, const passed_in_life& passed) {
  std::vector<injected_fault> all;
  for (const auto& point : points)
    for (const int occurrence : {1, 2})
      for (const auto& [life, counts] : passed) {
        const auto found = counts.find(point);
        if (found == counts.end() || found->second < occurrence) continue;
        all.push_back({point, "kill", occurrence, life});
        all.push_back({point, error_of(point), occurrence, life});
        break;
      }
  return all;
}

/// Evenly spread, beginning somewhere by the seed; 0: all.
std::vector<injected_fault> sample(const std::vector<injected_fault>& all, std::size_t wanted, std::size_t seed) {
  if (wanted == 0 || wanted >= all.size()) return all;
  std::vector<injected_fault> chosen;
  for (std::size_t i = 0; i < wanted; ++i)
    chosen.push_back(all[(seed + i * all.size() / wanted) % all.size()]);
  return chosen;
}

} // namespace

TEST_CASE("the process dies or a step fails at each fault point: no save that was acknowledged is lost") {
  const auto seed = static_cast<std::size_t>(integration::seed_of_run());
  const auto wanted = static_cast<std::size_t>(integration::count_of("TOWNKEEPER_SWEEP", 6));
  const auto only = words_of("TOWNKEEPER_SWEEP_POINTS");
  const test::temp_dir logs{"sweep"};
  sweep_ground ground;

  const auto points = fault_points_in(TOWNKEEPER_SOURCES);
  CHECK(points.size() >= 25);
  passed_in_life passed;
  int checked = 0;
  {
    crash_scenario clean{ground, "clean"};
    for (int life = 1; life <= crash_scenario::lives; ++life) {
      const auto log = logs.path() / ("clean" + std::to_string(life));
      clean.live(life, {{}, log, life == 1 ? slow_points : std::vector<std::string>{}});
      passed[life] = passed_points(log);
    }
    clean.wake_after(crash_scenario::lives, true);
    checked += clean.checked_saves();
    INFO(listed(clean.violations()) << clean.last_words());
    REQUIRE(clean.violations().empty());
  }
  for (const auto& point : points) {
    CAPTURE(point);
    const bool was_passed =
        std::any_of(passed.begin(), passed.end(), [&](const auto& life) { return life.second.contains(point); });
    CHECK(was_passed);
  }

  auto faults = all_faults(points, passed);
  if (!only.empty())
    std::erase_if(faults, [&](const auto& f) { return std::find(only.begin(), only.end(), f.point) == only.end(); });
  const auto possible = faults.size();
  faults = sample(faults, wanted, seed);
  std::set<std::string> swept;
  int runs = 0, happened = 0, lost = 0;
  for (const auto& fault : faults) {
    const bool wiped = runs % 2 == 0;
    ++runs;
    swept.insert(fault.point);
    crash_scenario scenario{ground, "run" + std::to_string(runs)};
    for (int life = 1; life < fault.life; ++life)
      scenario.live(life);
    const auto log = logs.path() / ("run" + std::to_string(runs));
    const bool is_slow = std::find(slow_points.begin(), slow_points.end(), fault.point) != slow_points.end();
    scenario.live(fault.life, {fault.text(), log, is_slow ? std::vector{fault.point} : std::vector<std::string>{}});
    const auto counts = passed_points(log);
    const auto count = counts.find(fault.point);
    if (count != counts.end() && count->second >= fault.occurrence) ++happened;
    scenario.wake_after(fault.life, wiped);
    checked += scenario.checked_saves();
    if (scenario.violations().empty()) continue;
    ++lost;
    std::printf("FAULT %s in life %d, then %s disk\n%s\n", fault.text().c_str(), fault.life,
                wiped ? "an empty" : "the same", listed(scenario.violations()).c_str());
    std::fflush(stdout);
    UNSCOPED_INFO(fault.text() << " in life " << fault.life << ", then " << (wiped ? "an empty" : "the same")
                               << " disk\n"
                               << listed(scenario.violations()) << scenario.last_words());
    CHECK(scenario.violations().empty());
  }
  std::printf("crash points %zu, runs %d of %zu (%d with the fault reached, seed %zu), acknowledged saves checked %d, "
              "lost %d\n",
              swept.size(), runs, possible, happened, seed, checked, lost);
  CHECK(happened * 10 >= runs * 8);
}

TEST_CASE("a fault that cannot be read ends the daemon at its start: 78, and the text says which") {
  sweep_ground ground;
  test::container_options options;
  options.api_url = ground.town().base_url();
  options.town_id = "refused";
  options.environment["TOWNKEEPER_FAULT_POINTS"] = "index-written=explode";
  test::container box{options};
  box.launch();
  CHECK(box.wait_for_exit() == 78);
  CHECK(box.log().find("index-written=explode") != std::string::npos);
}
