#include "routes.hpp"

#include "bodies.hpp"
#include "session.hpp"

namespace townkeeper::contract {

std::vector<route> all_routes(const std::string& town, const std::string& instance) {
  using enum route::kind;
  const auto agent = [](const char* rest) { return agent_path("a1", rest); };
  return {
      {"POST", "/container-boot", boot_body(instance), boot},
      {"GET", "/desired-state", "", read},
      {"POST", "/restore-progress", R"({"status":"ok"})", write},
      {"POST", "/container-ready", ready_body(instance, "ready", {report("a1", "restored")}), write},
      {"POST", "/container-heartbeat", heartbeat_body(instance, "a1", 7), write},
      {"POST", agent("/heartbeat"), R"({"agentId":"a1","status":"idle-in-test"})", write},
      {"POST", "/container-eviction", R"({"reason":"SIGTERM"})", write},
      {"POST", "/container-drained", drained_body(instance, "a1", true), write},
      {"POST", "/refresh-container-token", "{}", read},
      {"POST", "/rigs/rig/refresh-git-token", "", read},
      {"POST", agent("/checkpoint"), R"({"data":{"step":1}})", write},
      {"GET", agent("/checkpoints"), "", read},
      {"GET", agent("/prime"), "", read},
      {"POST", agent("/mail-ack"), R"({"ids":["1"]})", write},
      {"POST", agent("/recovery-point"), point(town, "a1", 1, 1), write},
      {"POST", agent("/kept"), point(town, "a1", 1, 1, commit_c), write},
      {"DELETE", agent("/kept/") + commit_c, "", write},
      {"POST", agent("/done"), R"({"branch":"gt/a1"})", write},
      {"POST", agent("/completed"), R"({"status":"completed"})", write},
      {"POST", agent("/status"), R"({"message":"compiling"})", write},
      {"PUT", "/rigs/rig", rig_body(), admin},
      {"PUT", agent(""), agent_body("a1"), admin},
      {"DELETE", agent("/recovery"), "", admin},
      {"POST", agent("/mail"), R"({"body":"hello"})", admin},
      {"PUT", "/rigs/rig/git-token", R"({"token":"git-token-0123"})", admin},
      {"GET", "/state", "", admin},
      {"GET", "/dispatches", "", admin},
      {"DELETE", agent(""), "", admin},
      {"DELETE", "/rigs/rig", "", admin},
  };
}

} // namespace townkeeper::contract
