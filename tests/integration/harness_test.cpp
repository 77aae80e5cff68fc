#include <fstream>

#include "scenario.hpp"
#include "tests/support/promise_witness.hpp"

/// That the harness would say so.
using namespace townkeeper;
using namespace townkeeper::integration;

TEST_CASE("the witness of promises is content with a town that keeps them, and names each one that is broken") {
  one_agent_town here;
  test::container box{container_for(here.town, configuration())};
  test::promise_witness promises{here.admin, {{"api", here.server.repository_path("api")}}};
  box.start();
  INFO(box.log());
  // The town hears of it a moment later than /health.
  REQUIRE(promises.watch(
      box, [&](const auto& h) { return text(&h["recovery"], "phase") == "ready" && promises.readies() > 0; }));
  CHECK(box.descriptors() > 0);
  CHECK(box.resident_bytes() > 0);
  std::ofstream{box.worktree("api", "ada") / "work"} << "work\n";
  const auto ending = box.end(std::chrono::seconds{60});
  CHECK(ending.code == 0);
  CHECK_FALSE(ending.killed);
  CHECK(promises.broken_promises() == std::vector<std::string>{});
  CHECK(promises.saves() == 1);
  CHECK(promises.readies() == 1);

  promises.saw_start("ada", "d-1");
  CHECK(promises.broken_promises().empty());
  promises.saw_start("ada", "d-1");
  CHECK(promises.broken_promises().size() == 1);
  const auto repository = here.server.repository_path("api");
  test::run_git(repository, {"update-ref", "-d", "refs/townkeeper/" + town_id + "/ada/1"});
  CHECK(promises.broken_promises().size() == 2); // the last save has lost its ref
  test::run_git(repository, {"-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now"});
  CHECK(promises.broken_promises().size() == 3); // and cannot be read
}

TEST_CASE("a town that is stopped answers nothing, and goes on where it was") {
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", "https://example.invalid/api.git");
  town.hang();
  test::http_request request;
  request.url = town.base_url() + "/api/towns/" + town_id + "/state";
  request.headers = {{"Authorization", "Bearer " + town.mint(town_id, "admin")}};
  request.timeout = std::chrono::milliseconds{300};
  CHECK_FALSE(test::send(request).has_value());
  town.resume();
  CHECK(admin.state()["rigs"].Size() == 1);
}
