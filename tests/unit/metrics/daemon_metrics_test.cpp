#include "metrics/daemon_metrics.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using townkeeper::metrics::daemon_metrics;

namespace {

/// `name{labels}` → value, as text.
std::map<std::string, std::string> samples(const daemon_metrics& m) {
  std::map<std::string, std::string> out;
  std::istringstream in(m.text());
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    const auto blank = line.rfind(' ');
    REQUIRE(blank != std::string::npos);
    CHECK(out.emplace(line.substr(0, blank), line.substr(blank + 1)).second); // a series stands there once
  }
  return out;
}

std::string value(const daemon_metrics& m, const std::string& series) {
  const auto all = samples(m);
  const auto found = all.find(series);
  return found == all.end() ? "absent" : found->second;
}

void use_everything(daemon_metrics& m) {
  m.restore_took("total", 1.5);
  m.set_rigs("ready", 3);
  m.set_agents("restored", 6);
  m.add_fetched_bytes(1000);
  m.actor_restarted("rig");
  m.town_request("ok");
  m.set_ready(true);
  m.set_unsaved_age(1.5);
  m.point_saved();
  m.save_ended("saved");
  m.snapshot_took(0.02);
  m.push_took(0.2);
  m.add_pushed_bytes(100);
}

/// A histogram's samples are named after it, with an ending.
std::string family_of(const std::string& name, const std::map<std::string, std::string>& types) {
  for (const std::string ending : {"_bucket", "_sum", "_count"})
    if (name.ends_with(ending))
      if (const auto base = name.substr(0, name.size() - ending.size()); types.contains(base)) return base;
  return name;
}

} // namespace

TEST_CASE("the text is Prometheus exposition format: HELP and TYPE once per name, before its samples") {
  daemon_metrics m("1.2.3");
  use_everything(m);
  const auto text = m.text();
  REQUIRE(text.ends_with('\n'));
  const std::regex sample(R"(([a-z_]+)(\{[a-z_]+="[^"\\]*"\})? (-?[0-9.]+(e[+-]?[0-9]+)?))");
  std::map<std::string, std::string> types;
  std::set<std::string> helped;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    CAPTURE(line);
    std::smatch found;
    if (std::regex_match(line, found, std::regex("# HELP ([a-z_]+) (.+)"))) {
      CHECK(helped.insert(found[1]).second);
    } else if (std::regex_match(line, found, std::regex("# TYPE ([a-z_]+) (counter|gauge|histogram)"))) {
      CHECK(helped.contains(found[1]));
      CHECK(types.emplace(found[1], found[2]).second);
    } else {
      REQUIRE(std::regex_match(line, found, sample));
      CHECK(types.contains(family_of(found[1], types)));
      CHECK(found[1].str().starts_with("townkeeper_"));
      CHECK((types[family_of(found[1], types)] == "counter") == found[1].str().ends_with("_total"));
    }
  }
  const std::map<std::string, std::string> expected{{"townkeeper_build_info", "gauge"},
                                                    {"townkeeper_ready", "gauge"},
                                                    {"townkeeper_restore_seconds", "gauge"},
                                                    {"townkeeper_rigs", "gauge"},
                                                    {"townkeeper_agents", "gauge"},
                                                    {"townkeeper_fetched_bytes_total", "counter"},
                                                    {"townkeeper_town_requests_total", "counter"},
                                                    {"townkeeper_unsaved_age_seconds", "gauge"},
                                                    {"townkeeper_last_saved_timestamp_seconds", "gauge"},
                                                    {"townkeeper_saves_total", "counter"},
                                                    {"townkeeper_snapshot_seconds", "histogram"},
                                                    {"townkeeper_push_seconds", "histogram"},
                                                    {"townkeeper_pushed_bytes_total", "counter"},
                                                    {"townkeeper_actor_restarts_total", "counter"}};
  CHECK(types == expected);
}

