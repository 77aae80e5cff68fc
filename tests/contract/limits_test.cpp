#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

/// A document of exactly `size` bytes.
std::string document_of(std::size_t size) {
  const std::string empty = R"({"pad":""})";
  return R"({"pad":")" + std::string(size - empty.size(), 'x') + R"("})";
}

std::vector<std::string> bad_ids() {
  return {"a..b",
          ".a",
          "-a",
          "_a",
          "a.",
          "a.lock",
          "a%20b",
          "a%2Fb",
          "a%5Cb",
          "a%0Ab",
          "a%00",
          "%C3%A4",
          std::string(129, 'a')};
}

} // namespace

TEST_CASE("an id that could not be part of a ref is refused where it stands in the path") {
  session town{shared_town()};
  town.put_rig();
  for (const auto& id : bad_ids()) {
    CAPTURE(id);
    const auto rig = town.admin("PUT", "/rigs/" + id, rig_body());
    CHECK(rig.verdict() == verdict{400, "invalid_id"});
    CHECK(rig.paths() == words("rigId"));
    const auto agent = town.admin("PUT", agent_path(id), agent_body("a1"));
    CHECK(agent.verdict() == verdict{400, "invalid_id"});
    CHECK(agent.paths() == words("agentId"));
  }
  CHECK(town.state()["rigs"].size() == 1);
}

TEST_CASE("an id may have 128 letters, digits, dots, dashes and underscores") {
  session town{shared_town()};
  for (const auto& id :
       {std::string(128, 'a'), std::string{"0"}, std::string{"A.b-c_9"}, std::string{"a.locks"}, std::string{"lock"}}) {
    CAPTURE(id);
    CHECK(town.admin("PUT", "/rigs/" + id, rig_body()).verdict() == ok);
  }
}

TEST_CASE("a path that is not valid percent-encoding is refused") {
  session town{shared_town()};
  CHECK(town.admin("PUT", "/rigs/%ff", rig_body()).status == 400);
  CHECK(town.admin("PUT", "/rigs/%zz", rig_body()).status == 400);
}

TEST_CASE("a body of 1 MiB is taken, one byte more is 413") {
  session town{shared_town()};
  town.boot();
  CHECK(town.container("POST", "/restore-progress", document_of(mebibyte)).verdict() == ok);
  CHECK(town.container("POST", "/restore-progress", document_of(mebibyte + 1)).verdict() == verdict{413, "too_large"});
  CHECK(town.container("POST", "/restore-progress", document_of(6 * mebibyte)).verdict() == verdict{413, "too_large"});
  CHECK(town.state()["container"]["progress"]["pad"].string().size() < mebibyte);
}

TEST_CASE("checkpoint data of 256 KiB is taken, one byte more is 413 and writes nothing") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  // The limit counts the data's own JSON: two quotes and the rest.
  const auto data_of = [](std::size_t size) { return R"({"data":")" + std::string(size - 2, 'x') + R"("})"; };
  const auto path = agent_path("a1", "/checkpoint");
  CHECK(town.container("POST", path, data_of(256 * 1024)).verdict() == ok);
  CHECK(town.container("POST", path, data_of(256 * 1024 + 1)).verdict() == verdict{413, "too_large"});
  CHECK(town.desired_agent("a1")["checkpoint"]["seq"] == 1);
}

TEST_CASE("checkpoint data is measured in bytes, not in characters") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  std::string umlauts;
  for (int i = 0; i < 131'072; ++i)
    umlauts += "\xC3\xA4";
  CHECK(town.container("POST", agent_path("a1", "/checkpoint"), R"({"data":")" + umlauts + R"("})").verdict() ==
        verdict{413, "too_large"});
}

TEST_CASE("a body that is not JSON is refused, and its text is not repeated") {
  session town{shared_town()};
  town.boot();
  for (const auto* body :
       {R"({"message":"top-secret-word)", "top-secret-word", "{,}", "[1", R"({"a":1}{"b":2})", "\xff\xfe{}"}) {
    CAPTURE(body);
    const auto given = town.container("POST", "/restore-progress", body);
    CHECK(given.verdict() == invalid_body);
    CHECK(given.body.text().find("top-secret-word") == std::string::npos);
  }
}

TEST_CASE("a body nested deeper than readers can stand is refused") {
  session town{shared_town()};
  town.put_rig();
  town.put_agent("a1");
  const auto nested = [](std::size_t depth) {
    return R"({"data":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  const auto path = agent_path("a1", "/checkpoint");
  CHECK(town.container("POST", path, nested(127)).verdict() == ok);
  CHECK(town.container("POST", path, nested(128)).verdict() == invalid_body);
  CHECK(town.container("POST", path, nested(100'000)).verdict() == invalid_body);
  CHECK(town.container("POST", path, R"({"data":")" + std::string(1000, '[') + R"("})").verdict() == ok);
}

TEST_CASE("a body that is not an object is refused with the path of the whole") {
  session town{shared_town()};
  for (const auto* body : {"[]", "7", "null", R"("text")"}) {
    CAPTURE(body);
    const auto given = town.container("POST", "/container-boot", body);
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == std::vector<std::string>{""});
  }
}

TEST_CASE("a validation error names every field that is wrong") {
  session town{shared_town()};
  const auto missing = town.container("POST", "/container-boot", "{}");
  CHECK(missing.verdict() == invalid_body);
  CHECK(missing.paths() == std::vector<std::string>{"instanceId", "version", "startedAt", "disk", "controlToken"});

  town.boot("i1");
  auto body = ready_body("i1", "ready", {report("a1", "restored"), report("a2", "restored")});
  body = with(body, "/agents/0/outcome", R"("resurrected")");
  body = with(body, "/agents/1/leftOut", R"([{"path":"x","reason":7}])");
  body = with(body, "/rigs", R"([{"rigId":"../x","outcome":"ready","fetchedBytes":-1,"durationMs":1,"attempts":1}])");
  const auto nested = town.container("POST", "/container-ready", body);
  CHECK(nested.verdict() == invalid_body);
  CHECK(nested.paths() == std::vector<std::string>{"rigs.0.rigId", "rigs.0.fetchedBytes", "agents.0.outcome",
                                                   "agents.1.leftOut.0.reason"});
}

TEST_CASE("fields the contract does not know are let through, and an absent optional one may be null") {
  session town{shared_town()};
  const auto body = with(with(boot_body("i1"), "/novelty", "1"), "/controlUrl", "null");
  CHECK(town.container("POST", "/container-boot", body).verdict() == ok);
}

TEST_CASE("an epoch header that is no epoch is refused") {
  session town{shared_town()};
  town.boot();
  for (const auto* epoch : {"0", "-1", "1.5", "one", "01", "9999999999999999999"}) {
    CAPTURE(epoch);
    const call with{.body = "{}", .token = town.container_token(), .epoch = epoch};
    CHECK(town.send("POST", "/restore-progress", with).verdict() == verdict{400, "invalid_epoch"});
  }
}
