#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

TEST_CASE("the first boot has epoch 1 and is told the desired state") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  const auto given = town.without_epoch("POST", "/container-boot", boot_body("i1"));
  REQUIRE(given.verdict() == ok);
  CHECK(given.data().keys() == words("epoch desiredState"));
  CHECK(given.data()["epoch"] == 1);
  CHECK(given.data()["desiredState"]["epoch"] == 1);
  CHECK(given.data()["desiredState"] == town.desired_state());
  CHECK(given.data()["desiredState"]["rigs"][0]["agents"][0]["agentId"] == "a1");
}

TEST_CASE("each new instance has the next epoch") {
  session town{shared_town()};
  CHECK(town.boot("i1") == 1);
  CHECK(town.boot("i2") == 2);
  CHECK(town.boot("i3") == 3);
  CHECK(town.desired_state()["epoch"] == 3);
}

TEST_CASE("the newest instance that boots again has the same epoch and may have moved") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  town.boot("i1", "http://127.0.0.1:1/");
  town.ready("ready", {report("a1", "restored")});
  CHECK(town.boot("i1", "http://127.0.0.1:2/") == 1);
  CHECK(town.state()["container"]["controlUrl"] == "http://127.0.0.1:2/");
  CHECK(town.status_of("a1") == "pending");
}

TEST_CASE("an instance that had an earlier epoch is fenced when it boots again, and changes nothing") {
  session town{shared_town()};
  town.boot("i1");
  town.boot("i2");
  const auto before = town.state();
  CHECK(town.without_epoch("POST", "/container-boot", boot_body("i1")).verdict() == fenced);
  CHECK(town.state() == before);
}

TEST_CASE("a boot of a new epoch takes every agent with work back to restoring") {
  session town{shared_town()};
  town.put_rig();
  for (const auto* status : {"pending", "working", "stalled", "idle", "dead"})
    town.put_agent(status, agent_body(status, status));
  town.boot();
  for (const auto* status : {"pending", "working", "stalled"})
    CHECK(town.status_of(status) == "restoring");
  CHECK(town.status_of("idle") == "idle");
  CHECK(town.status_of("dead") == "dead");
}

TEST_CASE("a boot that the contract does not allow is refused field by field") {
  session town{shared_town()};
  const auto refused = [&](const std::string& pointer, const std::string& value) {
    const auto given = town.without_epoch("POST", "/container-boot", with(boot_body("i1"), pointer, value));
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == std::vector<std::string>{pointer.substr(1)});
  };
  refused("/instanceId", R"("")");
  refused("/instanceId", json_string(std::string(129, 'i')));
  refused("/instanceId", R"("two\nlines")");
  refused("/startedAt", R"("yesterday")");
  refused("/disk", R"("cold")");
  refused("/version", "1");
  refused("/controlToken", R"("")");
  refused("/controlToken", R"("with space")");
  refused("/controlToken", R"("line\nbreak")");
  refused("/controlUrl", R"("http://192.0.2.1:8080/")");
  CHECK(town.desired_state()["epoch"] == 0);
}

TEST_CASE("the control token is kept and never shown") {
  session town{shared_town()};
  const auto boot = town.without_epoch("POST", "/container-boot", boot_body("i1"));
  CHECK(boot.body.text().find(control_token) == std::string::npos);
  CHECK(town.state()["container"]["controlToken"] == "***");
  CHECK(town.state().text().find(control_token) == std::string::npos);
}

TEST_CASE("the town remembers who booted") {
  session town{shared_town()};
  town.boot("i1");
  town.boot("i2", "http://localhost:8080");
  const auto container = town.state()["container"];
  CHECK(container["epoch"] == 2);
  CHECK(container["instanceId"] == "i2");
  CHECK(container["version"] == "0.1.0");
  CHECK(container["disk"] == "empty");
  CHECK(container["live"] == true);
  CHECK(town.state()["earlierContainers"][0]["instanceId"] == "i1");
  CHECK(town.state()["earlierContainers"][0]["live"] == false);
}

TEST_CASE("without a booted container, its words have nobody to belong to") {
  session town{shared_town()};
  const verdict not_booted{409, "not_booted"};
  CHECK(town.container("POST", "/container-ready", ready_body("i1", "ready")).verdict() == not_booted);
  CHECK(town.container("POST", "/container-heartbeat", heartbeat_body("i1", "a1", 0)).verdict() == not_booted);
  CHECK(town.container("POST", "/container-eviction", "{}").verdict() == not_booted);
  CHECK(town.container("POST", "/container-drained", drained_body("i1", "a1", true)).verdict() == not_booted);
}

TEST_CASE("restore progress is shown as it was said last") {
  session town{shared_town()};
  town.boot();
  REQUIRE(town.container("POST", "/restore-progress", R"({"recovery":{"progress":0.25}})").verdict() == ok);
  REQUIRE(town.container("POST", "/restore-progress", R"({"recovery":{"progress":0.5}})").verdict() == ok);
  CHECK(town.state()["container"]["progress"] == json::parse(R"({"recovery":{"progress":0.5}})"));
}