TEST_CASE("what has not happened yet is shown as zero, so that its first time is seen as a rise") {
  const daemon_metrics m("1.2.3");
  auto seen = samples(m);
  for (const std::string name : {"townkeeper_snapshot_seconds", "townkeeper_push_seconds"}) {
    CHECK(seen[name + "_count"] == "0");
    std::erase_if(seen, [&](const auto& s) { return s.first.starts_with(name); });
  }
  CHECK(seen == std::map<std::string, std::string>{{R"(townkeeper_build_info{version="1.2.3"})", "1"},
                                                   {"townkeeper_ready", "0"},
                                                   {"townkeeper_fetched_bytes_total", "0"},
                                                   {"townkeeper_pushed_bytes_total", "0"},
                                                   {"townkeeper_unsaved_age_seconds", "0"},
                                                   {R"(townkeeper_saves_total{result="clean"})", "0"},
                                                   {R"(townkeeper_saves_total{result="saved"})", "0"},
                                                   {R"(townkeeper_saves_total{result="unchanged"})", "0"},
                                                   {R"(townkeeper_actor_restarts_total{kind="keeper"})", "0"},
                                                   {R"(townkeeper_actor_restarts_total{kind="saver"})", "0"},
                                                   {R"(townkeeper_actor_restarts_total{kind="agent"})", "0"},
                                                   {R"(townkeeper_actor_restarts_total{kind="rig"})", "0"},
                                                   {R"(townkeeper_actor_restarts_total{kind="worktree"})", "0"},
                                                   {R"(townkeeper_town_requests_total{result="ok"})", "0"}});
}

TEST_CASE("a state nobody is in any more stays, with 0") {
  daemon_metrics m("1");
  m.set_rigs("fetching", 2);
  m.set_agents("restoring", 4);
  m.set_rigs("fetching", 0);
  m.set_rigs("ready", 2);
  m.set_agents("restoring", 0);
  CHECK(value(m, R"(townkeeper_rigs{phase="fetching"})") == "0");
  CHECK(value(m, R"(townkeeper_rigs{phase="ready"})") == "2");
  CHECK(value(m, R"(townkeeper_agents{outcome="restoring"})") == "0");
}

TEST_CASE("counters only rise") {
  daemon_metrics m("1");
  m.add_fetched_bytes(1000);
  m.add_fetched_bytes(-400);
  m.add_fetched_bytes(0);
  m.add_fetched_bytes(24);
  CHECK(value(m, "townkeeper_fetched_bytes_total") == "1024");
  for (int i = 0; i < 3; ++i)
    m.town_request("unavailable");
  m.town_request("ok");
  m.actor_restarted("worktree");
  CHECK(value(m, R"(townkeeper_town_requests_total{result="unavailable"})") == "3");
  CHECK(value(m, R"(townkeeper_town_requests_total{result="ok"})") == "1");
  CHECK(value(m, R"(townkeeper_actor_restarts_total{kind="worktree"})") == "1");
  CHECK(value(m, R"(townkeeper_actor_restarts_total{kind="rig"})") == "0");
}

TEST_CASE("gauges follow") {
  daemon_metrics m("1");
  m.set_ready(true);
  m.restore_took("worktrees", 0.25);
  CHECK(value(m, "townkeeper_ready") == "1");
  CHECK(value(m, R"(townkeeper_restore_seconds{phase="worktrees"})") == "0.25");
  m.set_ready(false);
  CHECK(value(m, "townkeeper_ready") == "0");
  m.set_unsaved_age(2.5);
  CHECK(value(m, "townkeeper_unsaved_age_seconds") == "2.5");
  m.set_unsaved_age(0);
  CHECK(value(m, "townkeeper_unsaved_age_seconds") == "0");
  CHECK(value(m, "townkeeper_last_saved_timestamp_seconds") == "absent"); // nothing was saved
  m.point_saved();
  CHECK(std::stod(value(m, "townkeeper_last_saved_timestamp_seconds")) > 1.7e9);
}

TEST_CASE("numbers are kept from many threads at once, while they are read") {
  daemon_metrics m("1");
  std::atomic<int> read{0}; // Catch2's own assertions are for one thread at a time
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 250; ++i) {
        m.town_request("ok");
        m.add_fetched_bytes(1);
        if (i % 50 == 0 && m.text().find("townkeeper_fetched_bytes_total ") != std::string::npos) ++read;
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(read == 20);
  CHECK(value(m, R"(townkeeper_town_requests_total{result="ok"})") == "1000");
  CHECK(value(m, "townkeeper_fetched_bytes_total") == "1000");
}
