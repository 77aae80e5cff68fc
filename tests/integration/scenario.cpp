#include "scenario.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/support/failure_notes.hpp"

namespace townkeeper::integration {

void settle(test::remote& server, const test::town_admin& admin) {
  test::file_contents files;
  for (int i = 0; i < 60; ++i)
    files["src/dir" + std::to_string(i % 7) + "/file" + std::to_string(i)] = "content " + std::to_string(i) + "\n";
  for (const auto* rig : {"api", "web", "infra"}) {
    server.make_repository(rig);
    server.commit(rig, {"main", files});
    admin.put_rig(rig, server.url(rig));
  }
  for (const auto& p : places) {
    server.commit(p.rig, {p.branch, {{"notes.txt", p.agent + "\n"}}, {}, "begin", "main"});
    admin.put_agent(p.rig, p.agent, p.branch, R"(,"headCommit":")" + server.tip(p.rig, p.branch) + "\"");
  }
}

one_agent_town::one_agent_town() {
  server.make_repository("api");
  admin.put_rig("api", server.url("api"));
  admin.put_agent("api", "ada", "main");
}

std::string ref_of(const std::string& agent, int epoch) {
  return "refs/townkeeper/" + town_id + "/" + agent + "/" + std::to_string(epoch);
}

int count_of(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

std::uint64_t seed_of_run() {
  const char* text = std::getenv("TOWNKEEPER_SEED");
  const auto seed = text == nullptr ? std::uint64_t{20261125} : std::strtoull(text, nullptr, 10);
  test::note_seed(seed);
  return seed;
}

int cycles() {
  return count_of("TOWNKEEPER_CYCLES", 2);
}

std::string configuration(const std::string& command, const std::string& more_git, const std::string& more_town,
                          const std::string& protect) {
  return R"({"town":{"retry_first":"20ms","retry_max":"200ms","heartbeat_interval":"1s")" + more_town +
         R"(},)"
         R"("git":{"stall_timeout":"3s","connect_timeout":"1s","attempt_timeout":"20s")" +
         more_git +
         R"(},"restore":{"attempts":2,"backoff_first":"20ms","backoff_max":"100ms","retry_failed":"1s"},)"
         R"("agents":{"stop_grace":"2s","command":)" +
         (command.empty() ? "[]" : command) + "},\"protect\":{" + protect + "}}";
}

test::container_options container_for(const test::town& town, const std::string& config) {
  test::container_options options;
  options.api_url = town.base_url();
  options.town_id = town_id;
  options.token = town.mint(town_id, "container");
  options.config = config;
  return options;
}

void check_restored(const std::filesystem::path& worktree, const std::string& branch, const std::string& remote_tip) {
  CAPTURE(worktree.string(), branch);
  REQUIRE(std::filesystem::exists(worktree / ".git"));
  CHECK(test::run_git(worktree, {"status", "--porcelain"}) == "");
  CHECK(test::run_git(worktree, {"symbolic-ref", "HEAD"}) == "refs/heads/" + branch);
  CHECK(test::run_git(worktree, {"rev-parse", "HEAD"}) == remote_tip);
  CHECK(test::run_git(worktree, {"rev-parse", "@{upstream}"}) == remote_tip);
}

void check_sound(const std::filesystem::path& repository_or_worktree) {
  const auto fsck = test::try_git(repository_or_worktree, {"fsck", "--full", "--no-dangling"});
  INFO(fsck.out << fsck.err);
  CHECK(fsck.status == 0);
}

const rapidjson::Value* rig_in(const rapidjson::Value& health, const std::string& rig_id) {
  for (const auto& rig : health["recovery"]["rigs"].GetArray())
    if (rig["rigId"].GetString() == rig_id) return &rig;
  return nullptr;
}

const rapidjson::Value* agent_in(const rapidjson::Value& health, const std::string& agent_id) {
  for (const auto& rig : health["recovery"]["rigs"].GetArray())
    for (const auto& agent : rig["agents"].GetArray())
      if (agent["agentId"].GetString() == agent_id) return &agent;
  return nullptr;
}

std::string text(const rapidjson::Value* object, const char* member) {
  if (object == nullptr || !object->HasMember(member) || !(*object)[member].IsString()) return {};
  return (*object)[member].GetString();
}

const rapidjson::Value* record_of(const rapidjson::Value& state, const std::string& agent_id) {
  for (const auto& rig : state["rigs"].GetArray())
    for (const auto& agent : rig["agents"].GetArray())
      if (agent["agentId"].GetString() == agent_id) return &agent;
  return nullptr;
}

const rapidjson::Value* recovery_of(const rapidjson::Value& state, const std::string& agent_id) {
  const auto* record = record_of(state, agent_id);
  return record != nullptr && record->HasMember("recovery") && (*record)["recovery"].IsObject() ? &(*record)["recovery"]
                                                                                                : nullptr;
}

std::string last_error(const test::container& box, const std::string& agent_id) {
  const auto health = box.health();
  for (const auto& each : health["recovery"]["protection"]["agents"].GetArray())
    if (agent_id.empty() || text(&each, "agentId") == agent_id)
      if (auto said = text(&each, "lastError"); !said.empty()) return said;
  return {};
}

std::int64_t dispatched(const rapidjson::Value& dispatches, const std::string& agent_id, std::int64_t epoch) {
  std::int64_t count = 0;
  for (const auto& d : dispatches.GetArray()) {
    const int status = d["status"].GetInt();
    if (d["agentId"].GetString() == agent_id && d["epoch"].GetInt64() == epoch && (status == 200 || status == 201))
      ++count;
  }
  return count;
}

} // namespace townkeeper::integration
