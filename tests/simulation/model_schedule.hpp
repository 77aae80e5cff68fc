#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model_container.hpp"
#include "model_world.hpp"

namespace townkeeper::simulation {

/// One seed: a town's containers come and go under faults, then the faults stop and all must be well.
class model_schedule {
public:
  explicit model_schedule(std::uint64_t seed)
      : world_(seed) {}

  /// What was broken, or nothing.
  std::vector<std::string> play();
  std::string story() const { return world_.story(); }
  milliseconds greatest_loss() const { return world_.greatest_loss; }

private:
  void one_event();
  void weather_changes();
  void town_weather_is(sky weather);
  void remote_weather_is(model_remote& remote, sky weather);
  void clear_all_weather();
  void crash_a_child();
  void container_goes();
  void agent_comes_or_goes();
  void save_on_demand();
  std::shared_ptr<model_disk> some_disk();
  void faults_stop();
  void expect_within(const char* what, milliseconds limit, const std::function<bool()>& done);
  bool is_ready();
  bool all_saved();

  model_world world_;
  std::vector<std::shared_ptr<model_disk>> old_disks_;
};

} // namespace townkeeper::simulation
