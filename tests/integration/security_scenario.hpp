#pragma once

#include <fstream>
#include <stdexcept>

#include "scenario.hpp"

/// What the tests of security share.
namespace townkeeper::integration {

inline const std::string control_token = "control-token-8c9d0e1f2a3b";

/// A container whose control token is known.
inline test::container_options guarded(const test::town& town, const std::string& config) {
  auto options = container_for(town, config);
  options.environment["TOWNKEEPER_CONTROL_TOKEN"] = control_token;
  return options;
}

inline void wake(test::container& box) {
  box.start();
  const bool ready = box.wait_for_phase("ready");
  INFO(box.log());
  REQUIRE(ready);
}

/// Until everything has settled, well or not.
inline bool wait_until_settled(const test::container& box) {
  return box.wait_for_health([](const rapidjson::Value& h) {
    const auto phase = text(&h["recovery"], "phase");
    return phase == "ready" || phase == "degraded";
  });
}

inline void save(const test::container& box) {
  const auto answer = box.post("/snapshot", "{}", control_token);
  INFO(answer.body);
  REQUIRE(answer.status == 200);
}

/// SIGTERM, and everything is saved.
inline void sleep(test::container& box) {
  box.terminate();
  const auto code = box.wait_for_exit();
  INFO(box.log());
  REQUIRE(code == 0);
}

inline void write(const std::filesystem::path& file, const std::string& content) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out{file, std::ios::binary};
  out << content;
  if (!out.flush()) throw std::runtime_error{"cannot write " + file.string()};
}

} // namespace townkeeper::integration
