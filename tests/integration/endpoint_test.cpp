#include <algorithm>
#include <thread>

#include "scenario.hpp"
#include "tests/support/siege.hpp"

/// The control server while somebody hoards its connections. How long probes take then is measured by bench/siege.
using namespace townkeeper;
using namespace townkeeper::integration;

namespace {

constexpr int agents = 8;
constexpr std::size_t silent = 500, slow = 50;

std::string agent_name(int i) {
  return "agent" + std::to_string(i);
}

/// A town of one rig and eight agents whose container may be besieged.
struct besieged_town {
  test::remote server;
  test::town town;
  test::town_admin admin{town, town_id};
  test::container box;

  explicit besieged_town(const std::string& http)
      : box{container_for(town, configuration().insert(1, R"("http":{)" + http + "},"))} {
    server.make_repository("api");
    admin.put_rig("api", server.url("api"));
    for (int i = 0; i < agents; ++i) {
      const auto branch = "work/" + agent_name(i);
      server.commit("api", {branch, {{"notes.txt", agent_name(i)}}, {}, "begin", "main"});
      admin.put_agent("api", agent_name(i), branch, R"(,"headCommit":")" + server.tip("api", branch) + "\"");
    }
  }
  test::siege_options siege() const { return {.port = box.port(), .silent = silent, .slow = slow}; }
  void check_all_restored() const {
    for (int i = 0; i < agents; ++i) {
      const auto branch = "work/" + agent_name(i);
      check_restored(box.worktree("api", agent_name(i)), branch, server.tip("api", branch));
    }
  }
};

/// Asks every probe once; true once it is ready. Ready is not taken back.
bool probes_are_right(int port, bool ready_before) {
  CHECK(test::probe(port, "/livez").status == 200);
  const auto health = test::probe(port, "/health");
  CHECK(health.status == 200);
  rapidjson::Document document;
  document.Parse(health.body);
  CHECK((document.IsObject() && document.HasMember("recovery")));
  CHECK(test::probe(port, "/metrics").status == 200);
  CHECK(test::probe(port, "/nowhere").status == 404);
  const int readiness = test::probe(port, "/readyz?strict").status;
  CHECK((readiness == 200 || (readiness == 503 && !ready_before)));
  return readiness == 200;
}

/// A wake under siege: it is laid while the git server is silent, and stays until the container is ready and `enough`.
void wake_under_siege(besieged_town& here, const std::function<bool(const test::siege_counts&)>& enough) {
  here.server.hang();
  here.box.start();
  INFO(here.box.log());
  const test::siege siege{here.siege()};
  REQUIRE(siege.wait_until_laid(std::chrono::seconds{30}));
  CHECK_FALSE(probes_are_right(here.box.port(), false));
  here.server.resume();
  bool ready = false;
  REQUIRE(test::wait_until(
      [&] {
        ready = probes_are_right(here.box.port(), ready);
        return ready && enough(siege.counts());
      },
      std::chrono::minutes{2}));
  here.check_all_restored();
}

struct footprint {
  std::int64_t descriptors = 0, resident_bytes = 0;
};

/// What the container holds after a wake without a siege; its disk is gone again then.
footprint of_a_quiet_wake(test::container& box) {
  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  const footprint held{box.descriptors(), box.resident_bytes()};
  box.kill();
  box.wipe_disk();
  return held;
}

/// What it holds after a siege is what it held without one.
void check_given_back(const test::container& box, const footprint& quiet) {
  // A connection to the town may be one more.
  CHECK(test::wait_until([&] { return box.descriptors() <= quiet.descriptors + 2; }));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they keep what was freed, or a shadow of it
  constexpr std::int64_t margin = 16 << 20;
  CHECK(box.resident_bytes() <= quiet.resident_bytes + margin);
#endif
}

} // namespace

TEST_CASE("a wake while more connections than it may have are silent or drip: probes are answered, it converges, and "
          "all is given back",
          "[timed]") {
  besieged_town here{R"("max_connections":200)"};
  const auto quiet = of_a_quiet_wake(here.box);
  wake_under_siege(here, [](const auto& seen) { return seen.ended > silent; });
  CHECK(here.box.descriptors() <= quiet.descriptors + 200 + 10);
  check_given_back(here.box, quiet);
}

TEST_CASE("a wake while silent and dripping connections are within the limit: each ends at its deadline, the dripping "
          "ones with 408, and all is given back",
          "[timed]") {
  besieged_town here{R"("header_timeout":"1s","idle_timeout":"2s")"};
  const auto quiet = of_a_quiet_wake(here.box);
  wake_under_siege(here, [](const auto& seen) { return seen.answered >= slow && seen.ended >= silent + slow; });
  check_given_back(here.box, quiet);
}
