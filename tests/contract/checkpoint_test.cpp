#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/session.hpp"

using namespace townkeeper::contract;

namespace {

session with_agent(const townkeeper::test::town& host = shared_town()) {
  session town{host};
  town.put_rig();
  town.put_agent("a1", with(agent_body("a1"), "/bead", R"({"beadId":"gt-1","title":"t","body":"b","status":"open"})"));
  return town;
}

const auto checkpoint = agent_path("a1", "/checkpoint");

std::string data_of(const std::string& data) {
  return R"({"data":)" + data + "}";
}

std::int64_t write(const session& town, const std::string& data) {
  const auto given = town.container("POST", checkpoint, data_of(data));
  REQUIRE(given.verdict() == ok);
  CHECK(given.data().keys() == words("written seq"));
  CHECK(given.data()["written"] == true);
  return given.data()["seq"].integer();
}

json history(const session& town, const std::string& query = "") {
  const auto given = town.container("GET", agent_path("a1", "/checkpoints") + query);
  REQUIRE(given.verdict() == ok);
  return given.data();
}

} // namespace

TEST_CASE("a checkpoint is versioned and kept with where it came from") {
  auto town = with_agent();
  town.boot();
  CHECK(write(town, R"({"step":1})") == 1);
  const auto with_commit = with(data_of(R"("text")"), "/commit", json_string(commit_a));
  REQUIRE(town.container("POST", checkpoint, with_commit).data()["seq"] == 2);
  const auto listed = history(town);
  REQUIRE(listed.size() == 2);
  CHECK(listed[0].keys() == words("seq savedAt epoch beadId commit data"));
  CHECK(listed[0]["seq"] == 2);
  CHECK(listed[0]["data"] == "text");
  CHECK(listed[0]["commit"] == commit_a);
  CHECK(listed[1]["seq"] == 1);
  CHECK(listed[1]["epoch"] == 1);
  CHECK(listed[1]["beadId"] == "gt-1");
  CHECK(listed[1]["commit"] == nullptr);
  CHECK(listed[1]["data"] == json::parse(R"({"step":1})"));
}

TEST_CASE("the last 20 checkpoints stay readable, the newest first") {
  const auto town = with_agent();
  for (int i = 1; i <= 23; ++i)
    write(town, std::to_string(i * 10));
  CHECK(history(town).size() == 20);
  CHECK(history(town)[0]["data"] == 230);
  CHECK(history(town)[19]["data"] == 40);
  CHECK(history(town, "?limit=3").size() == 3);
  CHECK(history(town, "?limit=3")[0]["seq"] == 23);
  CHECK(history(town, "?limit=500").size() == 20);
}

TEST_CASE("a limit that is no number from 1 is refused") {
  const auto town = with_agent();
  for (const auto* limit : {"0", "-1", "x", "1.5", ""}) {
    CAPTURE(limit);
    const auto given = town.container("GET", agent_path("a1", "/checkpoints?limit=") + limit);
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == words("limit"));
  }
}

TEST_CASE("a checkpoint survives done, another task, another container and an eviction") {
  auto town = with_agent();
  town.boot("i1");
  write(town, R"({"step":1})");
  const auto stands = [&] { return town.prime("a1")["agent"]["checkpoint"] == json::parse(R"({"step":1})"); };
  REQUIRE(stands());
  REQUIRE(town.container("POST", agent_path("a1", "/done"), R"({"branch":"gt/a1"})").verdict() == ok);
  CHECK(stands());
  town.put_agent("a1", with(agent_body("a1"), "/bead", R"({"beadId":"gt-2","title":"t","body":"b","status":"open"})"));
  CHECK(stands());
  REQUIRE(town.container("POST", "/container-eviction", "{}").verdict() == ok);
  town.boot("i2");
  CHECK(stands());
  town.ready("ready", {report("a1", "restored")});
  CHECK(stands());
  CHECK(write(town, R"({"step":2})") == 2);
  CHECK(history(town)[0]["beadId"] == "gt-2");
  CHECK(history(town)[0]["epoch"] == 2);
  CHECK(history(town)[1]["beadId"] == "gt-1");
}

