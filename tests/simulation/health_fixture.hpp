#pragma once

#include <rapidjson/document.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/health.hpp"
#include "core/bounded_json.hpp"
#include "fake_town.hpp"
#include "fixture.hpp"
#include "messages/type_ids.hpp"
#include "specs.hpp"

namespace townkeeper::simulation {

/// The real health actor, told by a test what the others would tell it.
struct health_simulation : virtual_town {
  std::shared_ptr<fake_town> town_said = std::make_shared<fake_town>();
  std::shared_ptr<published_health> published = std::make_shared<published_health>();
  std::shared_ptr<metrics::daemon_metrics> numbers = std::make_shared<metrics::daemon_metrics>("test");
  health_actor subject;
  double last_progress = 0;

  health_simulation() {
    health_config config;
    config.instance_id = "instance";
    config.version = "test";
    config.published = published;
    config.metrics = numbers;
    config.town = keep(spawn_fake_town(system(), town_said));
    config.wall_clock = [] { return std::string{"2026-01-01T00:00:00Z"}; };
    config.last_activity_at = [](int pid) { return "activity-of-" + std::to_string(pid); };
    subject = keep(system().spawn(health, std::move(config)));
    run();
  }

  /// The published document. A failure of the test where it is no JSON, or its progress fell.
  rapidjson::Document document() {
    rapidjson::Document doc;
    const auto fault = parse_bounded(*published->read()->document, doc);
    REQUIRE_FALSE(fault.has_value());
    const double now = doc["recovery"]["progress"].GetDouble();
    CHECK(now >= last_progress);
    CHECK((now == 1) == published->read()->converged);
    last_progress = now;
    return doc;
  }
  std::string phase() { return document()["recovery"]["phase"].GetString(); }
  double progress() { return document()["recovery"]["progress"].GetDouble(); }

  void expect_town(town::desired_state desired) {
    CHECK(ask<bool>(subject, townkeeper::expect{std::move(desired)}).get());
  }
  void rig_settles(const std::string& rig_id, std::optional<error> failure = std::nullopt) {
    town::rig_report report;
    report.rig_id = rig_id;
    report.outcome = failure ? town::rig_outcome::failed : town::rig_outcome::ready;
    report.failure = std::move(failure);
    tell(subject,
         rig_progress{rig_id, report.failure ? town::rig_phase::failed : town::rig_phase::ready, 1, report.failure});
    tell(subject, rig_settled{report, rig_of(rig_id).git_url});
  }
  agent_settled outcome(const std::string& rig_id, const town::agent_spec& agent, town::agent_outcome o) const {
    town::agent_report report;
    report.agent_id = agent.agent_id;
    report.branch = agent.branch;
    report.outcome = o;
    if (!town::is_restored(o)) report.failure = error{error_code::disk, agent.agent_id, "injected"};
    return {rig_id, report, rig_of(rig_id).git_url, false};
  }
  void agent_settles(const std::string& rig_id, const std::string& agent_id,
                     town::agent_outcome o = town::agent_outcome::restored) {
    tell(subject, outcome(rig_id, agent_of(agent_id), o));
  }
  std::vector<std::string> ready_outcomes() const {
    std::vector<std::string> all;
    for (const auto& r : town_said->ready)
      all.push_back(r.report.outcome);
    return all;
  }
};

} // namespace townkeeper::simulation