TEST_CASE("null clears the checkpoint and stays in the history") {
  const auto town = with_agent();
  write(town, "1");
  CHECK(write(town, "null") == 2);
  CHECK(town.prime("a1")["agent"]["checkpoint"] == nullptr);
  CHECK(town.prime("a1")["agent"]["checkpoint_meta"] == nullptr);
  CHECK(town.desired_agent("a1")["checkpoint"].missing());
  CHECK(history(town)[0]["data"] == nullptr);
  CHECK(history(town)[1]["data"] == 1);
  CHECK(write(town, "3") == 3);
}

TEST_CASE("any JSON may be a checkpoint") {
  const auto town = with_agent();
  for (const auto* data : {"false", "0", R"("")", "[]", "{}", R"("\u0000")", R"("\ud83e\udd80")",
                           R"({"__proto__":{"a":1}})", R"([[[1]]])"}) {
    CAPTURE(data);
    write(town, data);
    CHECK(history(town, "?limit=1")[0]["data"].text() == json::parse(data_of(data))["data"].text());
  }
}

TEST_CASE("numbers come back exactly as they were written") {
  const auto town = with_agent();
  // Read as text: a reader of numbers, this suite's among them, would round them itself.
  const std::string data =
      R"([9007199254740993,18446744073709551615,0.1000000000000000055511151231257827,1.0,1e300,-0,1E2])";
  write(town, data);
  const auto raw = [&](const std::string& path) {
    const auto response = town.send("GET", path, {.token = town.container_token()});
    return response.raw;
  };
  CHECK(raw(agent_path("a1", "/checkpoints")).find(R"("data":)" + data) != std::string::npos);
  CHECK(raw(agent_path("a1", "/prime")).find(R"("checkpoint":)" + data) != std::string::npos);
}

TEST_CASE("a checkpoint without data is refused, because absence is not null") {
  const auto town = with_agent();
  const auto given = town.container("POST", checkpoint, "{}");
  CHECK(given.verdict() == invalid_body);
  CHECK(given.paths() == words("data"));
  CHECK(town.container("POST", checkpoint, "").verdict() == invalid_body);
  CHECK(history(town).size() == 0);
}

TEST_CASE("a checkpoint said again under one key is written once") {
  auto town = with_agent();
  town.boot();
  const auto first = town.keyed("key-1", checkpoint, data_of("1"));
  const auto again = town.keyed("key-1", checkpoint, data_of("2"));
  CHECK(first.data() == again.data());
  CHECK(history(town).size() == 1);
  CHECK(town.keyed("key-2", checkpoint, data_of("2")).data()["seq"] == 2);
  CHECK(town.keyed("key-1", checkpoint, data_of("1")).data()["seq"] == 1);
}

TEST_CASE("a key belongs to one agent and one route") {
  const auto town = with_agent();
  town.put_agent("a2");
  REQUIRE(town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 1);
  REQUIRE(town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 1);
  CHECK(town.keyed("key", agent_path("a2", "/checkpoint"), data_of("1")).data()["seq"] == 1);
  CHECK(town.keyed("key", agent_path("a1", "/mail"), R"({"body":"x"})").data().keys() == words("id"));
}

TEST_CASE("a call that was refused does not use up its key") {
  const auto town = with_agent();
  REQUIRE(town.keyed("key", checkpoint, "{}").verdict() == invalid_body);
  CHECK(town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 1);
}

TEST_CASE("an agent that was deleted and put again is another one, and old keys do not answer for it") {
  const auto town = with_agent();
  REQUIRE(town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 1);
  REQUIRE(town.admin("DELETE", agent_path("a1")).verdict() == ok);
  town.put_agent("a1");
  REQUIRE(town.keyed("key", checkpoint, data_of("2")).data()["seq"] == 1);
  CHECK(history(town)[0]["data"] == 2);
}

TEST_CASE("a key answers for 24 hours and then no longer") {
  const auto town = with_agent(fast_town(50'000)); // a day in 1.7 s
  REQUIRE(town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 1);
  CHECK(town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 1);
  const auto is_new = [&] { return town.keyed("key", checkpoint, data_of("1")).data()["seq"] == 2; };
  CHECK(eventually(is_new, std::chrono::seconds{5}));
}

TEST_CASE("a key that is no header value is refused") {
  const auto town = with_agent();
  CHECK(town.keyed("two words", checkpoint, data_of("1")).verdict() == verdict{400, "invalid_header"});
  CHECK(town.keyed(std::string(256, 'k'), checkpoint, data_of("1")).verdict() == verdict{400, "invalid_header"});
}
